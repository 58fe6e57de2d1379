"""Settings of CaDM, the context-aware dynamics model; no JAX."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines

Variant = Literal["vanilla", "pe-ts"]

VARIANTS: dict[str, Variant] = {"cadm": "vanilla", "cadm-pets": "pe-ts"}
"""By name of the method in the benchmark."""

Width = Annotated[int, Field(ge=1, le=4096, strict=True)]
Number = Annotated[int, Field(ge=1, le=1000, strict=True)]


class CaDMSettings(BaseModel):
    """Settings of CaDM; the defaults are the published ones but for the length of training.

    Attributes:
        hidden: widths of the forward and of the backward net, swish.
        encoder: widths of the context encoder, ReLU.
        context: length of the context vector.
        history: steps that the encoder reads.
        future: steps that one context must explain in training.
        backward_weight: of the loss of the backward net.
        batch: transitions per training step.
        learning_rate: of Adam, the same at every step.
        steps: of training, per member. The published training has no length of its own: it goes on
            as data comes in.
        log_variance: bounds of the logarithm of the variance at the start, in units of the
            standardised differences; they are learned (``pe-ts``).
        bound_weight: price of the distance between these bounds (``pe-ts``).
        members: of the ensemble (``pe-ts``; the vanilla model is one net).
        particles: that a prediction follows, each with one member (``pe-ts``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (200, 200, 200, 200)
    encoder: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (256, 128, 64)
    context: Width = 10
    history: Number = 10
    future: Number = 10
    backward_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.5
    batch: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 256
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    steps: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] = 18_000
    log_variance: tuple[float, float] = (-10.0, 0.5)
    bound_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.01
    members: Annotated[int, Field(ge=1, le=100, strict=True)] = 5
    particles: Number = 20

    @field_validator("log_variance")
    @classmethod
    def _in_order(cls, bounds: tuple[float, float]) -> tuple[float, float]:
        if not bounds[0] < bounds[1]:
            raise ValueError("the lower bound comes first")
        return bounds

    @classmethod
    def parse(cls, values: dict[str, object]) -> CaDMSettings:
        """Return settings from a mapping.

        Raises:
            UsageError: a setting is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = problem_lines(error.errors(), lambda _: one_of(cls.model_fields))
            raise UsageError("\n".join(lines)) from None

    def n_members(self, variant: Variant) -> int:
        """Return how many nets a variant has."""
        return self.members if variant == "pe-ts" else 1

    def n_particles(self, variant: Variant) -> int:
        """Return how many paths a prediction of a variant follows."""
        return self.particles if variant == "pe-ts" else 1
