"""Settings of planning: one object for the search, one for the objective, both in one record.

A user sees one flat list of names (a flag, a line of TOML, a field of a record): those of the
objective and those of the planner that is named. The text below each field is its help.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

S = TypeVar("S", bound="Settings")
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[float, Field(ge=0.0, le=1e6)]
Scale = Annotated[float, Field(ge=1e-6, le=1e6)]


class Settings(BaseModel):
    """Settings that cannot be changed, only copied with changes."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    def replace(self: S, **changes: Any) -> S:
        """Return a copy with the changes that are not None, validated."""
        given = {name: value for name, value in changes.items() if value is not None}
        return type(self)(**{**self.model_dump(), **given})


class SearchSettings(Settings):
    """The settings that every planner has."""

    planner: Literal["sticky", "shooting", "icem", "mppi", "cem"]
    """sticky or shooting (discrete actions); icem, mppi or cem (continuous ones)."""
    candidates: int = Field(default=500, ge=4, le=1_000_000)
    """Number of action sequences tried (icem, mppi, cem: per round)."""
    horizon: int = Field(default=25, ge=1, le=10_000)
    """Length of each, in steps."""

    @field_validator("horizon")
    @classmethod
    def _fits_in_memory(cls, horizon: int, info: Any) -> int:
        candidates, most = info.data.get("candidates", 0), 100_000_000
        if candidates * horizon > most:
            raise PydanticCustomError(
                "too_large",
                "{candidates} candidates of that length have more than {most} steps in all",
                {"candidates": candidates, "most": most},
            )
        return horizon


class ShootingSettings(SearchSettings):
    """Settings of :class:`twinfold.planning.shooting.RandomShooting`."""

    planner: Literal["shooting"] = "shooting"


class StickySettings(SearchSettings):
    """Settings of :class:`twinfold.planning.shooting.StickyShooting`."""

    planner: Literal["sticky"] = "sticky"
    max_repeat: Share = 0.95
    """Largest probability of repeating an action; each candidate draws its own (sticky)."""
    mutated: Share = 0.4
    """Share of the candidates that are changed copies of the last plan (sticky)."""
    tie: float = Field(default=1e-6, ge=0.0, lt=1.0)
    """Scores that differ by less than this share of the best one are equally good (sticky)."""


class RoundSettings(SearchSettings):
    """The settings that the planners for continuous actions have."""

    rounds: int = Field(default=4, ge=1, le=100)
    """Rounds of icem, mppi and cem."""
    spread: Scale = 0.25
    """Standard deviation of the noise around a plan (icem, cem: in the first round), as a share of
    the action's range."""
    noise_beta: float = Field(default=2.0, ge=0.0, le=10.0)
    """Colour of that noise along a plan: its power falls with frequency ** -noise_beta; 0 is
    white, 2 slow."""


class EliteSettings(RoundSettings):
    """The settings that the planners with elites have."""

    elite: float = Field(default=0.1, gt=0.0, le=0.5)
    """Share of the candidates that are elites, at least 2 (icem, cem)."""
    momentum: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the old mean and spread in the new ones (icem, cem)."""


class CEMSettings(EliteSettings):
    """Settings of :class:`twinfold.planning.cem.CEM`."""

    planner: Literal["cem"] = "cem"
    warm_start: bool = True
    """Begin cem at the plan of the last control step; icem and mppi always do."""
    execute: Literal["best", "mean"] = "best"
    """Plan of cem that is executed: mean or best. Of icem it is the best, of mppi the mean."""


class ICEMSettings(EliteSettings):
    """Settings of :class:`twinfold.planning.icem.ICEM`."""

    planner: Literal["icem"] = "icem"
    keep: Share = 0.3
    """Share of the elites that are tried again in the next round, at least 1 (icem)."""
    decay: float = Field(default=0.8, gt=0.0, le=1.0)
    """Size of a round over that of the one before; none has fewer than two candidates per elite
    (icem)."""


class MPPISettings(RoundSettings):
    """Settings of :class:`twinfold.planning.mppi.MPPI`."""

    planner: Literal["mppi"] = "mppi"
    temperature: Scale = 0.3
    """Temperature of mppi; the smaller, the more the best candidates count."""
    temperature_unit: Literal["spread", "reward"] = "spread"
    """Unit of the temperature: spread (standard deviations of the scores) or reward."""


class ObjectiveSettings(Settings):
    """Settings of what to plan for beyond the task's reward, whatever the planner."""

    terminal_value: Literal["none", "grid", "plans"] = "none"
    """Worth of a plan's end: none, grid (value iteration; up to 3 states) or plans (learned by
    planning from many states; continuous actions; takes half a minute per agent)."""
    discount: float = Field(default=1.0, gt=0.0, le=1.0)
    """Discount of the reward, per step."""
    progress: Price = 0.0
    """Worth of the most progress a plan makes (mountain_car: the highest position)."""
    risk: Price = 0.0
    """Standard deviations over the ensemble members taken off the return."""
    disagreement: Price = 0.0
    """Price of a step per standard deviation by which the members' predictions differ, averaged
    over state columns."""
    out_of_range: Literal["ignore", "penalise"] = "ignore"
    """Predictions beyond the training data: ignore or penalise."""
    range_margin: Price = 0.1
    """Margin by which the range is wider than the training data on either side, as a share of its
    width."""
    range_cost: Price = 1.0
    """Price of a step that ends one standard deviation beyond the range."""
    behaviour: Price = 0.0
    """Price of leaving what the data's policy would have done, per standard deviation of that
    policy's noise; less if the policy explains little of the data. Plans may then begin at it."""
    proposals: int = Field(default=8, ge=1, le=1000)
    """Number of plans along the data's policy that are tried too (with a price of leaving it)."""
    proposal_noise: Price = 0.3
    """Noise of the last of them, in standard deviations of the action; the first has none."""
    draws: int = Field(default=0, ge=0, le=1000)
    """Draws of the agent's factors per member: little data of its own counts as risk and as
    disagreement. Takes as many times longer; 0 is none."""

    @property
    def needs_data(self) -> bool:
        """True if plans are judged by where the training data lies."""
        return self.disagreement > 0 or self.behaviour > 0 or self.out_of_range != "ignore"


PLANNERS: Mapping[str, type[SearchSettings]] = {
    "sticky": StickySettings,
    "shooting": ShootingSettings,
    "icem": ICEMSettings,
    "mppi": MPPISettings,
    "cem": CEMSettings,
}
"""Settings of each planner, by its name."""

Search = Annotated[
    StickySettings | ShootingSettings | ICEMSettings | MPPISettings | CEMSettings,
    Field(discriminator="planner"),
]


class PlanConfig(Settings):
    """The settings of a plan: ``PlanConfig(planner="icem", horizon=20, risk=1.0)``.

    It is given, and written into records, as one flat list of names.

    Attributes:
        search: how the planner searches.
        objective: what it searches for.
    """

    search: Search = StickySettings()
    objective: ObjectiveSettings = ObjectiveSettings()

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

    @model_validator(mode="before")
    @classmethod
    def _sort(cls, flat: Any) -> Any:
        """Deal a flat list of names out to the objective and to the planner that it names."""
        if not isinstance(flat, Mapping) or flat.keys() & cls.model_fields.keys():
            return flat
        of_objective = {n: v for n, v in flat.items() if n in ObjectiveSettings.model_fields}
        rest = {n: v for n, v in flat.items() if n not in of_objective}
        return {"search": {"planner": "sticky", **rest}, "objective": of_objective}

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {**self.search.model_dump(), **self.objective.model_dump()}

    def replace(self, **changes: Any) -> PlanConfig:
        """Return a copy with the changes that are not None, validated.

        With another planner the settings that both have stay.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        known = {*names_of(given.get("planner", self.search.planner))}
        kept = {name: value for name, value in self.model_dump().items() if name in known}
        return PlanConfig(**{**kept, **given})

    def without_data(self) -> PlanConfig:
        """Return the same for a model that was not learned: no members, no data, no policy."""
        value = self.objective.terminal_value
        return self.replace(
            risk=0.0,
            disagreement=0.0,
            out_of_range="ignore",
            behaviour=0.0,
            draws=0,
            terminal_value="none" if value == "plans" else value,
        )


def names_of(planner: str) -> tuple[str, ...]:
    """Return the names of all settings of a planner; of an unknown one those of the objective."""
    own = PLANNERS[planner].model_fields if planner in PLANNERS else {"planner": None}
    return (*own, *ObjectiveSettings.model_fields)


def setting_fields() -> dict[str, Any]:
    """Return the field of every setting by its name: those of all planners, of the objective."""
    kinds = (*PLANNERS.values(), ObjectiveSettings, SearchSettings)
    return {name: field for kind in kinds for name, field in kind.model_fields.items()}


def recorded_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a record, as :class:`PlanConfig` takes them.

    Records used to hold the settings of all planners, and options that are no more. What the
    record's planner never read is left out, and so is a removed option that was not used.
    """
    unread = setting_fields().keys() - set(names_of(settings["planner"]))
    unused = {"cvar": 1.0, "support_cost": 0.0}  # removed options, where they did nothing
    return {
        name: value
        for name, value in settings.items()
        if name not in unread and not (name in unused and unused[name] == value)
    }


def problems(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with settings, by their names, in words that name the valid ones."""
    found: dict[str, str] = {}
    for item in error.errors():
        place, given = item["loc"], item["input"]
        if item["type"] == "union_tag_invalid":
            valid = ", ".join(PLANNERS)
            found["planner"] = f"cannot be {given['planner']!r}: valid are {valid}"
        elif item["type"] == "extra_forbidden" and place[0] == "search":
            valid = ", ".join(names_of(str(place[1])))
            found[str(place[-1])] = f"is no setting of planner {place[1]!r}; valid: {valid}"
        else:
            found[str(place[-1])] = f"cannot be {given!r}: {item['msg'].lower()}"
    return found
