"""``twinfold simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from twinfold.cli.console import console, print_json, set_up_jax, warn
from twinfold.cli.flags import Flag, Words, numbers, state_numbers, whole
from twinfold.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from twinfold.models.fitted_model import FittedModel

_MOST_STEPS = 1_000_000  # of one question; a slip such as 0x2000000000 would fill the memory


def simulate(
    run: Path,
    /,
    *,
    agent: Words = None,
    state: Words = None,
    actions: Words = None,
    queries: Path | None = None,
    out: Path | None = None,
    plot: Path | None = None,
    min_support: float | None = None,
    strict: Flag = False,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Answer what-if questions: what would this agent do under these actions?

    One question:

      twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0x5

    The state has a number per state column, in the order of the fit. Actions
    are separated by commas; 0x5 is five times action 0. With several action
    columns a step is "10,1", and steps are separated by semicolons:
    "10,1;10,0x5".

    A table of questions:

      twinfold simulate run --queries questions.csv --out answers.csv

    Its columns are query_id and the agent, time, state and action columns of
    the fit. A query has a row for each action; its first row holds the state,
    which is empty below. The answers have the same columns but the actions,
    one time step later, and <state>_lower and <state>_upper for the band.

    The support of a step, from 0 to 1, says what stands behind it: near 1 the
    data is as dense there as it usually is and the members of the model agree;
    at 0 nothing is known. The basis is "own data", "borrowed" (from other
    agents) or "unsupported".

    Args:
        run: Run directory of a fit.
        agent: Id of the agent of a single question.
        state: Its first state, numbers separated by commas.
        actions: Its actions.
        queries: Table of questions, .csv or .parquet.
        out: Table of answers to write, .csv or .parquet; needed with --queries.
        plot: Picture of a single answer to write: .png, .pdf, .svg or .html.
        min_support: Give no prediction from the first step on whose support is less, but a reason.
        strict: Refuse questions far outside the range of the data, rather than warn.
        quiet: No warnings, and no sentence about the table of answers.
        json: Print a record instead of a table or sentence.
    """
    if queries is None and agent is None and state is None and actions is None:
        raise UsageError("give --agent with --state and --actions, or --queries with --out")
    if queries is not None:
        if agent is not None or state is not None or actions is not None:
            raise UsageError("--agent, --state and --actions go without --queries, a table")
        _answer_table(run, queries, out, plot, min_support, strict, quiet, json)
        return
    needed = {"--agent": agent, "--state": state, "--actions": actions}
    missing = [flag for flag, value in needed.items() if value is None]
    if agent is None or state is None or actions is None:
        raise UsageError(f"a single question also needs {' and '.join(missing)}")
    set_up_jax()
    from twinfold.training.run_directory import load_run

    _answer_one(load_run(run), agent, state, actions, out, plot, min_support, strict, quiet, json)


def _answer_table(
    run: Path,
    queries: Path,
    out: Path | None,
    plot: Path | None,
    min_support: float | None,
    strict: bool,
    quiet: bool,
    json: bool,
) -> None:
    if out is None:
        raise UsageError("--queries needs --out, the table of answers to write")
    if plot is not None:
        raise UsageError("--plot draws a single question; give --agent, --state and --actions")
    if out.exists() and queries.exists() and out.samefile(queries):
        raise UsageError(f"--out {out} is the table of questions itself; choose another file")
    set_up_jax()
    from twinfold.data.io import read_table, write_table
    from twinfold.simulation.what_if import QUERY, answer
    from twinfold.training.run_directory import load_run

    model = load_run(run)
    table = read_table(queries, ids=[model.roles.agent, QUERY])
    said = _silent if quiet else warn
    answers = answer(model, table, said, min_support=min_support, strict=strict)
    write_table(answers, out)
    n_queries = len(answers[QUERY].unique())
    if json:
        print_json({"out": str(out), "queries": n_queries, "rows": len(answers)})
    elif not quiet:
        print(f"{out}: {n_queries} queries, {len(answers)} predicted rows")


def _silent(line: str) -> None:
    """Drop a warning."""


def _answer_one(
    model: FittedModel,
    agent: str,
    state: str,
    actions: str,
    out: Path | None,
    plot: Path | None,
    min_support: float | None,
    strict: bool,
    quiet: bool,
    json: bool,
) -> None:
    from twinfold.cli.render import plot_rollout, show_rollout
    from twinfold.simulation.simulator import Simulator

    rollout = Simulator(model, agent).rollout(
        state_numbers(state, model.roles.state),
        _steps(actions, len(model.roles.action)),
        warn=_silent if quiet else warn,
        min_support=min_support,
        strict=strict,
    )
    frame = rollout.to_frame()
    if plot is not None:
        plot_rollout(plot, rollout, f"agent {agent}")
    if out is not None:
        from twinfold.data.io import write_table

        write_table(frame, out)
    if json:
        print_json(
            {
                "agent": rollout.agent,
                "coverage": rollout.coverage,
                "calibrated": rollout.calibrated,
                "simultaneous": rollout.simultaneous,
                "prediction": frame.to_dict("list"),
            }
        )
        return
    show_rollout(console(), rollout)
    for path in (out, plot):
        if path is not None:
            print(path)


def _steps(text: str, width: int) -> np.ndarray:
    """Read ``"1,0x3"`` (one column) or ``"1,2;0,0x3"`` (several) as ``(H,)`` or ``(H, A)``."""
    import numpy as np

    words = text.split(",") if width == 1 and ";" not in text else text.split(";")
    steps: list[list[float]] = []
    for word in words:
        body, repeated, times = word.partition("x")
        count = 1
        if repeated:
            count = whole(times, f"--actions: {word!r} should be an action, or an action x times")
        if not 1 <= count <= _MOST_STEPS - len(steps):
            raise UsageError(f"--actions: {word!r}: a question has 1 to {_MOST_STEPS} steps")
        steps += [numbers(body, "--actions")] * count
    if any(len(step) != width for step in steps):
        raise UsageError(
            f"--actions: every step needs {width} value{'s' if width > 1 else ''}, separated by "
            "commas; steps of several values are separated by semicolons"
        )
    actions = np.array(steps)
    return actions[:, 0] if width == 1 else actions
