"""The worth of a plan: reward until the predicted episode ends, terminal value, caution.

For member m of the ensemble and the candidate a_0 .. a_{H-1}, with s_0 the observation,

    G_m   = sum_{t < T_m} gamma^t R(s_t, a_t, s_{t+1})  +  [T_m = H] gamma^H V(s_H)
            + progress_weight * max_{t <= T_m} P(s_t)
    score = mean_m G_m  -  risk * std_m G_m  -  disagreement * sum_t gamma^t U_t

where s_{t+1} is the member's own prediction from its own s_t, so that disagreement between members
propagates along the plan, T_m counts the steps up to the one that ends the episode, and

    U_t = mean over coordinates d of  std_m s_{t+1, d} / scale_d

is how much the members disagree. R is less the price of leaving the data's policy and, if asked,
of leaving the range of the training data: see :class:`Objective`.

Axes: M members, B candidates, H steps, D state coordinates, A action columns, P proposals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from twinfold.models.behaviour_policy import AgentBehaviour
from twinfold.models.dynamics import Dynamics
from twinfold.planning.data_range import DataBox
from twinfold.planning.planner import Evaluate
from twinfold.tasks.goal_functions import one_number, true_or_false
from twinfold.utils.device import typed_as

if TYPE_CHECKING:
    from twinfold.tasks.task import Task


class Objective(eqx.Module):
    """The goal of a plan. A pytree: a new terminal value or box triggers no new compilation.

    Beyond the box, predictions are guesses, and a search finds the guesses that flatter it. With
    ``out_of_range = "penalise"`` a step costs ``range_cost`` times the excess of the state that it
    leads to.

    Attributes:
        reward: ``(state, action, next_state) -> scalar``.
        terminated: ``(next_state) -> bool``, whether the episode ends there.
        terminal_value: ``(state) -> scalar``, the reward to be expected beyond the horizon if the
            episode has not ended by then; None counts as zero. A callable pytree such as
            :class:`twinfold.planning.grid_value.GridValue`, or a plain function.
        discount: gamma, per step, in (0, 1].
        progress: ``(state) -> scalar``, how far on the way to a distant goal a state is.
        progress_weight: worth of the most progress that a plan makes before the episode ends.
        risk: standard deviations over the members that are subtracted.
        disagreement: price of a step on which the members disagree by one unit of ``box.scale``.
            A step counts by the share of members whose episode goes on; a state stays as it was at
            the end of its episode.
        out_of_range: ``"ignore"`` or ``"penalise"``.
        range_cost: of a step that ends one unit of ``box.scale`` outside.
        box: where the training data lies; needed for disagreement and range.
        behaviour_cost: price of an action that departs from ``behaviour`` by one standard deviation
            of that policy's noise, if the policy explains all the actions of the data; less
            in proportion if it explains less (:meth:`AgentBehaviour.departure`).
        behaviour: what the data's policy would do with this agent.
        n_proposals: how many plans that follow ``behaviour`` are proposed to the planner.
        proposal_noise: noise of the last of them, in standard deviations of the action; the first
            has none, and it grows evenly in between.
    """

    reward: Callable[[Any, Any, Any], Any] = eqx.field(static=True)
    terminated: Callable[[Any], Any] = eqx.field(static=True)
    terminal_value: Callable[[Any], Any] | None = None
    discount: float = eqx.field(static=True, default=1.0)
    progress: Callable[[Any], Any] | None = eqx.field(static=True, default=None)
    progress_weight: float = eqx.field(static=True, default=0.0)
    risk: float = eqx.field(static=True, default=0.0)
    disagreement: float = eqx.field(static=True, default=0.0)
    out_of_range: Literal["ignore", "penalise"] = eqx.field(static=True, default="ignore")
    range_cost: float = eqx.field(static=True, default=1.0)
    box: DataBox | None = None
    behaviour_cost: float = eqx.field(static=True, default=0.0)
    behaviour: AgentBehaviour | None = None
    n_proposals: int = eqx.field(static=True, default=8)
    proposal_noise: float = eqx.field(static=True, default=0.3)

    def __check_init__(self) -> None:
        """Refuse what cannot be: a mistake in a name must not silently mean "ignore"."""
        if self.out_of_range not in ("ignore", "penalise"):
            raise ValueError(f"unknown out_of_range {self.out_of_range!r}; valid: ignore, penalise")
        if self.progress is None and self.progress_weight:
            raise ValueError("progress_weight needs a measure of progress")
        if self.behaviour is None and self.behaviour_cost:
            raise ValueError("behaviour_cost needs the policy of the training data")
        if self.box is None and (self.disagreement or self.out_of_range != "ignore"):
            raise ValueError("disagreement and out_of_range need the box of the training data")

    @classmethod
    def of_task(cls, task: Task, **fields: Any) -> Objective:
        """Return the reward and termination of a task; ``fields`` are the other attributes."""
        return cls(reward=task.reward, terminated=task.terminated, **fields)


def stack_of_one(dynamics: Dynamics) -> Dynamics:
    """Return a single model as an ensemble of one: a leading axis on every array leaf."""
    return jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, dynamics)


def map_members(function: Callable[[Dynamics], Any], stack: Dynamics) -> Any:
    """Return ``function`` of every member, results stacked on a leading axis.

    Members run one after the other. Mapping them with ``vmap`` turns the products with the weights
    into batched ones, which take twice as long on a CPU; one member keeps a core busy.
    """
    arrays, static = eqx.partition(stack, eqx.is_array)
    return jax.lax.map(lambda member: function(eqx.combine(member, static)), arrays)


class Trace(NamedTuple):
    """The predictions of every member on the way, for H steps of B candidates.

    Attributes:
        states: after each step, raw units, ``(M, H, B, D)``; after the end of an episode the last
            state.
        running: whether the episode went on before the step, ``(M, H, B)``.
        alive: whether it goes on after the step, ``(M, H, B)``.
    """

    states: Float[Array, "M H B D"]
    running: Bool[Array, "M H B"]
    alive: Bool[Array, "M H B"]


class _Now(NamedTuple):
    """One candidate on its way through one member.

    Attributes:
        carry: of the dynamics.
        state: predicted last, ``(D,)``.
        alive: whether the episode goes on.
        total: discounted reward so far.
        furthest: most progress so far; None if progress does not count.
    """

    carry: Any
    state: Float[Array, " D"]
    alive: Bool[Array, ""]
    total: Float[Array, ""]
    furthest: Float[Array, ""] | None


def member_returns(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], actions: Array
) -> Float[Array, "M B"]:
    """Return G_m of all candidates.

    A member whose prediction stops being finite before the episode ends returns NaN: comparisons
    with NaN are false, so such an episode would otherwise never end.

    Args:
        stack: ensemble with a leading member axis on its array leaves.
        objective: what counts.
        observation: the state now, ``(D,)``.
        actions: candidates, ``(B, H)`` integer levels or ``(B, H, A)``.
    """
    return _roll(stack, objective, observation, actions, traced=False)[0]


def member_traces(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], actions: Array
) -> tuple[Float[Array, "M B"], Trace]:
    """Return G_m and the members' predictions on the way; arguments as above."""
    return _roll(stack, objective, observation, actions, traced=True)


def _roll(
    stack: Dynamics, objective: Objective, observation: Array, actions: Array, *, traced: bool
) -> Any:
    """Return the returns ``(M, B)`` and, if traced, the way there; else None in its place."""
    horizon = actions.shape[1]
    by_step = jnp.swapaxes(actions, 0, 1)  # (H, B, ..): the scan wants time first
    weights = objective.discount ** jnp.arange(horizon, dtype=jnp.float32)

    def one_member(dynamics: Dynamics) -> Any:
        # Encode all actions in one batch.
        codes = jax.vmap(jax.vmap(dynamics.encode))(by_step)

        # Start every candidate at the observation.
        measure = objective.progress if objective.progress_weight else None
        furthest = None if measure is None else measure(observation)
        here = _Now(
            dynamics.init(observation), observation, jnp.ones((), bool), jnp.zeros(()), furthest
        )
        start = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (len(actions), *jnp.shape(leaf))), here
        )

        # Advance all candidates side by side, step by step.
        def one_step(now: Any, inputs: Any) -> Any:
            def one(now: Any, code: Any, action: Array, weight: Array) -> Any:
                return _advance(dynamics, objective, now, code, action, weight, traced=traced)

            return jax.vmap(one, in_axes=(0, 0, 0, None))(now, *inputs)

        end, trace = jax.lax.scan(one_step, start, (codes, by_step, weights))

        # Add what the way and its end are worth beyond the rewards.
        total = end.total
        if measure is not None:
            total = total + objective.progress_weight * end.furthest
        if objective.terminal_value is not None:
            beyond = objective.discount**horizon * jax.vmap(objective.terminal_value)(end.state)
            total = jnp.where(end.alive, total + beyond, total)
        return total, trace

    return map_members(one_member, stack)


def _advance(
    dynamics: Dynamics,
    objective: Objective,
    now: _Now,
    code: Any,
    action: Array,
    weight: Array,
    *,
    traced: bool,
) -> tuple[_Now, Trace | None]:
    """Return one candidate one step later and, if traced, the step.

    Whatever the objective does not ask for is left out here, so that it costs nothing in the
    compiled program.
    """
    row = dynamics.row(now.carry, now.state)
    carry, after = typed_as(dynamics.step(now.carry, code), (now.carry, now.state))
    row_after = dynamics.row(carry, after)
    finite = jnp.isfinite(after).all()

    # The reward of the step, less the prices of leaving the data's policy and the data's range.
    reward = one_number(objective.reward(row, action, row_after))
    if objective.behaviour is not None and objective.behaviour_cost:
        reward = reward - objective.behaviour_cost * objective.behaviour.departure(
            now.state, action
        )
    if objective.out_of_range == "penalise":
        assert objective.box is not None, "checked when the objective was made"
        reward = reward - objective.range_cost * objective.box.excess(after)

    # Only an episode that goes on earns or gets further; one that has lost its state earns NaN.
    gained = jnp.where(finite, weight * reward, jnp.nan)
    total = jnp.where(now.alive, now.total + gained, now.total)
    furthest = now.furthest
    if furthest is not None:
        assert objective.progress is not None
        reached = jnp.maximum(furthest, objective.progress(after))
        furthest = jnp.where(now.alive & finite, reached, furthest)

    alive = now.alive & ~true_or_false(objective.terminated(row_after))
    # A trace stays where the episode ended; without one nobody looks there again.
    step = None
    if traced:
        after = jnp.where(now.alive, after, now.state)
        step = Trace(after, now.alive, alive)
    return _Now(carry, after, alive, total, furthest), step


def disagreement(trace: Trace, scale: Float[Array, " D"], discount: float) -> Float[Array, " B"]:
    """Return the sum over steps of gamma^t U_t, weighted by the share of members that go on.

    Args:
        trace: of all candidates.
        scale: the unit of a deviation, ``box.scale``.
        discount: gamma.
    """
    unlike = (trace.states / scale).std(axis=0).mean(axis=-1)  # (H, B)
    paid = trace.running.mean(axis=0) * unlike
    return discount ** jnp.arange(len(paid), dtype=jnp.float32) @ paid


def make_evaluate(stack: Dynamics, objective: Objective) -> Evaluate:
    """Return the function that scores candidates: ``(observation, actions (B, ..)) -> (B,)``.

    Args:
        stack: ensemble with a leading member axis on its array leaves (one model:
            :func:`stack_of_one`).
        objective: what counts.
    """

    def evaluate(observation: Float[Array, " D"], actions: Array) -> Float[Array, " B"]:
        traced = objective.disagreement != 0
        returns, trace = _roll(stack, objective, observation, actions, traced=traced)
        score = returns.mean(axis=0)
        if objective.risk:
            score = score - objective.risk * returns.std(axis=0)
        if objective.disagreement:
            assert objective.box is not None, "checked when the objective was made"
            unlike = disagreement(trace, objective.box.scale, objective.discount)
            score = score - objective.disagreement * unlike
        return score

    return evaluate


def proposals(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], horizon: int, key: Array
) -> Float[Array, "P H A"] | None:
    """Return plans that follow the data's policy in the first member; None without a policy.

    The first plan follows it exactly, the others with more and more noise.
    """
    behaviour = objective.behaviour
    if behaviour is None:
        return None
    arrays, static = eqx.partition(stack, eqx.is_array)
    dynamics = eqx.combine(jax.tree.map(lambda leaf: leaf[0], arrays), static)
    n_actions = behaviour.noise.shape[-1]

    def one(level: Array, key: Array) -> Float[Array, "H A"]:
        noise = level * jax.random.normal(key, (horizon, n_actions))

        def one_step(now: Any, noise: Array) -> tuple[Any, Array]:
            carry, state = now
            action = behaviour(state, noise)
            return typed_as(dynamics.step(carry, dynamics.encode(action)), now), action

        start = dynamics.init(observation), observation
        return jax.lax.scan(one_step, start, noise)[1]

    levels = jnp.linspace(0.0, objective.proposal_noise, objective.n_proposals)
    return jax.vmap(one)(levels, jax.random.split(key, objective.n_proposals))
