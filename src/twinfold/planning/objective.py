"""What a plan is worth: reward until the predicted episode ends, terminal value, caution.

For member m of the ensemble and the candidate a_0 .. a_{H-1}, with s_0 the observation,

    G_m   = sum_{t < T_m} gamma^t R(s_t, a_t, s_{t+1})  +  [T_m = H] gamma^H V(s_H)
            + progress_weight * max_{t <= T_m} P(s_t)
    score = CVaR_m G_m  -  risk * std_m G_m  -  disagreement * sum_t gamma^t U_t
            -  support_cost * sum_t gamma^t (1 - support_t)

where s_{t+1} is the member's own prediction from its own s_t, so that disagreement between members
propagates along the plan, and T_m counts the steps up to the one that ends the episode. CVaR is the
mean over the worst share of the members (all of them unless asked otherwise), and

    U_t = mean over coordinates d of  std_m s_{t+1, d} / scale_d

is how much the members disagree. Rollouts that leave the range of the training data can be cut off
or pay for it: see :class:`Objective`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from twinfold.models.behaviour_policy import AgentBehaviour
from twinfold.models.dynamics import Dynamics
from twinfold.planning.data_range import DataBox
from twinfold.planning.planner import Evaluate
from twinfold.planning.support_penalty import SupportMap, unsupported

if TYPE_CHECKING:
    from twinfold.tasks.task import Task


N_PROPOSALS = 8
PROPOSAL_NOISE = 0.3  # standard deviations of the action


class Objective(eqx.Module):
    """What to plan for. A pytree: a new terminal value or box does not trigger a new compilation.

    Beyond the box, predictions are guesses, and a search finds the guesses that flatter it. With
    ``out_of_range = "penalise"`` a step costs ``range_cost`` times the excess of the state that it
    leads to. With ``"truncate"`` a rollout ends with the step that leaves the box: that step and
    all later ones count the worst reward of any candidate within the box, and at most nothing, as
    does the terminal value, so that leaving never beats staying. If the observation itself is
    outside, the box that cuts off is made large enough to hold it. All this is by member: with
    ``risk`` above 0 leaving may still win, because members that leave are alike in what they count.

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
        cvar: share of the members, the worst ones, over which returns are averaged, in (0, 1].
        disagreement: price of a step on which the members disagree by one unit of ``box.scale``.
            A step counts by the share of members whose episode goes on; a state stays as it was at
            the end of its episode.
        out_of_range: ``"ignore"``, ``"truncate"`` or ``"penalise"``.
        range_cost: of a step that ends one unit of ``box.scale`` outside.
        box: where the training data lies; needed for disagreement and range.
        behaviour_cost: price of an action that departs from ``behaviour`` by one standard deviation
            of that policy's noise, if the policy explains all the actions of the data; less
            in proportion if it explains less (:meth:`AgentBehaviour.departure`).
        behaviour: what the data's policy would do with this agent.
        support_cost: price of a step with nothing behind it; less in proportion to its support.
        support: of the run.
    """

    reward: Callable[[Any, Any, Any], Any] = eqx.field(static=True)
    terminated: Callable[[Any], Any] = eqx.field(static=True)
    terminal_value: Callable[[Any], Any] | None = None
    discount: float = eqx.field(static=True, default=1.0)
    progress: Callable[[Any], Any] | None = eqx.field(static=True, default=None)
    progress_weight: float = eqx.field(static=True, default=0.0)
    risk: float = eqx.field(static=True, default=0.0)
    cvar: float = eqx.field(static=True, default=1.0)
    disagreement: float = eqx.field(static=True, default=0.0)
    out_of_range: Literal["ignore", "truncate", "penalise"] = eqx.field(
        static=True, default="ignore"
    )
    range_cost: float = eqx.field(static=True, default=1.0)
    box: DataBox | None = None
    behaviour_cost: float = eqx.field(static=True, default=0.0)
    behaviour: AgentBehaviour | None = None
    support_cost: float = eqx.field(static=True, default=0.0)
    support: SupportMap | None = None

    def __check_init__(self) -> None:
        """A mistake in a name must not silently mean "ignore"."""
        if self.out_of_range not in ("ignore", "truncate", "penalise"):
            raise ValueError(
                f"unknown out_of_range {self.out_of_range!r}; valid: ignore, truncate, penalise"
            )
        if not 0 < self.cvar <= 1:
            raise ValueError(f"cvar must be above 0 and at most 1, not {self.cvar}")
        if self.progress is None and self.progress_weight:
            raise ValueError("progress_weight needs a measure of progress")
        if self.behaviour is None and self.behaviour_cost:
            raise ValueError("behaviour_cost needs the policy of the training data")
        if self.support is None and self.support_cost:
            raise ValueError("support_cost needs the support of the training data")
        measured = self.disagreement or self.support_cost or self.out_of_range != "ignore"
        if self.box is None and measured:
            raise ValueError(
                "disagreement, out_of_range and support_cost need the box of the training data"
            )

    @classmethod
    def of_task(cls, task: Task, **fields: Any) -> Objective:
        """The reward and termination of a task; ``fields`` are the other attributes."""
        return cls(reward=task.reward, terminated=task.terminated, **fields)


def stack_of_one(dynamics: Dynamics) -> Dynamics:
    """A single model as an ensemble of one: a leading axis of length 1 on every array leaf."""
    return jax.tree.map(lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf, dynamics)


def map_members(function: Callable[[Dynamics], Any], stack: Dynamics) -> Any:
    """``function`` of every member, results stacked on a leading axis.

    Members run one after the other. Mapping them with ``vmap`` turns the products with the weights
    into batched ones, which take twice as long on a CPU; one member keeps a core busy.
    """
    arrays, static = eqx.partition(stack, eqx.is_array)
    return jax.lax.map(lambda member: function(eqx.combine(member, static)), arrays)


class Trace(NamedTuple):
    """What every member predicts on the way, for H steps of B candidates.

    Attributes:
        states: after each step, in units of ``box.scale``, ``(M, H, B, D)``; after the end of an
            episode the last state.
        running: whether the episode went on before the step, ``(M, H, B)``.
        left: whether the rollout has left the box, with this step or before, ``(M, H, B)``; None
            if rollouts are not cut off.
    """

    states: Float[Array, "M H B D"]
    running: Bool[Array, "M H B"]
    left: Bool[Array, "M H B"] | None


class _Now(NamedTuple):
    """A rollout on its way; ``furthest`` only if progress counts, the others if it is cut off.

    ``lost`` is the weight of the steps after leaving, ``worst`` the least reward in the box, or 0.
    """

    carry: Any
    state: Float[Array, " D"]
    alive: Bool[Array, ""]
    total: Float[Array, ""]
    furthest: Float[Array, ""] | None = None
    left: Bool[Array, ""] | None = None
    lost: Float[Array, ""] | None = None
    worst: Float[Array, ""] | None = None


def member_returns(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], actions: Array
) -> Float[Array, "M B"]:
    """The returns G_m of all candidates.

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
    """The returns G_m, and what the members predict on the way; needs a box. Arguments as above."""
    return _roll(stack, objective, observation, actions, traced=True)


def _roll(
    stack: Dynamics, objective: Objective, observation: Array, actions: Array, *, traced: bool
) -> Any:
    n_candidates, horizon = actions.shape[:2]
    # Whatever is not asked for is decided here, so that it costs nothing in the compiled program.
    cutting = objective.out_of_range == "truncate"
    paying = objective.out_of_range == "penalise"
    measure = objective.progress if objective.progress_weight else None
    box: Any = objective.box
    if cutting:
        box = box.including(observation)

    def one_member(dynamics: Dynamics) -> Any:
        # All encodings in one batch; the scan wants time first.
        codes = jax.vmap(jax.vmap(dynamics.encode))(jnp.swapaxes(actions, 0, 1))

        def one_candidate(now: Any, code: Any, action: Array, weight: Array) -> Any:
            carry, after = dynamics.step(now.carry, code, None)
            reward = objective.reward(now.state, action, after)
            if objective.behaviour is not None and objective.behaviour_cost:
                away = objective.behaviour.departure(now.state, action)
                reward = reward - objective.behaviour_cost * away
            finite = jnp.isfinite(after).all()
            furthest = now.furthest
            alive, left, lost, worst = now.alive, now.left, now.lost, now.worst
            if cutting:
                outside = finite & (box.excess(after) > 0)
                left = left | (alive & outside)
                lost = jnp.where(left, lost + weight, lost)
                alive = alive & ~outside
                counts = alive & finite & jnp.isfinite(reward)
                worst = jnp.where(counts, jnp.minimum(worst, reward), worst)
            if measure is not None:  # progress beyond the data counts as little as a reward there
                reached = jnp.maximum(now.furthest, measure(after))
                furthest = jnp.where(alive & finite, reached, now.furthest)
            if paying:
                reward = reward - objective.range_cost * box.excess(after)
            gained = jnp.where(finite, weight * reward, jnp.nan)
            total = jnp.where(alive, now.total + gained, now.total)
            seen = None
            if traced:
                after = jnp.where(now.alive, after, now.state)
                seen = Trace(after / box.scale, now.alive, left)
            alive = alive & ~objective.terminated(after)
            return _Now(carry, after, alive, total, furthest, left, lost, worst), seen

        def one_step(now: Any, inputs: Any) -> Any:
            return jax.vmap(one_candidate, in_axes=(0, 0, 0, None))(now, *inputs)

        here = _Now(
            carry=dynamics.init(observation),
            state=observation,
            alive=jnp.ones((), bool),
            total=jnp.zeros(()),
            furthest=None if measure is None else measure(observation),
            **({"left": jnp.zeros((), bool), "lost": 0.0, "worst": 0.0} if cutting else {}),
        )
        start = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (n_candidates, *jnp.shape(leaf))), here
        )
        weights = objective.discount ** jnp.arange(horizon, dtype=jnp.float32)
        inputs = (codes, jnp.swapaxes(actions, 0, 1), weights)
        end, trace = jax.lax.scan(one_step, start, inputs)
        total = end.total
        if measure is not None:
            total = total + objective.progress_weight * end.furthest
        if cutting:
            total = total + end.lost * end.worst.min()
        if objective.terminal_value is not None:
            beyond = objective.discount**horizon * jax.vmap(objective.terminal_value)(end.state)
            total = jnp.where(end.alive, total + beyond, total)
            if cutting:
                least = jnp.where(end.alive & jnp.isfinite(beyond), beyond, 0.0).min()
                total = jnp.where(end.left, total + jnp.minimum(least, 0.0), total)
        return total, trace

    return map_members(one_member, stack)


def disagreement(trace: Trace, discount: float) -> Float[Array, " B"]:
    """Sum over the steps of gamma^t U_t, each step weighted by the share of members that go on.

    Where a rollout has been cut off, its member counts the largest U_t of any candidate instead.
    """
    unlike = trace.states.std(axis=0).mean(axis=-1)  # (H, B)
    share = trace.running.mean(axis=0)
    paid = share * unlike
    if trace.left is not None:
        most = jnp.where(jnp.isfinite(unlike), unlike, 0.0).max(axis=1, keepdims=True)
        cut = trace.left.mean(axis=0)
        # A member that leaves with this step was still running before it.
        going = (trace.running & ~trace.left).mean(axis=0)
        paid = going * unlike + cut * most
    return discount ** jnp.arange(len(paid), dtype=jnp.float32) @ paid


def tail_mean(returns: Float[Array, "M B"], share: float) -> Float[Array, " B"]:
    """Mean over the worst ``share`` of the members (CVaR); a member is counted in part if need be.

    A member without a finite return counts as the worst there is.
    """
    n_members = len(returns)
    if share == 1:
        return returns.mean(axis=0)
    wanted = share * n_members
    weights = np.clip(wanted - np.arange(n_members), 0.0, 1.0) / wanted
    n_counted = math.ceil(wanted)
    worst = jnp.sort(jnp.where(jnp.isfinite(returns), returns, -jnp.inf), axis=0)[:n_counted]
    return jnp.asarray(weights[:n_counted], jnp.float32) @ worst


def make_evaluate(stack: Dynamics, objective: Objective) -> Evaluate:
    """The function that scores candidates: ``(observation (D,), actions (B, H[, A])) -> (B,)``.

    Args:
        stack: ensemble with a leading member axis on its array leaves (one model:
            :func:`stack_of_one`).
        objective: what counts.
    """

    def evaluate(observation: Float[Array, " D"], actions: Array) -> Float[Array, " B"]:
        traced = objective.disagreement != 0 or objective.support_cost != 0
        returns, trace = _roll(stack, objective, observation, actions, traced=traced)
        score = tail_mean(returns, objective.cvar)
        if objective.risk:
            score = score - objective.risk * returns.std(axis=0)
        if objective.disagreement:
            score = score - objective.disagreement * disagreement(trace, objective.discount)
        if objective.support_cost:
            assert objective.support is not None, "checked when the objective was made"
            assert objective.box is not None
            states = trace.states * objective.box.scale
            price = unsupported(
                objective.support,
                stack,
                observation,
                states,
                trace.running,
                trace.left,
                actions,
                objective.discount,
            )
            score = score - objective.support_cost * price
        return score

    return evaluate


def proposals(
    stack: Dynamics, objective: Objective, observation: Float[Array, " D"], horizon: int, key: Array
) -> Float[Array, "P H A"] | None:
    """Plans that follow the data's policy in the first member's simulator; None without a policy.

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
            return dynamics.step(carry, dynamics.encode(action), None), action

        start = dynamics.init(observation), observation
        return jax.lax.scan(one_step, start, noise)[1]

    levels = jnp.linspace(0.0, PROPOSAL_NOISE, N_PROPOSALS)
    return jax.vmap(one)(levels, jax.random.split(key, N_PROPOSALS))
