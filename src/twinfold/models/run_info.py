"""Where a model comes from: what it was fitted on, what was chosen, what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from twinfold.config import Kind
from twinfold.utils.plain import plain

HIDDEN = ("covariates",)
"""Keys of a source that tell the hidden physics of simulated agents."""

Count = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True)]
Trust = Annotated[float, Field(strict=True, gt=0, le=1)]
# JSON has no NaN: what is not finite is null there.
Loss = Annotated[Number, BeforeValidator(lambda loss: math.nan if loss is None else loss)]


class Measured(BaseModel):
    """Those errors among what a fit has measured that later steps read."""

    rmse: Number | None = None
    persistence_rmse: Number | None = None
    rmse_by_horizon: list[Number | None] | None = None


class Adaptation(BaseModel):
    """One table that a model was adapted to.

    Attributes:
        fingerprint: of the table.
        agents: how many it has.
        new_agents: of these, agents that the model did not know.
        transitions: how many it has.
        created: when, in ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    agents: Count
    new_agents: Count
    transitions: Count
    created: str


class RunInfo(BaseModel):
    """Provenance and measured errors of a fitted model, as ``run.json`` has them.

    Attributes:
        twinfold: version that fitted it; likewise ``python`` and ``jax``.
        created: when, in ISO 8601.
        device: kind of device that it was fitted on.
        fingerprint: of the data that the nets were trained on.
        source: where that data came from. Hidden physics of simulated agents is left out, whoever
            passes it.
        agents: that the nets were trained on; ``transitions`` likewise.
        linear: kind of the linear part; None if there is none.
        own: pairs (feature, state column) of the linear coefficients that agents have of their own.
        features: "separable" or "joint".
        rank: number of latent terms of the nets.
        history: rows that the model reads, the present one included.
        memory_trust: how much transitions count of which 0, 1, .. history - 2 steps before are
            known; empty if all count in full.
        steps: of training; ``unrolled_steps``: of these, on predictions over several steps.
        shrinkage: of the factors in training.
        static_explained: share of the differences between agents that static columns explain.
        behaviour_explained: share of the actions that the learned policy of the data explains.
        validation: errors on what the fit held out.
        settings: numbers that decided in the fit, by what they are for.
        training_loss: last loss of each member.
        filled_by_nets: whether nets filled in what was missing in the data, not linear models.
        seconds: that the fit took.
        reserved_agents: that the band is calibrated on.
        reserved_fingerprint: of their data.
        adapted: what the model was adapted to since.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str = ""
    created: str = ""
    python: str = ""
    jax: str = ""
    device: str = ""
    fingerprint: str = ""
    source: dict[str, Any] = Field(default_factory=dict)
    agents: Count = 0
    transitions: Count = 0
    linear: Kind | None = None
    own: tuple[tuple[Count, Count], ...] = ()
    features: Literal["separable", "joint"] = "separable"
    rank: Annotated[Count, Field(le=512)] = 0
    history: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    memory_trust: tuple[Trust, ...] = ()
    steps: Count = 0
    unrolled_steps: Count = 0
    shrinkage: Number = 0.0
    static_explained: Number | None = None
    behaviour_explained: Number | None = None
    validation: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    training_loss: tuple[Loss, ...] = ()
    filled_by_nets: bool = False
    seconds: Number = 0.0
    reserved_agents: Count = 0
    reserved_fingerprint: str | None = None
    adapted: tuple[Adaptation, ...] = ()

    @field_validator("source", mode="before")
    @classmethod
    def _without_hidden(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {key: item for key, item in value.items() if key not in HIDDEN}

    @field_validator("validation", mode="after")
    @classmethod
    def _numbers_where_they_are_read(cls, value: dict[str, Any]) -> dict[str, Any]:
        Measured.model_validate(value)
        return value

    @model_validator(mode="after")
    def _trust_of_every_step(self) -> RunInfo:
        if self.memory_trust and len(self.memory_trust) != self.history - 1:
            raise ValueError("memory_trust needs a number for each step that the model reads")
        return self

    def has_had(self, fingerprint: str) -> bool:
        """Return whether data of this fingerprint has gone into the model."""
        table = self.source.get("fingerprint")  # of a table of which some agents were reserved
        had = (self.fingerprint, self.reserved_fingerprint, table)
        return fingerprint in had or any(fingerprint == part.fingerprint for part in self.adapted)

    def changed(self, **fields: Any) -> RunInfo:
        """Return a copy with some fields replaced."""
        return self.model_copy(update=fields)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON has them: null for a number that is not finite."""
        return plain(self.model_dump(mode="json"))
