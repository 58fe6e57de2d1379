"""One plan for one agent, with what its simulator predicts for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.data.roles import Roles
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.noisy_dynamics import with_noise
from twinfold.planning.build import task_objective, task_planner
from twinfold.planning.config import PlanConfig
from twinfold.planning.mpc import MPCController
from twinfold.planning.planner import PlanInfo
from twinfold.planning.run_task import FORBIDDEN, acted_on, unknown_effect
from twinfold.simulation.known import plan_inputs
from twinfold.simulation.simulator import Rollout, Simulator
from twinfold.tasks import Task
from twinfold.uncertainty.support import abstention


@dataclass(frozen=True, eq=False)
class Plan:
    """A plan and its predicted outcome.

    Attributes:
        task: name of the task that gave reward and termination.
        agent: the user's id.
        state: ``(D,)`` where the plan starts.
        actions: ``(H,)`` the user's levels, or ``(H, A)`` his values.
        score: predicted return of the plan, terminal value included.
        config: how it was searched for.
        rollout: what the simulator predicts under the plan, and what stands behind it.
        reason: why the plan should not be followed; None if nothing speaks against it.
    """

    task: str
    agent: AgentId
    state: NDArray[np.float64]
    actions: NDArray[Any]
    score: float
    config: PlanConfig
    rollout: Rollout
    reason: str | None = None

    def record(self) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "kind": "plan",
            "task": self.task,
            "agent": self.agent,
            "state": self.state.tolist(),
            "actions": self.actions.tolist(),
            "action_columns": list(self.rollout.action_columns),
            "score": self.score,
            "abstained": self.reason,
            "plan": self.config.model_dump(mode="json"),
            "prediction": self.rollout.to_frame().to_dict("list"),
        }


def plan_once(
    model: FittedModel,
    task: Task,
    agent: AgentId,
    state: Sequence[float] | None,
    config: PlanConfig,
    seed: int = 0,
    min_support: float | None = None,
    *,
    strict: bool = False,
    warn: Callable[[str], None] | None = None,
    noise: int = 0,
    before: Any = None,
    exogenous: Any = None,
    hold_exogenous: bool = False,
) -> Plan:
    """Return a plan for one agent from one state.

    Args:
        model: a run whose states and actions are those of the task.
        task: gives reward and termination; its dynamics are not used. One that is made of the run
            itself: :func:`twinfold.planning.run_task`.
        agent: the user's id.
        state: ``(D,)``; if None a start of the task, or where the agent's data ended if the task is
            made of the run.
        config: how to plan; no further than the longest episode of the task.
        seed: of the planner and of the start.
        min_support: least support that each step of the plan must have; else the plan has a reason
            not to follow it.
        strict: refuse a state, or a plan with actions, outside the range of the data.
        warn: receives what is doubtful about the plan; None for ``warnings.warn``.
        noise: draws of the noise of the world for each member, over which a plan's worth is
            averaged; all plans have the same. 0 for none.
        before: the rows before the state for a model with a memory, as ``Simulator.rollout`` takes
            them. Where the agent's data ended its memory is known.
        exogenous: future values of the exogenous columns, as ``Simulator.rollout`` takes them: one
            row for each step of the plan, and one more for what ``next.`` reads at the last.
        hold_exogenous: whether the last value stands where there is no other.

    Raises:
        UsageError: future values lack; a run that does not fit the task, an unknown agent, a state
            that does not fit, or a planner that does not fit the actions; or ``strict``, and
            something is out of range.
    """
    check_fits(model, task)
    simulator = Simulator(model, agent)
    if config.search.horizon > task.max_steps:
        config = config.replace(horizon=task.max_steps)  # nothing is earned after the end
    key_start, key_plan = jax.random.split(jax.random.key(seed))
    goes_on = state is None and not task.simulated  # from where the agent's data ended
    start = simulator.last if goes_on else _start(task, state, key_start)
    if before is not None:
        start = simulator.start_of(None if state is None else start, before)
    told, start = start, start[: len(task.state_names)]
    known = plan_inputs(model, simulator.index, config.search.horizon, exogenous, hold_exogenous)
    model.check_reach(start, known=known)
    folded = model.dynamics(agent, config.objective.draws, known)
    folded = folded.with_history(model.normalizer.memory_of(told))
    noisy = with_noise(folded, model, simulator.agent_id, noise, seed) if noise else folded
    stack = acted_on(noisy, task, model, simulator.agent_id)
    # What a state is worth beyond the horizon is learned where known inputs stay.
    beyond = stack if known is None else stack.at_step(jnp.asarray(len(known)))
    objective = task_objective(config, task, beyond, model, agent)
    controller = MPCController(task_planner(config, task), stack, objective)
    info = _search(controller, jnp.asarray(start, jnp.float32), key_plan)
    codes = np.asarray(info.actions)
    if task.choice is not None:
        codes = task.choice.taken(codes, np)
    _check_score(float(info.score), task)
    actions = model.action_code.user_values(codes)
    future = {"exogenous": exogenous, "hold_exogenous": hold_exogenous}
    rollout = simulator.rollout(
        None if goes_on else start, actions, warn, before=before, strict=strict, **future
    )
    return Plan(
        task=task.name,
        agent=simulator.agent_id,
        state=start,
        actions=actions,
        score=float(info.score),
        config=config,
        rollout=rollout,
        reason=_reason_against(rollout, min_support) or unknown_effect(model, codes),
    )


def _check_score(score: float, task: Task) -> None:
    """Refuse a plan that is the best of those that were tried and may not be taken all the same."""
    if score >= -FORBIDDEN / 2:
        return
    if getattr(task.reward, "forbidden", None) is not None:
        raise UsageError("every plan that was tried has a forbidden action; forbid less")
    raise UsageError(
        f"no plan that was tried has a finite return of size below {FORBIDDEN / 2:g}: the reward "
        f"({task.name}) divides by zero, takes the logarithm of a negative number, or is too large"
    )


def _start(task: Task, state: Sequence[float] | None, key: Array) -> NDArray[np.float64]:
    """Return the state to plan from: the one that is given, or a start of the task."""
    if state is None:
        # A start does not depend on the hidden physics; the middle of their range will do.
        middle = task.covariates((task.covariate_low + task.covariate_high) / 2)
        return np.asarray(task.reset(middle, key), np.float64)
    start = np.asarray(state, np.float64)
    if start.shape != (len(task.state_names),) or not np.isfinite(start).all():
        raise UsageError(
            f"the state needs {len(task.state_names)} finite numbers "
            f"({', '.join(task.state_names)}), not {start.tolist()}"
        )
    return start


def _reason_against(rollout: Rollout, min_support: float | None) -> str | None:
    """Return why a plan should not be followed: a step with less support; None if there is none."""
    if min_support is None or not (rollout.support.score < min_support).any():
        return None
    support = rollout.support.map(lambda values: values[None])
    return abstention(support, support.score < min_support, min_support)


@runtime_checkable
class FittedToTask(Protocol):
    """Whatever was fitted on a table: a run of ours, or a baseline."""

    @property
    def roles(self) -> Roles:
        """Columns of the table."""
        ...

    @property
    def action_levels(self) -> NDArray[np.int64] | None:
        """Discrete actions of the table, or None."""
        ...

    @property
    def info(self) -> Any:
        """Where it comes from; it has a ``source``."""
        ...


def check_fits(model: FittedToTask, task: Task) -> None:
    """Refuse a run whose states or actions are not those of a task.

    Raises:
        UsageError: naming what differs.
    """
    source = model.info.source
    if not task.simulated:
        return
    if source.get("task", task.name) != task.name:
        raise UsageError(f"the run was fitted on data of {source['task']!r}, not of {task.name!r}")
    if model.roles.state != task.state_names or model.roles.action_type != task.action_type:
        raise UsageError(
            f"the run does not fit task {task.name!r}: its state is {list(model.roles.state)} with "
            f"{model.roles.action_kind}, the task's is {list(task.state_names)} with a "
            f"{task.action_type} one"
        )
    if model.action_levels is not None and list(model.action_levels) != list(
        range(task.n_actions or 0)
    ):
        raise UsageError(
            f"the run has seen the actions {model.action_levels.tolist()}, the task "
            f"{task.name!r} has 0 to {(task.n_actions or 0) - 1}; collect more data"
        )


@eqx.filter_jit
def _search(controller: MPCController, state: Array, key: Array) -> PlanInfo:
    key_init, key_plan = jax.random.split(key)
    return controller.plan(controller.init(key_init), state, key_plan)[2]
