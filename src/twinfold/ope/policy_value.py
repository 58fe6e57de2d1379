"""Off-policy evaluation by a model: the worth of a policy to one agent, by the agent's simulator.

Axes: K draws, S starts. With R_ks the return of start s in world k
(:mod:`twinfold.ope.posterior_rollouts`),

    V_k    = mean_s R_ks          what the policy is worth if world k is the true one
    value  = centre_k V_k         a robust mean, ``metrics.trimmed_mean``
    low    = value - hypot(value - V_(j), z e)            high likewise, with V_(K + 1 - j)

V_(1) <= .. <= V_(K) are the sorted draws, and j is the largest rank with
2 j <= (K + 1)(1 - coverage): were the true world one more draw, it would lie between V_(j) and
V_(K + 1 - j) with at least that probability. This part is epistemic: it shrinks with data of the
agent and not with more rollouts. e is the standard error that is left because the starts, and the
random numbers of the policy, are S out of many: the standard deviation over s of mean_k R_ks,
divided by sqrt(S); z is the normal quantile.

All draws and all policies share starts and random numbers, so a comparison is paired: with D_k the
difference of two V_k, the interval is as above, and

    P(A better) = mean_k Phi(D_k / e)

with e that of the differences; where e is 0, a draw counts 1, 1/2 or 0. A draw in which any rollout
diverges counts as -infinity: it drags the value down, never up.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray

from twinfold.data.ids import AgentId
from twinfold.errors import UsageError
from twinfold.models.dynamics import Dynamics
from twinfold.models.fitted_model import FittedModel
from twinfold.models.noisy_dynamics import with_noise
from twinfold.ope.controllers import (
    Controller,
    PolicyLike,
    average_physics,
    check_action,
    is_planner,
    make_controller,
    policy_name,
)
from twinfold.ope.estimates import (
    NOTE,
    VALUE_SETTINGS,
    Comparison,
    PolicyValue,
    by_draw,
    compare,
    interval,
    lower_rank,
    robust_mean,
)
from twinfold.ope.posterior_rollouts import Outcomes, posterior_samples, rollout_policy
from twinfold.planning.data_range import DataBox
from twinfold.planning.plan import check_fits
from twinfold.planning.run_task import acted_on
from twinfold.simulation.known import plan_inputs
from twinfold.tasks.task import Task
from twinfold.utils.seeds import check_seed

__all__ = [
    "NOTE",
    "Comparison",
    "Goal",
    "PolicyLike",
    "PolicyValue",
    "Rewards",
    "compare_policies",
    "policy_value",
]


class Rewards(Protocol):
    """Reward of a step and end of an episode; a :class:`~twinfold.tasks.Task` is one."""

    @property
    def reward(self) -> Callable[[Any, Any, Any], Any]:
        """``(state (D,), action, next_state (D,)) -> scalar``, pure JAX."""
        ...

    @property
    def terminated(self) -> Callable[[Any], Any]:
        """``(next_state (D,)) -> bool``, pure JAX."""
        ...


def never(next_state: Any) -> Array:
    """Return False: no episode ends by itself."""
    del next_state
    return jnp.zeros((), bool)


@dataclass(frozen=True, eq=False)
class Goal:
    """Rewards of a user's own domain, in place of a task.

    Attributes:
        reward: ``(state (D,), action, next_state (D,)) -> scalar``, pure JAX, raw units; a discrete
            action is the index of its level.
        terminated: ``(next_state (D,)) -> bool``, pure JAX.
        max_steps: the longest episode; None if every question says its horizon.
        name: as it appears in records.
    """

    reward: Callable[[Any, Any, Any], Any]
    terminated: Callable[[Any], Any] = never
    max_steps: int | None = None
    name: str = "custom"


def policy_value(
    model: FittedModel,
    task: Rewards,
    agent: AgentId,
    policy: PolicyLike,
    *,
    starts: ArrayLike | None = None,
    n_starts: int | None = None,
    horizon: int | None = None,
    draws: int = 20,
    discount: float = 1.0,
    coverage: float = 0.9,
    seed: int = 0,
    noise: bool = False,
    exogenous: Any = None,
    hold_exogenous: bool = False,
) -> PolicyValue:
    """Return what a policy would earn with one agent, by its simulator, and how sure that is.

    Args:
        model: a fitted model with a posterior.
        task: what is earned and when an episode ends: a task, or a :class:`Goal`.
        agent: the user's id.
        policy: ``(state (D,), key) -> action``, pure JAX, an integer level index or ``(A,)`` raw
            units; or a name (``twinfold.policies.POLICY_NAMES``); or ``"plan"`` or settings of a
            planner, which replans with the whole ensemble at every step, as it would in use; or a
            policy trained in a world (``twinfold.policy_learning``), which draws nothing.
        starts: ``(S, D)`` raw units, taken for a sample of those that matter; None for the
            starts of the task.
        n_starts: S, if no starts are given; 200, or 5 for a planner.
        horizon: the most steps; the task's longest episode if None.
        draws: K, worlds from the posterior.
        discount: per step, in (0, 1].
        coverage: of the interval, in (0, 1).
        seed: of draws, starts and the policy.
        noise: whether the noise of the world moves every step; the value is then the mean over it.
        exogenous: future values of the exogenous columns, from the first step of every episode on,
            as :meth:`twinfold.simulation.Simulator.rollout` takes them.
        hold_exogenous: whether the last value stands where there is no other.

    Raises:
        UsageError: an argument cannot be used; the message lists what can.
    """
    future = exogenous, hold_exogenous
    setting = _Setting(model, task, agent, draws, discount, coverage, seed, noise, future)
    return setting.values([policy], starts, n_starts, horizon)[0]


def compare_policies(
    model: FittedModel,
    task: Rewards,
    agent: AgentId,
    policy_a: PolicyLike,
    policy_b: PolicyLike,
    *,
    starts: ArrayLike | None = None,
    n_starts: int | None = None,
    horizon: int | None = None,
    draws: int = 20,
    discount: float = 1.0,
    coverage: float = 0.9,
    seed: int = 0,
    noise: bool = False,
    exogenous: Any = None,
    hold_exogenous: bool = False,
) -> Comparison:
    """Return how sure it is that one policy is better for an agent, by the agent's simulator.

    Both act from the same starts, in the same worlds, with the same random numbers: what is unknown
    of the agent mostly cancels. Arguments and errors are those of :func:`policy_value`.
    """
    future = exogenous, hold_exogenous
    setting = _Setting(model, task, agent, draws, discount, coverage, seed, noise, future)
    return compare(*setting.values([policy_a, policy_b], starts, n_starts, horizon))


class _Setting:
    """Arguments that have been checked, and the worlds."""

    def __init__(
        self,
        model: FittedModel,
        task: Rewards,
        agent: AgentId,
        draws: int,
        discount: float,
        coverage: float,
        seed: int,
        noise: bool,
        future: tuple[Any, bool],
    ) -> None:
        if isinstance(task, Task):
            check_fits(model, task)
        if not 0 < coverage < 1:
            raise UsageError(f"the coverage must be between 0 and 1, not {coverage:g}")
        if not lower_rank(draws, coverage):
            least = math.ceil(2 / (1 - coverage) - 1 - 1e-9)
            raise UsageError(
                f"an interval of coverage {coverage:g} needs {least} draws or more, not {draws}"
            )
        if not 0 < discount <= 1:
            raise UsageError(f"the discount must be above 0 and at most 1, not {discount:g}")
        check_seed(seed)
        self.model, self.task = model, task
        self.agent = model.agent_ids[model.agent_index(agent)]
        self.discount, self.coverage, self.seed = discount, coverage, seed
        self.draws, self.noise, self.future = draws, noise, future
        self.box = DataBox.of_model(model, VALUE_SETTINGS.range_margin)
        self.key_start, self.key_run = jax.random.split(jax.random.key(seed))

    def values(
        self,
        policies: list[PolicyLike],
        starts: ArrayLike | None,
        n_starts: int | None,
        horizon: int | None,
    ) -> list[PolicyValue]:
        """Return the values of all policies from the same starts."""
        if n_starts is None:
            planned = any(map(is_planner, policies))
            n_starts = VALUE_SETTINGS.planned_starts if planned else VALUE_SETTINGS.starts
        given, steps = self._starts(starts, n_starts), self._horizon(horizon)
        index = self.model.agent_index(self.agent)
        known = plan_inputs(self.model, index, steps, *self.future)
        worlds = self._worlds(known)
        controllers = [
            make_controller(policy, self.model, self.task, self.agent, known) for policy in policies
        ]
        for controller in controllers:
            check_action(self.model, self.task, controller, given)
        return [
            self._value(policy_name(policy), controller, worlds, given, steps)
            for policy, controller in zip(policies, controllers, strict=True)
        ]

    def _worlds(self, known: NDArray[np.float64] | None) -> Dynamics:
        """Return the agent's simulators, told known inputs, as whoever acts sees them."""
        worlds: Any = posterior_samples(self.model, self.agent, self.draws, self.seed, known)
        if self.noise:
            worlds = with_noise(worlds, self.model, self.agent, seed=self.seed)
        return acted_on(worlds, self.task, self.model, self.agent)

    def _starts(self, given: ArrayLike | None, n_starts: int) -> Array:
        names = self.model.roles.state
        if given is None:
            if not isinstance(self.task, Task):
                raise UsageError("without a task the starts must be given, one state per row")
            if n_starts < 1:
                raise UsageError(f"the number of starts must be at least 1, not {n_starts}")
            # A start does not depend on the hidden physics; the middle of their range will do.
            keys = jax.random.split(self.key_start, n_starts)
            return _resets(self.task, average_physics(self.task), keys)
        values = np.asarray(given, np.float64)
        if values.ndim != 2 or values.shape[1] != len(names) or not len(values):
            raise UsageError(
                f"starts of shape {values.shape}: they must be (S, {len(names)}), one row per "
                f"start, one column for each of {', '.join(names)}"
            )
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
            raise UsageError(f"start {row} is not finite: {values[row].tolist()}")
        return jnp.asarray(values, jnp.float32)

    def _horizon(self, given: int | None) -> int:
        steps = getattr(self.task, "max_steps", None) if given is None else given
        if steps is None:
            raise UsageError("how long is an episode? Give a horizon, or a goal with max_steps")
        if steps < 1:
            raise UsageError(f"the horizon must be at least 1 step, not {steps}")
        return int(steps)

    def _value(
        self, name: str, controller: Controller, worlds: Dynamics, starts: Array, horizon: int
    ) -> PolicyValue:
        found = rollout_policy(
            worlds,
            controller,
            self.task.reward,
            self.task.terminated,
            self.box,
            starts,
            jax.random.split(self.key_run, len(starts)),
            jnp.asarray(horizon, jnp.int32),
            jnp.asarray(self.discount, jnp.float32),
        )
        found = Outcomes(*(np.asarray(part, np.float64) for part in found))
        returns = np.asarray(found.returns)
        draws = by_draw(returns)
        value = robust_mean(draws)
        around = interval(value, draws, returns, self.coverage)
        steps = np.asarray(found.steps)
        return PolicyValue(
            agent=self.agent,
            policy=name,
            task=getattr(self.task, "name", "custom"),
            value=value,
            coverage=self.coverage,
            **around._asdict(),
            returns=returns,
            mean_steps=float(steps.mean()),
            ended=float(np.mean(found.ended)),
            outside=float(np.sum(found.outside) / steps.sum()),
            diverged=int(np.isinf(draws).sum()),
            horizon=horizon,
            discount=self.discount,
            seed=self.seed,
            settings=VALUE_SETTINGS,
            noise=self.noise,
        )


@functools.partial(jax.jit, static_argnums=0)
def _resets(task: Task, covariates: Any, keys: Array) -> Array:
    return jax.vmap(task.reset, in_axes=(None, 0))(covariates, keys)
