"""Which column of a table plays which part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
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
Calendar = Literal["month", "day", "quarter", "week", "business", "none"]
Column = Annotated[str, Field(max_length=1000)]
Level = StrictBool | StrictInt | StrictStr
"""A value of a discrete action column."""

_UNWRITTEN = {
    "exogenous": [],
    "align": "next",
    "calendar": None,
    "levels": [],
    "reward_expression": None,
    "terminated_expression": None,
}
# Not written where they are so: what was written before there were such roles stays the same.


class Roles(BaseModel):
    """The columns of a long table, one row per agent and time.

    Attributes:
        agent: column of agent ids (text or integers).
        time: column of times (integers, floats or dates); unique within agent and episode.
        state: columns of the state, D of them, in the order models and queries use.
        action: columns of the action: choices (integers, words or flags), amounts, or both; none
            for a panel on which nobody acts.
        action_type: ``"discrete"`` or ``"continuous"``, or one of them for each action column;
            ``"none"`` without an action.
        episode: column that tells an agent's trajectories apart, if an agent has several.
        reward: column of the reward earned by the action of the same row.
        terminated: flag on the last row of a trajectory that ended by itself.
        truncated: flag on the last row of a trajectory that was cut off.
        angle: those state columns that are angles, in radians; they may wrap around or count on.
        carried: those state columns whose values are carried forward from a slower measurement: a
            value that repeats the one before is taken as missing.
        static: columns that describe an agent and never change: quantities such as its age or
            size, or words such as its site; they say something of an agent before it has any data.
        exogenous: columns that are measured, and neither predicted nor chosen, numbers or words:
            weather, a price, the day of the week. The value of a row acts on what follows it.
        align: ``"next"`` where an action and its reward stand in the row of the state that they
            were taken in, one above their outcome; ``"same-row"`` where they stand in the row of
            their outcome, and are moved up when the table is read. Exogenous columns likewise.
        calendar: what integer times such as 202312 are: ``"month"`` (202312), ``"day"``
            (20231231), ``"quarter"`` (20234), ``"week"`` (202352, of ISO 8601), or ``"none"`` for
            numbers; told from the data when None. ``"business"`` counts dates in working days, so
            that from Friday to Monday is one step.
        levels: combinations of values of the discrete action columns that there are, unless these
            are integers of one column: ``["fill", "drain"]``, or a list of values for each. Found
            in the data if not given.
        reward_expression: what a step earns, by columns
            (:mod:`twinfold.data.expression`); None if nothing says it, or a reward column.
        terminated_expression: whether an episode ends in a state, likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: Column
    time: Column
    state: tuple[Column, ...]
    action: tuple[Column, ...] = ()
    action_type: ActionType | Literal["none"] | tuple[ActionType, ...]
    episode: Column | None = None
    reward: Column | None = None
    terminated: Column | None = None
    truncated: Column | None = None
    angle: tuple[Column, ...] = ()
    carried: tuple[Column, ...] = ()
    static: tuple[Column, ...] = ()
    exogenous: tuple[Column, ...] = ()
    align: Alignment = "next"
    calendar: Calendar | None = None
    levels: tuple[tuple[Level, ...], ...] = ()
    reward_expression: str | None = None
    terminated_expression: str | None = None

    @field_validator("state", "action", "angle", "carried", "static", "exogenous", mode="before")
    @classmethod
    def _one_name_is_a_list_of_one(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("levels", mode="before")
    @classmethod
    def _one_value_is_a_level(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return tuple(tuple(x) if isinstance(x, list | tuple) else (x,) for x in value)

    @model_validator(mode="before")
    @classmethod
    def _kinds_as_one(cls, data: Any) -> Any:
        """Nobody acts if neither columns nor a kind are given; equal kinds are one."""
        if not isinstance(data, Mapping):
            return data
        action, kinds = data.get("action"), data.get("action_type")
        if isinstance(kinds, str) and "," in kinds:
            kinds = [word.strip() for word in kinds.split(",")]
        if not action and kinds in (None, (), []):
            return {**data, "action": (), "action_type": "none"}
        if isinstance(kinds, list | tuple) and kinds and all(kind == kinds[0] for kind in kinds):
            count = 1 if isinstance(action, str) else len(action or ())
            kinds = kinds[0] if len(kinds) == count else tuple(kinds)
        return {**data, "action_type": kinds} if kinds is not None else data

    @model_validator(mode="after")
    def _enough_columns(self) -> Roles:
        if not self.state:
            raise ValueError("state needs at least one column")
        if bool(self.action) == (self.action_type == "none"):
            if self.action:
                raise ValueError('action_type "none" is for a panel without action columns')
            raise ValueError(
                "action needs at least one column; leave out action and action_type if nobody acts"
            )
        if isinstance(self.action_type, tuple) and len(self.action_type) != len(self.action):
            raise ValueError(
                f"action_type has {len(self.action_type)} kinds for {len(self.action)} action "
                "columns; give one for all, or one for each in their order"
            )
        return self

    @model_validator(mode="after")
    def _levels_of_columns(self) -> Roles:
        count = self.kinds.count("discrete")
        for i, level in enumerate(self.levels):
            if len(level) != count:
                raise ValueError(
                    f"level {list(level)} has {len(level)} values for {count} discrete action "
                    "columns"
                )
            if level in self.levels[:i]:
                raise ValueError(f"level {list(level)} is given twice")
        return self

    @model_validator(mode="after")
    def _these_are_states(self) -> Roles:
        for role, given in (("angle", self.angle), ("carried", self.carried)):
            for i, name in enumerate(given):
                if name not in self.state:
                    raise ValueError(f"{role} {name!r} is not a state column; {one_of(self.state)}")
                if name in given[:i]:
                    raise ValueError(f"{role} {name!r} is given twice; name each column once")
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
    def kinds(self) -> tuple[ActionType, ...]:
        """The kind of each action column."""
        if isinstance(self.action_type, tuple):
            return self.action_type
        return () if self.action_type == "none" else (self.action_type,) * len(self.action)

    @property
    def mixed(self) -> bool:
        """Whether some action columns are discrete and some are continuous."""
        return isinstance(self.action_type, tuple)

    @property
    def discrete(self) -> bool:
        """Whether an action is one of some levels; without an action there is a single one."""
        return self.action_type in ("discrete", "none")

    @property
    def action_kind(self) -> str:
        """The kind of the action in a sentence: ``"a discrete action"``, ``"3 discrete ..."``."""
        if self.mixed:
            return "a mixed action (" + ", ".join(self.kinds) + ")"
        if len(self.action) > 1:
            return f"{len(self.action)} {self.action_type} actions"
        return "no action" if not self.action else f"a {self.action_type} action"

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column used, in the order of a written table."""
        return tuple(column for column, _ in self.items())


def _explain(error: ValidationError) -> Iterator[str]:
    """One readable line per thing that pydantic refused."""
    told: set[str] = set()
    for item in error.errors()[: READING.problems]:
        name = ".".join(str(part) for part in item["loc"][:1])
        if name in told:
            continue
        if name in ("action_type", "levels"):  # one fault is told for each of several types
            told.add(name)
        if item["type"] == "missing":
            what = "discrete or continuous" if name == "action_type" else "which column it is"
            yield f"role {name!r} is missing; say {what}"
        elif item["type"] == "extra_forbidden":
            yield f"unknown role {clipped(name)}; {one_of(Roles.model_fields)}"
        elif name:
            yield f"role {name!r} cannot be {clipped(item['input'])}: {item['msg'].lower()}"
        else:
            yield item["msg"].removeprefix("Value error, ")
