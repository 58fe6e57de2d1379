"""The command that shows everything once."""

from __future__ import annotations

from pathlib import Path

from twinfold.cli.console import interruptible, set_up_jax, talking
from twinfold.cli.flags import Flag
from twinfold.cli.values import Place, Seed


def demo(*, out: Place = Path("demo"), seed: Seed = 0, quiet: Flag = False) -> None:
    """Take CartPole from nothing to a page: collect, check, fit, evaluate, ask.

    500 agents with their own hidden physics, one random trajectory each, about
    22 steps long. It ends by printing where the page is. What an earlier demo
    left in the directory is replaced.

    Args:
        out: Directory for everything the demo writes: new, empty, or of an earlier demo.
        seed: Of the data and of the fit.
        quiet: Say nothing on standard error unless something is wrong.
    """
    set_up_jax()
    from twinfold.benchmark.demo import run_demo

    with interruptible(lambda: "the same command starts afresh"), talking(quiet) as talk:
        page = run_demo(out, seed, talk.line, talk.progress)
    print(f"page: {page.resolve()}")
