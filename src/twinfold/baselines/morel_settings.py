"""Settings of MOReL, model-based offline reinforcement learning; no JAX."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.errors import UsageError, one_of
from twinfold.policy_learning.settings import PolicyLearningSettings
from twinfold.utils.reading import problem_lines

Width = Annotated[int, Field(ge=1, le=4096, strict=True)]
Steps = Annotated[int, Field(ge=0, le=100_000_000, strict=True)]
Amount = Annotated[float, Field(ge=0, le=1e6)]


class MOReLSettings(BaseModel):
    """Settings of MOReL.

    Published are nets of 2 x 512 and 25 epochs of their training, 4 members, minibatches of 256 and
    a rate of 1e-3, and thresholds and penalties chosen by hand for each task; here nets are smaller
    and their training is shorter, so that a fit takes minutes of one core.

    Attributes:
        hidden: widths of a member's net, ReLU.
        members: of the ensemble.
        batch: transitions per training step.
        learning_rate: of Adam, the same at every step.
        steps: of the training of the ensemble.
        threshold: discrepancy of the members from which on a state and action are unknown, in
            units of the largest discrepancy on the data. The published code divides by its
            coefficient of pessimism (first it multiplied): the 3.0 of its example for D4RL is a
            threshold of 1/3 here, nine times as cautious as the default.
        penalty: reward lost at each step after halting, beside the smallest reward of the data.
        start_share: share of the imagined episodes that begin anywhere in the data; the others
            begin where a recorded trajectory begins.
        n_starts: states that imagined episodes begin in, drawn once.
        cloning_steps: of Adam, by which the policy learns what was done in the data before it is
            trained; 0 for a random policy.
        policy: of the training of the policy.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (128, 128)
    members: Annotated[int, Field(ge=2, le=100, strict=True)] = 4
    batch: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 256
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    steps: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] = 10_000
    threshold: Amount = 3.0
    penalty: Amount = 1.0
    start_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    n_starts: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] = 2048
    cloning_steps: Steps = 1000
    policy: PolicyLearningSettings = PolicyLearningSettings()

    @classmethod
    def parse(cls, values: dict[str, object]) -> MOReLSettings:
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
