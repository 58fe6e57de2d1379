"""The command line: parse, call, print. No maths here.

Results go to standard output, everything else to standard error.
Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING

from twinfold import __version__
from twinfold.cli.sigint import interrupts
from twinfold.cli.streams import printable_streams
from twinfold.errors import InvalidDataError, TwinfoldError
from twinfold.utils.text import MESSAGE, cut, shortened

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

# Help is shown as it stands here, so its lines are short enough for any terminal.
HELP = """A digital twin for every agent, from one trajectory each.

twinfold learns a personalised simulator for every agent (patient, machine,
vehicle, customer) of a table, answers what-if questions with it, and plans.

See it work:  twinfold demo

With a table of your own, one row per agent and time:

  twinfold data validate cohort.csv --agent patient --time day \\
      --state weight,glucose --action dose --action-type continuous
  twinfold fit cohort.csv --agent patient ... --out run
  twinfold validate run --out report
  twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0,0

Every command explains itself:  twinfold fit --help

Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

# Where each command is, and what it does in a line: the first of its own help. A command's module
# is loaded when it is called, because the flags of some are made from settings.
COMMANDS = {
    "data": ("data:app", "Collect, import, export, check and describe panel data."),
    "policies": ("policies:app", "Train and list the policies that the benchmark data comes from."),
    "fit": ("fit:fit", "Learn a simulator for every agent of a table."),
    "validate": ("validate:validate", "Try to prove a run wrong, and say what it may be used for."),
    "adapt": (
        "adapt:adapt",
        "Add new agents to a run, or more data of known ones, without a new fit.",
    ),
    "forget": (
        "adapt:forget",
        "Take agents out of a run: their factors, their sums, their kept states.",
    ),
    "simulate": (
        "simulate:simulate",
        "Answer what-if questions: what would this agent do under these actions?",
    ),
    "plan": ("plan:plan", "Plan for one agent and show the plan with its predicted outcome."),
    "value": ("value:value", "Estimate what a policy is worth to an agent, without trying it."),
    "evaluate": (
        "evaluate:evaluate",
        "Judge a run against the true task, by the protocol of the PerSim paper.",
    ),
    "demo": (
        "demo:demo",
        "Take CartPole from nothing to a page: collect, check, fit, evaluate, ask.",
    ),
    "bench": ("bench:app", "Run the experiments of the PerSim paper, and others of their kind."),
}


def make_app(called: str | None = None) -> App:
    """Return the command line.

    Args:
        called: name of the command that is called, which has its own help; the others are only
            listed.
    """
    from cyclopts import App

    from twinfold.cli.console import console

    app = App(
        name="twinfold",
        version=__version__,
        help=HELP,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
        console=console(width=None),
    )
    for name, (place, summary) in COMMANDS.items():
        listed = None if name == called and __doc__ else summary  # python -OO has no docstrings
        app.command(f"{__name__}.{place}", name=name, help=listed)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    A process of its own ends here, at once: until then Ctrl-C is listened to, and nothing is left
    to do that another one could break into.

    Args:
        arguments: the words after ``twinfold``; those of the process when None.
    """
    as_process = arguments is None
    if as_process:
        _set_up_pictures()
    with printable_streams():
        try:
            with interrupts() if as_process else nullcontext():
                code = _run(sys.argv[1:] if arguments is None else arguments)
                with suppress(OSError, TwinfoldError):  # a command that failed may have said more
                    sys.stdout.flush()
            if as_process:
                os._exit(code)
        except KeyboardInterrupt as error:
            if as_process:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
            hint = str(error)
            print(f"interrupted: {hint}" if hint else "interrupted", file=sys.stderr, flush=True)
            code = 130
            if as_process:  # compiled code in other threads can be neither stopped nor taken down
                os._exit(code)
    return code


def _set_up_pictures() -> None:
    """Let Matplotlib draw into files whatever display or home there is, without a word."""
    os.environ["MPLBACKEND"] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def _run(words: Sequence[str]) -> int:
    """Run one command, say what went wrong, and return its exit code."""
    from cyclopts import CycloptsError

    try:
        code = make_app(words[0] if words else None)(
            words,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        _complain(_left_over(error, words) or str(error))
        print(f"See `{_command(error)} --help`.", file=sys.stderr)
        return 2
    except InvalidDataError as error:
        _complain(*error.problems)
        return error.exit_code
    except TwinfoldError as error:
        _complain(str(error))
        return error.exit_code
    except BrokenPipeError:  # `twinfold ... | head`
        return 1
    except OSError as error:  # no space left, a file that vanished
        _complain(cut(str(error), MESSAGE.line))  # a path may be endless
        return 1
    except (MemoryError, ImportError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        _complain("out of memory; close other programs, allow more (ulimit -v), or ask for less")
        return 1


def _left_over(error: CycloptsError, words: Sequence[str]) -> str:
    """Return what to say of a word that no argument or option takes; nothing of other errors."""
    from cyclopts import UnusedCliTokensError

    unused = error.unused_tokens
    if not isinstance(error, UnusedCliTokensError) or not unused or unused[0] not in words:
        return ""
    place = len(words) - 1 - list(words)[::-1].index(unused[0])
    after = words[place - 1] if place else ""
    if after.startswith("-"):
        return f"unexpected {unused[0]!r} after {after!r}: it is no option here, or takes no value"
    return f"unexpected {unused[0]!r}: the command takes no further argument"


def _out_of_memory(error: Exception) -> bool:
    """Return whether Python, the loader of libraries or JAX says that there is no memory left."""
    if isinstance(error, MemoryError):
        return True
    words = "RESOURCE_EXHAUSTED" if isinstance(error, RuntimeError) else "failed to map segment"
    return words in str(error)


def _complain(*messages: str) -> None:
    for message in messages:
        for line in message.split("\n"):
            print(f"error: {shortened(line, MESSAGE.longest)}", file=sys.stderr)


def _command(error: CycloptsError) -> str:
    """Return the command that could not be parsed, such as ``twinfold data validate``."""
    return " ".join(["twinfold", *(error.command_chain or ())])
