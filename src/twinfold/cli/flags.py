"""Flags that several commands have, and how their values are read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_origin

from cyclopts import Parameter

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.data.roles import Roles

ActionType = Literal["discrete", "continuous"]
Names = Annotated[list[str] | None, Parameter(negative="", consume_multiple=False)]
Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def shown(default: object) -> Parameter:
    """Return a flag that is None when not given; its help says what is then used."""
    return Parameter(show_default=lambda _: default)


def split(values: list[str] | None) -> tuple[str, ...]:
    """Return ``("a", "b", "c")`` for ``["a,b", "c"]``: flags are repeated, or hold commas."""
    return tuple(
        part.strip() for value in values or [] for part in value.split(",") if part.strip()
    )


def whole(word: str, expected: str) -> int:
    """Return ``12`` for ``"12"``.

    Raises:
        UsageError: it is no whole number; the message says what was expected.
    """
    try:
        return int(word)
    except ValueError:
        raise UsageError(f"{expected}, not {word!r}") from None


def numbers(text: str, flag: str) -> list[float]:
    """Return ``[1.0, -2.5]`` for ``"1,-2.5"``.

    Raises:
        UsageError: a part is no number; the message names the flag.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers separated by commas, not {text!r}") from None


def state_numbers(text: str, names: Sequence[str]) -> list[float]:
    """Return the value of ``--state``: one number per state column.

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
        """Return the roles, or None if no flag was given (the manifest beside the table then says).

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
    """Return the roles of a table for a run: by flags, else by its manifest (None), else the run's.

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


def settings_flags(fields: Mapping[str, Any], default: Callable[[Any], object]) -> Any:
    """Return a dataclass with a flag for every setting, None where it is not given.

    Args:
        fields: Pydantic fields by name; the description of a field is the help of its flag.
        default: what the help says that a flag is when it is not given, by the field.
    """

    def kind(field: Any) -> Any:
        if field.annotation in (bool, int, float):
            return field.annotation | None
        return Names if get_origin(field.annotation) is tuple else str | None

    flags = [
        (
            name,
            Annotated[
                kind(field),
                Parameter(
                    help=" ".join(field.description.split()),
                    show_default=lambda _, field=field: default(field),
                ),
            ],
            None,
        )
        for name, field in fields.items()
    ]
    return make_dataclass("SettingsFlags", flags, frozen=True)


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
