"""Settings of BCQ, CQL and their augmentation by simulated trajectories; no JAX, no PyTorch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twinfold.data.roles import ActionType
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines

Algorithm = Literal["bcq", "cql"]

ALGORITHMS: tuple[Algorithm, ...] = ("bcq", "cql")
"""Names of the algorithms."""

Actor = Literal["mpc", "behaviour", "random"]

Start = Literal["panel", "agent"]

Width = Annotated[int, Field(ge=1, le=4096, strict=True)]
Share = Annotated[float, Field(ge=0, le=1)]


class OfflineSettings(BaseModel):
    """Settings of BCQ and CQL.

    The defaults of this class are those of one policy from all agents with discrete actions;
    :func:`offline_settings` gives those of every case. What an algorithm does not read changes
    nothing.

    Attributes:
        steps: of training.
        batch: transitions per step.
        learning_rate: of Adam, for every net.
        hidden: widths of every net, ReLU.
        discount: per step.
        target_interval: steps between two copies to the target net (discrete actions). The
            library's own 8,000 is for millions of steps.
        target_rate: share of the nets that the target nets take over at each step (continuous).
        bcq_threshold: an action may be taken if its probability under the imitator is at least
            this share of the most probable action's (BCQ, discrete).
        bcq_penalty: of the mean square of the imitator's logits (BCQ, discrete). The authors' code
            has 0.01; the library's 0.5 makes all actions about as probable, so that none is ruled
            out.
        bcq_perturbation: the farthest that an action is moved from the generated one, where the
            range of actions is [-1, 1] (BCQ, continuous).
        bcq_candidates: generated actions of which the best is taken (BCQ, continuous).
        cql_weight: of the conservative part of the loss (CQL, discrete).
        cql_weight_continuous: likewise (CQL, continuous), the same throughout. The library would
            lower it while the loss is below a threshold, which leaves little of it on such data;
            the authors' examples of locomotion do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] = 20_000
    batch: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (256, 256)
    discount: Annotated[float, Field(ge=0, lt=1)] = 0.99
    target_interval: Annotated[int, Field(ge=1, le=100_000_000, strict=True)] = 100
    target_rate: Annotated[float, Field(gt=0, le=1)] = 0.005
    bcq_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.3
    bcq_penalty: Annotated[float, Field(ge=0, le=1e6)] = 0.01
    bcq_perturbation: Share = 0.05
    bcq_candidates: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 100
    cql_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    cql_weight_continuous: Annotated[float, Field(ge=0, le=1e6)] = 5.0

    @classmethod
    def parse(
        cls, values: dict[str, object], base: OfflineSettings | None = None
    ) -> OfflineSettings:
        """Return settings from a mapping.

        Args:
            values: settings by name.
            base: those that the mapping does not name; the defaults of the class if None.

        Raises:
            UsageError: a setting is unknown or out of range; the message names it.
        """
        try:
            return cls.model_validate({**(base.model_dump() if base else {}), **values})
        except ValidationError as error:
            lines = problem_lines(error.errors(), lambda _: one_of(cls.model_fields))
            raise UsageError("\n".join(lines)) from None


def offline_settings(action_type: ActionType, *, one_agent: bool = False) -> OfflineSettings:
    """Return the default settings of a case.

    A step with continuous actions trains three to five nets instead of one or two: there are half
    as many, and the nets are smaller. These need all 10,000 of one agent's trajectories too: after
    2,500 neither method has learned to act as the best of them do.

    Args:
        action_type: ``"discrete"`` or ``"continuous"``.
        one_agent: whether the policy is learned from one agent's trajectory (-A) and not from all
            agents' (-P): of discrete actions, a quarter of the steps.
    """
    if action_type == "discrete":
        return OfflineSettings(steps=5_000 if one_agent else 20_000)
    return OfflineSettings(steps=10_000, batch=100, hidden=(64, 64))


class AugmentationSettings(BaseModel):
    """How the trajectories are made that are added to an agent's observed one.

    The planner acts by default. On random data of CartPole it was preferred to random actions by an
    offline criterion: the value of the learned policy in posterior samples of the simulator that
    none of its trajectories came from.

    Attributes:
        trajectories: how many.
        steps: the longest; the task's longest episode if None.
        actor: what acts in the simulator: ``"mpc"``, the task's planner, which replans at every
            step with the whole ensemble; ``"behaviour"``, the policy that the data followed,
            learned from its actions; ``"random"``, uniform actions.
        start: where they start: ``"agent"``, where the agent's own recorded trajectories do;
            ``"panel"``, where those of any agent do, drawn at random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trajectories: Annotated[int, Field(ge=1, le=1000, strict=True)] = 5
    steps: Annotated[int, Field(ge=1, le=1_000_000, strict=True)] | None = None
    actor: Actor = "mpc"
    start: Start = "panel"
