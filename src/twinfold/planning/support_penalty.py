"""The support of plans, as a price: what stands behind each step that a plan predicts.

The figures of :mod:`twinfold.uncertainty.support` in a form that a planner can afford: near and
agree along the members' median path, for all candidates at once, by fewer states of the data, and
with members that agree where all of them step to the same wall. Members drawn from an agent's
posterior disagree where its own data leaves much open, so with ``draws`` that counts as well.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from twinfold.models.dynamics import Dynamics
from twinfold.models.normalizer import Normalizer
from twinfold.uncertainty.support import SUPPORT, support_reference

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel

_POINTS = 512  # of the data that a step is compared with


class SupportMap(eqx.Module):
    """Where the training data lies, and what is usual there. S states of it, K numbers each.

    Attributes:
        points: ``(S, K)``, inputs of the nets and the action.
        distance: that 95 % of the data keeps from its neighbours.
        disagreement: of the members, that 95 % of the data stays below.
        normalizer: float32.
        n_levels: of a discrete action, 0 of a continuous one.
    """

    points: Float[Array, "S K"]
    distance: Float[Array, ""]
    disagreement: Float[Array, ""]
    normalizer: Normalizer
    n_levels: int = eqx.field(static=True)

    @classmethod
    def of_model(cls, model: FittedModel) -> SupportMap:
        """Of a fitted model."""
        usual = support_reference(thinned(model))
        return cls(
            points=jnp.asarray(usual.tree.data, jnp.float32),
            distance=jnp.float32(usual.distance),
            disagreement=jnp.float32(usual.disagreement),
            normalizer=model.normalizer.on_device(),
            n_levels=0 if model.action_levels is None else len(model.action_levels),
        )

    def of_steps(
        self, stack: Dynamics, states: Float[Array, "B D"], actions: Array
    ) -> Float[Array, " B"]:
        """Support of one step from each of B states, in [0, 1].

        Args:
            stack: the agent's ensemble, with a leading member axis.
            states: raw units.
            actions: ``(B,)`` level indices or ``(B, A)`` raw units.
        """
        away = self._distance(states, actions) / self.distance
        apart = self._disagreement(stack, states, actions) / self.disagreement
        step = _fade(away, SUPPORT.fade_distance) * _fade(apart, SUPPORT.fade_disagreement)
        return jnp.where(jnp.isfinite(states).all(axis=-1), step, 0.0)

    def _distance(self, states: Array, actions: Array) -> Float[Array, " B"]:
        norm = self.normalizer
        code = norm.encode_action(actions)
        if self.n_levels:
            code = SUPPORT.level_distance * jax.nn.one_hot(actions, self.n_levels)
        inputs = jnp.concatenate([norm.inputs(norm.encode_state(states)), code], axis=-1)
        # Differences, not the expanded square: that loses what is near in float32.
        squared = jnp.zeros((len(inputs), len(self.points)))
        for k in range(inputs.shape[-1]):
            squared = squared + jnp.square(inputs[:, k, None] - self.points[:, k])
        count = min(SUPPORT.neighbours, len(self.points))
        nearest = -jax.lax.top_k(-squared, count)[0]
        return jnp.sqrt(jnp.maximum(nearest, 0.0)).mean(axis=-1)

    def _disagreement(self, stack: Dynamics, states: Array, actions: Array) -> Float[Array, " B"]:
        def one(dynamics: Dynamics, state: Array, action: Array) -> Array:
            return dynamics.step(dynamics.init(state), dynamics.encode(action), None)[1]

        arrays, static = eqx.partition(stack, eqx.is_array)
        after = jax.lax.map(
            lambda member: jax.vmap(one, in_axes=(None, 0, 0))(
                eqx.combine(member, static), states, actions
            ),
            arrays,
        )  # (M, B, D)
        deviation = jnp.abs(after - jnp.median(after, axis=0)) / self.normalizer.target_scale
        return jnp.median(deviation, axis=0).mean(axis=-1)


def thinned(model: FittedModel) -> FittedModel:
    """The model with fewer of the states that it keeps, evenly taken."""
    every = -(-len(model.sample) // _POINTS)

    def some(values: Any) -> Any:
        return None if values is None else values[::every]

    return replace(
        model,
        sample=some(model.sample),
        sample_agent=some(model.sample_agent),
        sample_action=some(model.sample_action),
    )


def unsupported(
    support: SupportMap,
    stack: Dynamics,
    observation: Float[Array, " D"],
    states: Float[Array, "M H B D"],
    running: Array,
    left: Array | None,
    actions: Array,
    discount: float,
) -> Float[Array, " B"]:
    """Sum over the steps of gamma^t (1 - support), weighted by the share of members that go on.

    A rollout that was cut off because it left the data has no support from there on.

    Args:
        support: of the run.
        stack: the agent's ensemble.
        observation: the state now.
        states: after each step, raw units.
        running: ``(M, H, B)``, whether the episode went on before the step.
        left: ``(M, H, B)``, whether the rollout was cut off, with this step or before; None if none
            is.
        actions: candidates, ``(B, H)`` integer levels or ``(B, H, A)``.
        discount: gamma.
    """
    middle = jnp.median(states, axis=0)
    start = jnp.broadcast_to(observation, middle[:1].shape)
    before = jnp.concatenate([start, middle[:-1]])  # (H, B, D)

    def one_step(least: Array, given: Any) -> tuple[Array, Array]:
        least = jnp.minimum(least, support.of_steps(stack, *given))
        return least, least

    ones = jnp.ones(middle.shape[1])
    # Step by step: distances of all candidates to all states of the data are held at once.
    _, score = jax.lax.scan(one_step, ones, (before, jnp.swapaxes(actions, 0, 1)))
    paid = running.mean(axis=0) * (1.0 - score)
    if left is not None:
        paid = (running & ~left).mean(axis=0) * (1.0 - score) + left.mean(axis=0)
    return discount ** jnp.arange(len(score), dtype=jnp.float32) @ paid


def _fade(ratio: Array, end: float) -> Array:
    """1 up to 1, then linear to 0 at ``end``; 0 for what is not finite."""
    value = jnp.clip((end - ratio) / (end - 1), 0.0, 1.0)
    return jnp.where(jnp.isfinite(value), value, 0.0)
