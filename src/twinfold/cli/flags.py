"""Flags that several commands have, and how their values are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.data.roles import Roles
    from twinfold.planning.config import PlanConfig
    from twinfold.tasks import Task

ActionType = Literal["discrete", "continuous"]
Names = Annotated[list[str] | None, Parameter(negative="", consume_multiple=False)]
Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def shown(default: object) -> Parameter:
    """A flag that is None when not given, with the value that is then used in its help."""
    return Parameter(show_default=lambda _: default)


def split(values: list[str] | None) -> tuple[str, ...]:
    """``["a,b", "c"]`` -> ``("a", "b", "c")``: flags may be repeated, or hold commas."""
    return tuple(
        part.strip() for value in values or [] for part in value.split(",") if part.strip()
    )


def whole(word: str, expected: str) -> int:
    """``"12"`` -> ``12``.

    Raises:
        UsageError: it is no whole number; the message says what was expected.
    """
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{expected}, not {word!r}") from None


def numbers(text: str, flag: str) -> list[float]:
    """``"1,-2.5"`` -> ``[1.0, -2.5]``.

    Raises:
        UsageError: a part is no number; the message names the flag.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers separated by commas, not {text!r}") from None


def state_numbers(text: str, names: Sequence[str]) -> list[float]:
    """The value of ``--state``: one number per state column.

    Raises:
        UsageError: naming the columns.
    """
    values = numbers(text, "--state")
    if len(values) != len(names):
        raise UsageError(
            f"--state needs {len(names)} numbers separated by commas ({', '.join(names)}), "
            f"not {len(values)}"
        )
    return values


@Parameter(name="*", group="Columns")
@dataclass(frozen=True)
class RoleFlags:
    """Which column is what; all that are needed, or none and a manifest beside the table.

    Attributes:
        agent: Column of agent ids.
        time: Column of times: numbers or dates.
        state: Columns of the state, separated by commas.
        action: Columns of the action, separated by commas; empty in the last row of a trajectory.
        action_type: discrete (one column of integer codes) or continuous (quantities).
        episode: Column that tells an agent's trajectories apart, if it has several.
        reward: Column of rewards.
        terminated: Column of flags: true on the last row of a trajectory that ended by itself.
        truncated: Column of flags: true on the last row of a trajectory that was cut off.
        angle: Those state columns that are angles in radians, separated by commas.
        static: Columns that describe an agent and never change (age, size, 0 or 1 for a site); what
            they say of new agents is learned too.
    """

    agent: str | None = None
    time: str | None = None
    state: Names = None
    action: Names = None
    action_type: ActionType | None = None
    episode: str | None = None
    reward: str | None = None
    terminated: str | None = None
    truncated: str | None = None
    angle: Names = None
    static: Names = None

    def roles(self) -> Roles | None:
        """The roles, or None if no flag was given (the manifest beside the table then says).

        Raises:
            UsageError: some flags were given, but not all that are needed.
        """
        several = ("state", "action", "angle", "static")
        lists = {name: split(getattr(self, name)) for name in several}
        given = {name: value for name, value in {**asdict(self), **lists}.items() if value}
        if not given:
            return None
        needed = ("agent", "time", "state", "action", "action_type")
        missing = ["--" + name.replace("_", "-") for name in needed if name not in given]
        if missing:
            raise UsageError(
                f"{', '.join(missing)} missing: say which column is the agent, time, state and "
                "action and give the action type, or no column at all and a manifest beside the "
                "table"
            )
        from twinfold.data.roles import Roles

        return Roles.parse(given)


def table_roles(table: Path, columns: RoleFlags | None, fitted: Roles) -> Roles | None:
    """The roles of a table for a run: by flags, else by its manifest (None), else the run's own.

    Columns that nothing is learned from may then be missing.

    Args:
        table: the file.
        columns: the flags.
        fitted: the run's.
    """
    roles = (columns or RoleFlags()).roles()
    if roles is not None:
        return roles
    from twinfold.data.io import manifest_path, read_table

    if manifest_path(table).is_file():
        return None
    names = {str(name) for name in read_table(table).columns}
    spare = ("reward", "terminated", "truncated")
    absent: dict[str, Any] = {role: None for role in spare if getattr(fitted, role) not in names}
    absent["static"] = tuple(name for name in fitted.static if name in names)
    return fitted.model_copy(update=absent)


@Parameter(name="*", group="Planner")
@dataclass(frozen=True)
class PlannerFlags:
    """How to search for a plan; what is not given is the task's default.

    Attributes:
        planner: sticky or shooting (discrete actions); icem, mppi or cem (continuous ones).
        candidates: Number of action sequences tried (per round).
        horizon: Length of each, in steps.
        rounds: Rounds of icem, mppi and cem.
        terminal_value: Worth of a plan's end: none, grid (value iteration; up to 3 states) or plans
            (learned by planning from many states; continuous actions).
        discount: Of the reward, per step.
        progress: Worth of the most progress a plan makes (mountain_car: the highest position).
        risk: Standard deviations over the ensemble members taken off the return.
        cvar: Share of the members, the worst ones, over which the return is averaged.
        disagreement: Price per standard deviation by which the members' predictions differ.
        out_of_range: Predictions beyond the training data: ignore, truncate or penalise.
        range_margin: How much wider than the training data the range is, as a share of its width.
        range_cost: Price of a step that ends one standard deviation beyond the range.
        behaviour: Price of leaving what the data's policy would have done, per standard deviation.
        support_cost: Price of a step of the plan with nothing behind it (3 to 10 times slower).
        draws: Draws of the agent's factors per member: little data of its own counts as risk.
        spread: Standard deviation of the noise around a plan, as a share of the action's range.
        noise_beta: Colour of that noise along a plan; 0 is white, 2 slow.
        elite: Share of the candidates that are elites (icem, cem).
        keep: Share of the elites that are tried again in the next round (icem).
        decay: Size of a round over that of the one before (icem).
        momentum: Share of the old mean and spread in the new ones (icem, cem).
        warm_start: Begin cem at the plan of the last control step.
        execute: Plan of cem that is executed: mean or best.
        temperature: Of mppi; the smaller, the more the best candidates count.
        temperature_unit: spread (standard deviations of the scores) or reward.
    """

    planner: Annotated[str | None, shown("the task's")] = None
    candidates: Annotated[int | None, shown("the task's")] = None
    horizon: Annotated[int | None, shown("the task's")] = None
    rounds: Annotated[int | None, shown("the task's")] = None
    terminal_value: Annotated[str | None, shown("the task's")] = None
    discount: Annotated[float | None, shown("the task's")] = None
    progress: Annotated[float | None, shown("the task's")] = None
    risk: Annotated[float | None, shown("the task's")] = None
    cvar: Annotated[float | None, shown("the task's")] = None
    disagreement: Annotated[float | None, shown("the task's")] = None
    out_of_range: Annotated[str | None, shown("the task's")] = None
    range_margin: Annotated[float | None, shown("the task's")] = None
    range_cost: Annotated[float | None, shown("the task's")] = None
    behaviour: Annotated[float | None, shown("the task's")] = None
    support_cost: Annotated[float | None, shown("the task's")] = None
    draws: Annotated[int | None, shown("the task's")] = None
    spread: Annotated[float | None, shown("the task's")] = None
    noise_beta: Annotated[float | None, shown("the task's")] = None
    elite: Annotated[float | None, shown("the task's")] = None
    keep: Annotated[float | None, shown("the task's")] = None
    decay: Annotated[float | None, shown("the task's")] = None
    momentum: Annotated[float | None, shown("the task's")] = None
    warm_start: Annotated[bool | None, shown("the task's")] = None
    execute: Annotated[str | None, shown("the task's")] = None
    temperature: Annotated[float | None, shown("the task's")] = None
    temperature_unit: Annotated[str | None, shown("the task's")] = None

    def config(self, task: Task, preset: Literal["ours", "paper"] = "ours") -> PlanConfig:
        """The task's settings, ours or the paper's, with these changes.

        Raises:
            UsageError: a value is out of range; the message names the flag.
        """
        from pydantic import ValidationError

        from twinfold.planning.presets import PAPER, plan_config

        try:
            if preset == "paper":
                return PAPER[task.name].replace(**asdict(self))
            return plan_config(task.name, task.action_type, **asdict(self))
        except ValidationError as error:
            lines = []
            for item in error.errors():
                flag = "--" + str(item["loc"][0]).replace("_", "-")
                lines.append(f"{flag} cannot be {item['input']!r}: {item['msg'].lower()}")
            raise UsageError("\n".join(lines)) from None


def finite(value: Any) -> Any:
    """Return plain values for JSON: what is no finite number is None."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy
        return finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
