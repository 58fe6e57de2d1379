"""Settings of the training of policies; no JAX."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines

Width = Annotated[int, Field(ge=1, le=4096, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1e6)]


class PolicyLearningSettings(BaseModel):
    """Settings of PPO and of its nets.

    Attributes:
        hidden: widths of the policy's net and of the value's, tanh.
        steps: simulated steps in all, rounded up to whole updates.
        environments: simulations side by side, at least one in each world.
        unroll: steps of each simulation between two updates.
        epochs: passes over these steps per update.
        minibatches: parts that a pass is cut into, one step of Adam each; at most as many as there
            are simulated steps.
        learning_rate: of Adam at the beginning; it falls linearly to zero.
        discount: gamma, per step.
        trace: lambda of the generalised advantage estimate.
        clip: how far the probability of an action may move in one update, as a share.
        entropy_weight: worth of the policy's entropy, in advantages of one standard deviation.
        value_weight: of the squared error of the value.
        largest_gradient: norm that a gradient is scaled down to.
        log_sd: logarithm of the standard deviation of a continuous action at the beginning, in
            half-widths of its bounds.
        least_log_sd: the least that it may become.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (64, 64)
    steps: Annotated[int, Field(ge=1, le=10**10, strict=True)] = 600_000
    environments: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 64
    unroll: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 64
    epochs: Annotated[int, Field(ge=1, le=100, strict=True)] = 4
    minibatches: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    discount: Annotated[float, Field(ge=0, lt=1)] = 0.99
    trace: Share = 0.95
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    entropy_weight: Weight = 0.01
    value_weight: Weight = 0.5
    largest_gradient: Annotated[float, Field(gt=0, le=1e6)] = 0.5
    log_sd: Annotated[float, Field(ge=-10, le=2)] = -0.25
    least_log_sd: Annotated[float, Field(ge=-10, le=2)] = -1.6

    @classmethod
    def parse(cls, values: dict[str, object]) -> PolicyLearningSettings:
        """Return settings from a mapping.

        Args:
            values: settings by name; the others keep their defaults.

        Raises:
            UsageError: a setting is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = problem_lines(error.errors(), lambda _: one_of(cls.model_fields))
            raise UsageError("\n".join(lines)) from None
