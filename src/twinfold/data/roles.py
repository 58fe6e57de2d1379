"""Which column of a table plays which part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import READING
from twinfold.utils.text import clipped

ActionType = Literal["discrete", "continuous"]
Alignment = Literal["next", "same-row"]
Calendar = Literal["month", "day", "quarter", "none"]
Column = Annotated[str, Field(max_length=1000)]

_UNWRITTEN = {"exogenous": [], "align": "next", "calendar": None}
# Not written where they are so: what was written before there were such roles stays the same.


class Roles(BaseModel):
    """The columns of a long table, one row per agent and time.

    Attributes:
        agent: column of agent ids (text or integers).
        time: column of times (integers, floats or dates); unique within agent and episode.
        state: columns of the state, D of them, in the order models and queries use.
        action: columns of the action: one integer column if discrete, A numeric ones otherwise.
        action_type: ``"discrete"`` or ``"continuous"``.
        episode: column that tells an agent's trajectories apart, if an agent has several.
        reward: column of the reward earned by the action of the same row.
        terminated: flag on the last row of a trajectory that ended by itself.
        truncated: flag on the last row of a trajectory that was cut off.
        angle: those state columns that are angles, in radians; they may wrap around or count on.
        static: columns that describe an agent and never change: quantities such as its age or
            size, or words such as its site; they say something of an agent before it has any data.
        exogenous: columns that are measured, and neither predicted nor chosen, numbers or words:
            weather, a price, the day of the week. The value of a row acts on what follows it.
        align: ``"next"`` where an action and its reward stand in the row of the state that they
            were taken in, one above their outcome; ``"same-row"`` where they stand in the row of
            their outcome, and are moved up when the table is read. Exogenous columns likewise.
        calendar: what integer times such as 202312 are: ``"month"`` (202312), ``"day"``
            (20231231), ``"quarter"`` (20234), or ``"none"`` for numbers; told from the data when
            None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: Column
    time: Column
    state: tuple[Column, ...]
    action: tuple[Column, ...]
    action_type: ActionType
    episode: Column | None = None
    reward: Column | None = None
    terminated: Column | None = None
    truncated: Column | None = None
    angle: tuple[Column, ...] = ()
    static: tuple[Column, ...] = ()
    exogenous: tuple[Column, ...] = ()
    align: Alignment = "next"
    calendar: Calendar | None = None

    @field_validator("state", "action", "angle", "static", "exogenous", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _enough_columns(self) -> Roles:
        if not self.state:
            raise ValueError("state needs at least one column")
        if not self.action:
            raise ValueError("action needs at least one column")
        if self.action_type == "discrete" and len(self.action) != 1:
            raise ValueError(
                f"a discrete action is exactly one integer column, got {len(self.action)}: "
                f"{', '.join(self.action)}; number the combinations in one column, "
                'or use action_type "continuous"'
            )
        return self

    @model_validator(mode="after")
    def _angles_are_states(self) -> Roles:
        for i, name in enumerate(self.angle):
            if name not in self.state:
                raise ValueError(f"angle {name!r} is not a state column; {one_of(self.state)}")
            if name in self.angle[:i]:
                raise ValueError(f"angle {name!r} is given twice; name each column once")
        return self

    @classmethod
    def parse(cls, roles: Roles | Mapping[str, Any]) -> Roles:
        """Roles from a mapping such as a manifest's or a keyword dictionary.

        Raises:
            UsageError: a role is missing, unknown or malformed; the message names it.
        """
        if isinstance(roles, Roles):
            return roles
        if not isinstance(roles, Mapping):
            raise UsageError(f"roles must be a mapping of role to column, got {clipped(roles)}")
        try:
            return cls.model_validate(dict(roles))
        except ValidationError as error:
            raise UsageError("\n".join(_explain(error))) from None

    def items(self) -> Iterator[tuple[str, str]]:
        """Pairs (column, role) of every column used, in the order of a written table."""
        yield self.agent, "agent"
        if self.episode is not None:
            yield self.episode, "episode"
        yield self.time, "time"
        yield from ((name, "state") for name in self.state)
        yield from ((name, "action") for name in self.action)
        yield from ((name, "exogenous") for name in self.exogenous)
        for role in ("reward", "terminated", "truncated"):
            name = getattr(self, role)
            if name is not None:
                yield name, role
        yield from ((name, "static") for name in self.static)

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: Any) -> dict[str, Any]:
        written = write(self).items()
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in written}
        left_out = {k for k, v in plain.items() if k in _UNWRITTEN and v == _UNWRITTEN[k]}
        return {k: v for k, v in written if k not in left_out}

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column used, in the order of a written table."""
        return tuple(column for column, _ in self.items())


def _explain(error: ValidationError) -> Iterator[str]:
    """One readable line per thing that pydantic refused."""
    for item in error.errors()[: READING.problems]:
        name = ".".join(str(part) for part in item["loc"][:1])
        if item["type"] == "missing":
            yield f"role {name!r} is missing; say which column it is"
        elif item["type"] == "extra_forbidden":
            yield f"unknown role {clipped(name)}; {one_of(Roles.model_fields)}"
        elif name:
            yield f"role {name!r} cannot be {clipped(item['input'])}: {item['msg'].lower()}"
        else:
            yield item["msg"].removeprefix("Value error, ")
