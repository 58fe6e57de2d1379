"""A fitted MOReL: its ensemble, its policy, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from twinfold.baselines.morel import MOReLDynamics, Net
from twinfold.baselines.morel_settings import MOReLSettings
from twinfold.data.roles import Roles
from twinfold.models.normalizer import Normalizer
from twinfold.policy_learning.policy import TrainedPolicy

_BATCH = 256  # rollouts per call of the compiled program


class MOReLInfo(BaseModel):
    """Where a fitted MOReL comes from.

    Attributes:
        twinfold: version that fitted it; likewise ``jax``.
        created: when, in ISO 8601.
        device: kind of device that it was fitted on.
        fingerprint: of the data that was fitted.
        source: where that data came from.
        task: whose rewards and ends the policy was trained with.
        chosen: ids of the agents if they were chosen (``morel-a``); None if all were (``morel-p``).
        agents: in the data; ``transitions`` likewise.
        training_loss: of each member, mean of the last steps.
        discrepancy: mean and largest one on the data, in standardised differences.
        threshold: from which on a state and action are unknown, likewise.
        halt_reward: what an imagined episode is paid at an unknown one.
        ensemble_seconds: that the training of the ensemble took; ``seconds`` of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str
    created: str
    jax: str
    device: str
    fingerprint: str
    source: dict[str, Any]
    task: str
    chosen: tuple[int | float | str, ...] | None
    agents: int
    transitions: int
    training_loss: tuple[float | None, ...]
    discrepancy: tuple[float, float]
    threshold: float
    halt_reward: float
    ensemble_seconds: float
    seconds: float


@dataclass(frozen=True, eq=False)
class MOReL:
    """A fitted MOReL. It knows no agents: all act alike.

    Attributes:
        nets: of all members, with a leading axis.
        normalizer: float64, on the host; without limits.
        trained: the policy.
        config: what it was fitted with; ``seed`` likewise.
        roles: the user's columns.
        action_levels: the user's discrete actions, or None.
        info: where it comes from.
    """

    nets: Net
    normalizer: Normalizer
    trained: TrainedPolicy
    config: MOReLSettings
    seed: int
    roles: Roles
    action_levels: NDArray[np.int64] | None
    info: MOReLInfo

    @property
    def method(self) -> str:
        """Name in the benchmark: ``morel-p`` of all agents' data, ``morel-a`` of some."""
        return "morel-p" if self.info.chosen is None else "morel-a"

    @property
    def n_levels(self) -> int:
        """Levels of a discrete action, 0 for continuous ones."""
        return 0 if self.action_levels is None else len(self.action_levels)

    def act(self, states: ArrayLike, key: Array | None = None) -> NDArray[Any]:
        """Return what the policy does in each of several states.

        Args:
            states: raw units, ``(B, D)``.
            key: of random actions; None for the most likely levels or the means.

        Returns:
            Indices of levels, ``(B,)``, or continuous actions within the bounds, ``(B, A)``.
        """
        return self.trained.act(states, key)

    def dynamics(self) -> MOReLDynamics:
        """Return the stack of all members, for prediction and planning."""
        device = self.normalizer.on_device()
        return jax.vmap(lambda net: MOReLDynamics(net, device, self.n_levels))(self.nets)

    def rollout(self, states: ArrayLike, actions: ArrayLike) -> NDArray[np.float64]:
        """Return open-loop predictions of every member, ``(M, Q, H, D)``, raw units.

        Args:
            states: starts, raw units, ``(Q, D)``.
            actions: indices of levels, ``(Q, H)``, or raw units, ``(Q, H, A)``.
        """
        starts = np.asarray(states, np.float32)
        plans = np.asarray(actions, np.int32 if self.n_levels else np.float32)
        stack, found = self.dynamics(), []
        for first in range(0, len(starts), _BATCH):
            rows = np.minimum(np.arange(first, first + _BATCH), len(starts) - 1)
            found.append(np.asarray(_rollouts(stack, starts[rows], plans[rows]), np.float64))
        return np.concatenate(found, axis=1)[:, : len(starts)]


@eqx.filter_jit
def _rollouts(stack: MOReLDynamics, states: Any, actions: Any) -> Float[Array, "M Q H D"]:
    """Members one after the other."""
    arrays, static = eqx.partition(stack, eqx.is_array)

    def one_member(leaves: Any) -> Array:
        member = eqx.combine(leaves, static)

        def one_step(carry: Array, code: Array) -> tuple[Array, Array]:
            return member.step(carry, code)

        def one(state: Array, plan: Array) -> Array:
            codes = jax.vmap(member.encode)(plan)
            return jax.lax.scan(one_step, member.init(state), codes)[1]

        return jax.vmap(one)(states, actions)

    return jax.lax.map(one_member, arrays)
