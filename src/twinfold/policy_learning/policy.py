"""A trained policy with what it was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from twinfold.policy_learning.actor_critic import Policy
from twinfold.policy_learning.settings import PolicyLearningSettings


class PolicyInfo(BaseModel):
    """How the training of a policy went.

    Attributes:
        twinfold: version that trained it; likewise ``jax``.
        device: kind of device that it was trained on.
        models: W, that episodes were simulated with.
        steps: simulated in all.
        history: mean return of the episodes that ended in each tenth of the training, in the world
            that the policy was trained in; None where none ended.
        halted: share of the episodes of the last tenth that halted at what the models do not know.
        seconds: that the training took, compilation included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str
    jax: str
    device: str
    models: int
    steps: int
    history: tuple[float | None, ...]
    halted: float | None
    seconds: float


@dataclass(frozen=True, eq=False)
class TrainedPolicy:
    """A trained policy.

    Attributes:
        policy: nets, pure and single-example, for code that is compiled.
        settings: what it was trained with.
        info: how the training went.
    """

    policy: Policy
    settings: PolicyLearningSettings
    info: PolicyInfo

    def act(self, states: ArrayLike, key: Array | None = None) -> NDArray[Any]:
        """Return what the policy does in each of several states.

        Args:
            states: raw units, ``(B, D)``.
            key: of random actions; None for the most likely levels or the means.

        Returns:
            Indices of levels, ``(B,)``, or continuous actions within the bounds, ``(B, A)``.
        """
        given = jnp.asarray(states, jnp.float32)
        keys = None if key is None else jax.random.split(key, len(given))
        return np.asarray(_act(self.policy, given, keys))


@eqx.filter_jit
def _act(policy: Policy, states: Array, keys: Array | None) -> Array:
    return jax.vmap(policy.act, in_axes=(0, None if keys is None else 0))(states, keys)
