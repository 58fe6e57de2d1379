"""A fitted CaDM: its members, where they come from, and what they predict of any agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from twinfold.baselines.cadm import CaDMDynamics, CaDMNets, History
from twinfold.baselines.cadm_settings import VARIANTS, CaDMSettings, Variant
from twinfold.data.roles import Roles
from twinfold.models.normalizer import Normalizer

_BATCH = 256  # rollouts per call of the compiled program


class CaDMInfo(BaseModel):
    """Where a fitted CaDM comes from.

    Attributes:
        twinfold: version that fitted it; likewise ``jax``.
        created: when, in ISO 8601.
        device: kind of device that it was fitted on.
        fingerprint: of the data.
        source: where that data came from.
        agents: in the data; ``transitions`` likewise.
        steps: of training, per member.
        training_loss: of each member, mean of the last steps.
        seconds: that the fit took.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    twinfold: str
    created: str
    jax: str
    device: str
    fingerprint: str
    source: dict[str, Any]
    agents: int
    transitions: int
    steps: int
    training_loss: tuple[float | None, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class CaDM:
    """A fitted CaDM.

    It has no parameters of an agent: any agent is known by its recent steps alone.

    Attributes:
        nets: of all members, with a leading axis.
        normalizer: float64, on the host; without limits.
        config: what it was fitted with; ``variant`` and ``seed`` likewise.
        roles: the user's columns.
        action_levels: the user's discrete actions, or None.
        info: where it comes from.
    """

    nets: CaDMNets
    normalizer: Normalizer
    config: CaDMSettings
    variant: Variant
    seed: int
    roles: Roles
    action_levels: NDArray[np.int64] | None
    info: CaDMInfo

    @property
    def method(self) -> str:
        """Name of the variant in the benchmark."""
        return next(name for name, variant in VARIANTS.items() if variant == self.variant)

    @property
    def n_levels(self) -> int:
        """Levels of a discrete action, 0 for continuous ones."""
        return 0 if self.action_levels is None else len(self.action_levels)

    def dynamics(self, history: History | None = None) -> CaDMDynamics:
        """Return the stack of an agent: the net, or the particles, each with its member.

        Args:
            history: the agent's last K steps; None if nothing is known of it.
        """
        n_members, n_particles = (
            count(self.variant) for count in (self.config.n_members, self.config.n_particles)
        )
        member = np.arange(n_particles) % n_members
        probabilistic = self.variant == "pe-ts"
        keys = jax.random.split(jax.random.key(self.seed), n_particles) if probabilistic else None
        known = self.blank_history() if history is None else history

        def stacked(leaf: Any) -> Array:
            return jnp.repeat(jnp.asarray(leaf)[None], n_particles, axis=0)

        return CaDMDynamics(
            nets=jax.tree.map(lambda leaf: leaf[member], self.nets),
            normalizer=jax.tree.map(stacked, self.normalizer.on_device()),
            history=jax.tree.map(stacked, known),
            key=keys,
            n_levels=self.n_levels,
        )

    def blank_history(self) -> History:
        """Return the history of an agent of which nothing is known."""
        length, columns = self.config.history, len(self.roles.action)
        action = (
            np.zeros(length, np.int32) if self.n_levels else np.zeros((length, columns), np.float32)
        )
        change = np.zeros((length, len(self.roles.state)), np.float32)
        return History(change, action, np.zeros(length, bool))

    def histories(self, states: NDArray[Any], actions: NDArray[Any]) -> History:
        """Return the histories of several trajectories.

        Args:
            states: ``(Q, K + 1, D)``, raw units.
            actions: ``(Q, K)`` indices of levels, or ``(Q, K, A)``.
        """
        change = self.normalizer.difference(states[:, :-1], states[:, 1:])
        mask = np.ones(change.shape[:2], bool)
        kind = np.int32 if self.n_levels else np.float32
        return History(change.astype(np.float32), np.asarray(actions, kind), mask)

    def rollout(
        self, states: ArrayLike, actions: ArrayLike, histories: History
    ) -> NDArray[np.float64]:
        """Return open-loop predictions of every particle, ``(P, Q, H, D)``, raw units.

        Args:
            states: ``(Q, D)`` starts, raw units.
            actions: ``(Q, H)`` indices of levels, or ``(Q, H, A)``.
            histories: what each start was reached by.
        """
        stack = self.dynamics()
        kind = np.int32 if self.n_levels else np.float32
        starts = np.asarray(states, np.float32)
        queries = starts, np.asarray(actions, kind), histories
        found = []
        for first in range(0, len(starts), _BATCH):
            rows = np.minimum(np.arange(first, first + _BATCH), len(starts) - 1)
            start, plan, known = jax.tree.map(lambda leaf, rows=rows: leaf[rows], queries)
            paths = _rollouts(stack, start, plan, known, jnp.asarray(rows))
            found.append(np.asarray(paths, np.float64))
        return np.concatenate(found, axis=1)[:, : len(starts)]


@eqx.filter_jit
def _rollouts(
    stack: CaDMDynamics, states: Array, actions: Array, histories: History, number: Array
) -> Float[Array, "P Q H D"]:
    """Particles one after the other; the noise of a query is its own."""
    arrays, static = eqx.partition(stack, eqx.is_array)

    def one(particle: CaDMDynamics, state: Array, plan: Array, known: History, n: Array) -> Array:
        key = None if particle.key is None else jax.random.fold_in(particle.key, n)
        here = eqx.tree_at(
            lambda d: (d.history, d.key), particle, (known, key), is_leaf=lambda x: x is None
        )
        codes = jax.vmap(here.encode)(plan)

        def one_step(carry: Any, code: Array) -> tuple[Any, Array]:
            return here.step(carry, code)

        return jax.lax.scan(one_step, here.init(state), codes)[1]

    def one_particle(leaves: Any) -> Array:
        particle = eqx.combine(leaves, static)
        run = jax.vmap(one, in_axes=(None, 0, 0, 0, 0))
        return run(particle, states, actions, histories, number)

    return jax.lax.map(one_particle, arrays)
