"""``twinfold simulate``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinfold.cli.column_flags import FormatFlags, fitted_format
from twinfold.cli.console import console, print_json, set_up_jax, warn
from twinfold.cli.flags import (
    Flag,
    Words,
    all_or_none,
    check_outputs,
    numbers,
    shown,
    state_rows,
    whole,
)
from twinfold.cli.future_flags import scenario_table
from twinfold.cli.values import Draws, Place, Share, Steps
from twinfold.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from twinfold.models.fitted_model import FittedModel

_MOST_STEPS = 1_000_000  # of one question; a slip such as 0x2000000000 would fill the memory


@Parameter(name="*")
@dataclass(frozen=True)
class QuestionFlags:
    """The question, and the places where its answer goes.

    Attributes:
        form: How the values of a table of questions are written, if not as in the fit.
        agent: Id of the agent of a single question.
        state: Its first state, numbers separated by commas; for a fit with memory rows before it
            as well, the earliest first, separated by semicolons, each with the action in it or
            without.
        from_last: Go on from where the agent's data ended, instead of a --state.
        actions: Its actions.
        steps: Number of steps, in place of --actions, where the fit has no action column.
        scenario: Table of future values of the exogenous columns, with the time and, if they differ
            between agents, the agent; a single question takes its rows in the order of time.
        hold_exogenous: Hold the last values of exogenous columns where no others are given; the
            band widens by how much they vary.
        queries: Table of questions, .csv or .parquet.
        out: Table of answers to write, .csv or .parquet; needed with --queries.
        plot: Picture of a single answer to write: .png, .pdf, .svg or .html.
        draws: Give so many trajectories that may be measured, with the noise of the world, in place
            of an answer with its band; with --out or --json.
        parts: Add what the band is made of: columns <state>_noise and <state>_ignorance.
        min_support: Give no prediction from the first step on whose support is less, but a reason.
        strict: Refuse questions far outside the range of the data, rather than warn.
        quiet: No warnings, and no sentence about the table of answers.
        json: Print a record instead of a table or sentence.
    """

    agent: Words = None
    state: Words = None
    from_last: Flag = False
    actions: Words = None
    steps: Annotated[Steps | None, shown("none")] = None
    scenario: Place | None = None
    hold_exogenous: Flag = False
    queries: Place | None = None
    out: Place | None = None
    plot: Place | None = None
    draws: Annotated[Draws | None, shown("none")] = None
    parts: Flag = False
    min_support: Share | None = None
    strict: Flag = False
    quiet: Flag = False
    json: Flag = False
    form: FormatFlags = field(default_factory=FormatFlags)

    def check(self) -> None:
        """Refuse flags that do not belong together, and files that cannot be written.

        Raises:
            UsageError: naming the flags.
        """
        if self.from_last and self.state is not None:
            raise UsageError("--from-last stands in place of --state; give one of them")
        state = self.state or (self.from_last or None)
        if self.steps is not None and self.actions is not None:
            raise UsageError("--steps stands in place of --actions; give one of them")
        actions = self.actions or self.steps
        single = {"--agent": self.agent, "--state": state, "--actions": actions}
        missing = [flag for flag, value in single.items() if value is None]
        if self.queries is None and len(missing) == len(single):
            raise UsageError(
                "give --agent with --state (or --from-last) and --actions, or --queries with --out"
            )
        if self.queries is None and missing:
            raise UsageError(f"a single question also needs {' and '.join(missing)}")
        if self.queries is not None:
            self._check_table(self.queries, asked=len(missing) < len(single))
        if self.draws is not None and self.out is None and not self.json:
            raise UsageError("--draws writes a table: give --out, or --json")
        if self.draws is not None and (self.parts or self.plot is not None):
            raise UsageError("--draws goes without --parts and --plot, which are of a band")
        from twinfold.data.io import TABLE_SUFFIXES
        from twinfold.report.static_figures import SUFFIXES

        check_outputs({"out": TABLE_SUFFIXES, "plot": SUFFIXES}, out=self.out, plot=self.plot)

    def _check_table(self, queries: Path, asked: bool) -> None:
        if asked:
            raise UsageError("--agent, --state and --actions go without --queries, a table")
        if self.out is None:
            raise UsageError("--queries needs --out, the table of answers to write")
        if self.plot is not None:
            raise UsageError("--plot draws a single question; give --agent, --state and --actions")
        if self.out.exists() and queries.exists() and self.out.samefile(queries):
            raise UsageError(
                f"--out {self.out} is the table of questions itself; choose another file"
            )

    @property
    def limits(self) -> dict[str, Any]:
        """Return limits of a prediction, and who is told of doubts."""
        said = _silent if self.quiet else warn
        return {"warn": said, "min_support": self.min_support, "strict": self.strict}


def simulate(run: Place, /, *, asked: QuestionFlags = QuestionFlags()) -> None:
    """Answer what-if questions: what would this agent do under these actions?

    One question:

      twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0x5

    The state has a number per state column, in the order of the fit; in its
    place, --from-last goes on from where the agent's data ended. Actions
    are separated by commas; 0x5 is five times action 0. With several action
    columns a step is "10,1", and steps are separated by semicolons:
    "10,1;10,0x5". Choices in words are written as in the data, those with
    commas in double quotes: 'fill,2.5x3;"hold, closed",0'. A fit without
    actions takes --steps 5 instead.

    A table of questions:

      twinfold simulate run --queries questions.csv --out answers.csv

    Its columns are query_id and the agent, time, state and action columns of
    the fit. A query has a row for each action; its first row holds the state,
    which is empty below. With no state at all it goes on from where the
    agent's data ended. The answers have the same columns but the actions,
    one time step later, and <state>_lower and <state>_upper for the band.
    Exogenous columns of the fit have a value in every row with an action, or
    --scenario tells them, or --hold-exogenous holds the last ones. Where the
    fit has uneven times, every row has a time of its own, and a last row
    without an action says when the answer ends.

    The support of a step, from 0 to 1, says what stands behind it: near 1 the
    data is as dense there as it usually is and the members of the model agree;
    at 0 nothing is known. The basis is "own data", "borrowed" (from other
    agents) or "unsupported".

    Args:
        run: Run directory of a fit.
        asked: The question.
    """
    asked.check()
    set_up_jax()
    from twinfold.training.run_directory import load_run

    (_answer_one if asked.queries is None else _answer_table)(load_run(run), asked)


def _answer_table(model: FittedModel, asked: QuestionFlags) -> None:
    assert asked.queries is not None, "checked"
    assert asked.out is not None, "checked"
    from twinfold.data.io import read_table, write_table
    from twinfold.data.table_format import TableFormat, as_written
    from twinfold.simulation.query_columns import question_columns
    from twinfold.simulation.what_if import QUERY, answer
    from twinfold.utils.text import counted

    used = question_columns(model.roles)
    form = TableFormat.parse({**fitted_format(model), **asked.form.given()})
    ids, time = [model.roles.agent, QUERY], model.roles.time
    table = read_table(asked.queries, ids, used, form=form, time=time)
    scenario = scenario_table(model, asked.scenario, asked.hold_exogenous, asked.form.given())
    answers: Any = answer(
        model,
        table,
        **asked.limits,
        scenario=scenario,
        hold_exogenous=asked.hold_exogenous,
        parts=asked.parts,
        draws=asked.draws or 0,
    )
    answers[time] = as_written(answers[time], form)
    write_table(answers, asked.out)
    n_queries = len(answers[QUERY].unique())
    if asked.json:
        print_json({"out": str(asked.out), "queries": n_queries, "rows": len(answers)})
    elif not asked.quiet:
        rows = counted(len(answers), "predicted row")
        print(f"{asked.out}: {counted(n_queries, 'query')}, {rows}")


def _silent(line: str) -> None:
    """Drop a warning."""


def _answer_one(model: FittedModel, asked: QuestionFlags) -> None:
    assert asked.agent is not None, "checked"
    from twinfold.cli.render import plot_rollout, show_parts, show_rollout
    from twinfold.data.io import write_table
    from twinfold.simulation.draws import draws_table, parts_columns
    from twinfold.simulation.simulator import Simulator

    rows: list[Any] = []
    if asked.state is not None:
        rows = state_rows(asked.state, model.roles.state, model.roles.action)
    *before, state = rows or [None]
    if model.roles.action and asked.actions is None:
        raise UsageError("--steps is for a fit without action columns; give --actions")
    if not model.roles.action and asked.steps is None:
        raise UsageError("the fit has no action column: give --steps, and no --actions")
    steps: Any = asked.steps
    if asked.actions is not None:
        steps = _steps(asked.actions, model.roles.kinds, words=bool(model.roles.levels))
    simulator, parts = Simulator(model, asked.agent), ()
    scenario = scenario_table(model, asked.scenario, asked.hold_exogenous, asked.form.given())
    if scenario is not None:
        from twinfold.simulation.scenario import single_scenario

        scenario = single_scenario(scenario, model, simulator.index)
    told: Any = {
        "before": before or None,
        "exogenous": scenario,
        "hold_exogenous": asked.hold_exogenous,
    }
    rollout = simulator.rollout(state, steps, **told, **asked.limits)
    frame = rollout.to_frame()
    if asked.draws is not None:
        drawn = simulator.sample(state, steps, asked.draws, warn=_silent, noise=True, **told)
        frame = draws_table(dict(frame.iloc[:, :2]), model.roles.state, drawn)
    elif asked.parts:
        parts = simulator.parts(state, steps, **told)
        frame = frame.assign(**parts_columns(model.roles.state, tuple(frame), *parts))
    with all_or_none(asked.out, asked.plot) as drafts:
        if asked.out is not None:
            write_table(frame, drafts[asked.out])
        if asked.plot is not None:
            plot_rollout(drafts[asked.plot], rollout, f"agent {asked.agent}")
    if asked.json:
        record = {
            name: getattr(rollout, name)
            for name in ("agent", "coverage", "calibrated", "simultaneous")
        }
        name = "prediction" if asked.draws is None else "draws"
        print_json({**record, name: frame.to_dict("list")})
        return
    if asked.draws is None:
        show_rollout(console(), rollout)
        if parts:
            show_parts(console(), model.roles.state, rollout.steps, *parts)
    for path in drafts:
        print(path)


_QUOTED = re.compile(r'"(.*)"', re.DOTALL)
_OPEN = re.compile(r'(?:^|,)\s*"[^"]*$')  # a word whose quote is not closed
_TIMES = re.compile(r"(.*)x\s*(\d+)\s*", re.DOTALL)


def _steps(text: str, kinds: Sequence[str], words: bool = False) -> np.ndarray:
    """Read ``"1,0x3"`` (one column) or ``"1,2;0,0x3"`` (several) as ``(H,)`` or ``(H, A)``.

    Args:
        text: the value of the flag.
        kinds: of each action column.
        words: whether discrete columns may hold words: ``"fill,2.5x3;hold,0"``.
    """
    import numpy as np

    width = len(kinds)
    alone = width == 1 and len(_split(text, ";")) == 1
    parts = _split(text, "," if alone else ";")
    steps: list[list[Any]] = []
    for part in parts:
        body, repeated, times = part.partition("x")
        if words:  # a word may have an x in it
            match = _TIMES.fullmatch(part)
            body, repeated, times = (match[1], "x", match[2]) if match else (part, "", "")
        count = 1
        if repeated:
            count = whole(times, f"--actions: {part!r} should be an action, or an action x times")
        if not 1 <= count <= _MOST_STEPS - len(steps):
            raise UsageError(f"--actions: {part!r}: a question has 1 to {_MOST_STEPS} steps")
        steps += [_values(body, kinds, words)] * count
    if any(len(step) != width for step in steps):
        raise UsageError(
            f"--actions: every step needs {width} value{'s' if width > 1 else ''}, separated by "
            "commas; steps of several values are separated by semicolons"
        )
    actions = np.array(steps, object if words else np.float64)
    return actions[:, 0] if width == 1 else actions


def _values(text: str, kinds: Sequence[str], words: bool) -> list[Any]:
    """Return the values of one step: those of discrete columns as they are, if they are words."""
    if not words:
        return list(numbers(text, "--actions"))
    parts = _split(text, ",")
    if len(parts) != len(kinds):
        return parts
    return [
        _QUOTED.sub(r"\1", part.strip()) if kind == "discrete" else numbers(part, "--actions")[0]
        for part, kind in zip(parts, kinds, strict=True)
    ]


def _split(text: str, mark: str) -> list[str]:
    """Return the parts of a text between marks; those within double quotes are none."""
    parts: list[str] = []
    for part in text.split(mark):
        if parts and _OPEN.search(parts[-1]):
            parts[-1] += mark + part
        else:
            parts.append(part)
    return parts
