"""Controllers of a simulated agent: a function of the state, a policy by name, or a planner.

Axes: D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold.data.ids import AgentId
from twinfold.errors import UsageError, one_of
from twinfold.models.fitted_model import FittedModel
from twinfold.planning.build import task_objective, task_planner
from twinfold.planning.config import PlanConfig
from twinfold.planning.mpc import MPCController
from twinfold.planning.presets import plan_config
from twinfold.planning.run_task import acted_on
from twinfold.policies import POLICY_NAMES, AgentPolicy, get_policy
from twinfold.policy_learning.actor_critic import Policy
from twinfold.policy_learning.policy import TrainedPolicy
from twinfold.tasks.task import Task, agent_covariates

# (state (D,), key) -> action, a name, settings of a planner, or a policy trained in a world.
PolicyLike = Callable[[Any, Any], Any] | str | PlanConfig | TrainedPolicy | Policy

VALID: tuple[str, ...] = (*POLICY_NAMES, "plan")
"""Policies that have a name."""

_FOR_ANYONE = ("random", "test")  # the same for every agent


class PolicyController(eqx.Module):
    """A policy without memory, ``(state (D,), key) -> action``.

    Attributes:
        policy: a function, or a callable pytree whose arrays do not belong to the compiled program.
    """

    policy: Callable[[Any, Any], Any]

    def init(self, key: Array) -> tuple[()]:
        """Return nothing: nothing is kept from one step to the next."""
        del key
        return ()

    def act(self, memory: tuple[()], state: Array, key: Array) -> tuple[Array, tuple[()]]:
        """Return the action now, and the memory for the next step."""
        return jnp.asarray(self.policy(state, key)), memory

    def act_at(
        self, step: Array, memory: tuple[()], state: Array, key: Array
    ) -> tuple[Array, tuple[()]]:
        """Return what ``act`` does: which step of the episode it is does not matter."""
        del step
        return self.act(memory, state, key)


class BoundPolicy(eqx.Module):
    """A policy of the package for an agent: ``(state, key) -> action``.

    Attributes:
        policy: ``(covariates, state, key) -> action``.
        covariates: the agent's true physics, which tell the policies apart.
    """

    policy: AgentPolicy = eqx.field(static=True)
    covariates: Any

    def __call__(self, state: Array, key: Array) -> Array:
        """Return the action."""
        return self.policy(self.covariates, state, key)


class GreedyPolicy(eqx.Module):
    """A trained policy as it acts in use: ``(state, key) -> action``, and nothing is drawn.

    Attributes:
        policy: with its nets.
    """

    policy: Policy

    def __call__(self, state: Array, key: Array) -> Array:
        """Return the most likely level, or the mean."""
        del key
        return self.policy.act(state)


Controller = PolicyController | MPCController


def make_controller(
    policy: PolicyLike,
    model: FittedModel,
    task: object,
    agent: AgentId,
    known: NDArray[np.float64] | None = None,
) -> Controller:
    """Return what acts for one agent.

    Args:
        policy: a function, a name, settings of a planner, or a trained policy.
        model: a fitted model.
        task: a task; for a function or a trained policy, anything.
        agent: the user's id, as the model has it.
        known: ``(T, E)``, known inputs of an episode, as ``FittedModel.dynamics``, for a planner.

    Raises:
        UsageError: an unknown name, a name without a task, a policy that depends on physics which
            are not known, a planner that does not fit the actions, a policy that was trained for
            other states, or what is no policy.
    """
    if isinstance(policy, TrainedPolicy):
        policy = policy.policy
    if isinstance(policy, Policy):
        return PolicyController(_greedy(policy, model))
    if not isinstance(policy, str | PlanConfig):
        if not callable(policy):
            raise UsageError(
                f"type {type(policy).__name__} is no policy: give a function (state, key) "
                "-> action in JAX (of a policy by BCQ or CQL its actor, of MOReL what it trained), "
                "a name, or settings of a planner"
            )
        return PolicyController(policy)
    if not isinstance(task, Task):
        raise UsageError(
            f"policy {policy_name(policy)!r} is that of a task; without a task give a function "
            "(state, key) -> action"
        )
    if policy == "plan":
        policy = plan_config(task.name, task.action_type)
    if isinstance(policy, PlanConfig):
        draws = policy.objective.draws
        stack = acted_on(model.dynamics(agent, draws, known), task, model, agent)
        # What a state is worth beyond the horizon is learned where known inputs stay.
        beyond = stack if known is None else stack.at_step(jnp.asarray(len(known)))
        objective = task_objective(policy, task, beyond, model, agent)
        return MPCController(task_planner(policy, task), stack, objective)
    valid = VALID if task.simulated else ("random", "plan")
    if policy not in valid:
        raise UsageError(f"unknown policy {policy!r}; {one_of(valid)}")
    physics = average_physics(task) if policy in _FOR_ANYONE else _physics(model, task, agent)
    return PolicyController(BoundPolicy(get_policy(task, policy), physics))


def _greedy(policy: Policy, model: FittedModel) -> GreedyPolicy:
    """Return a trained policy as it acts; one that reads other states raises UsageError."""
    n_read, names = policy.scale.mean.shape[-1], model.roles.state
    if n_read != len(names):
        raise UsageError(
            f"the policy was trained for {n_read} state columns; the model has {len(names)}: "
            f"{', '.join(names)}"
        )
    return GreedyPolicy(policy)


def is_planner(policy: PolicyLike) -> bool:
    """Return whether every action takes a search."""
    return isinstance(policy, PlanConfig) or policy == "plan"


def policy_name(policy: PolicyLike) -> str:
    """Return the name of a policy in records."""
    if isinstance(policy, str):
        return policy
    if isinstance(policy, PlanConfig):
        return "plan"
    return str(getattr(policy, "__name__", type(policy).__name__))


def average_physics(task: Task) -> Any:
    """Return the middle of the range of the covariates: for what does not depend on them."""
    return task.covariates((task.covariate_low + task.covariate_high) / 2)


def check_action(model: FittedModel, task: object, controller: Controller, states: Array) -> None:
    """Refuse a policy whose actions the model, or the task that is made of it, cannot read.

    Args:
        model: a fitted model.
        task: what is acted in.
        controller: acts.
        states: where it begins, ``(S, D)``.

    Raises:
        UsageError: shape or kind of the action are wrong, or it is no index of a level.
    """
    key, state = jax.random.key(0), states[0]
    action, _ = eqx.filter_eval_shape(lambda: controller.act(controller.init(key), state, key))
    levels: Any = model.action_levels
    names = model.action_code.names
    choice = getattr(task, "choice", None)
    if choice is not None and choice.bounds is not None:
        shown = [choice.code.level_names[i] for i in choice.allowed]
        amounts = [choice.code.roles.action[i] for i in choice.code.places[1]]
        names = (*(f"preference for {name}" for name in shown), *amounts)
    elif choice is not None:
        levels = choice.allowed
    if levels is None:
        fits = action.shape == (len(names),)
        wanted = f"numbers of shape ({len(names)},): {', '.join(names)}"
    else:
        fits = action.shape == () and jnp.issubdtype(action.dtype, jnp.integer)
        wanted = f"the index of a level, an integer from 0 to {len(levels) - 1}"
    if not fits:
        raise UsageError(
            f"the policy gives actions of shape {action.shape} and type {action.dtype}; the model "
            f"takes {wanted}"
        )
    if levels is None or isinstance(controller, MPCController):
        return
    # A level's value in place of its index would be read as no action at all.
    chosen = np.asarray(_first_actions(controller, states, jax.random.split(key, len(states))))
    strange = chosen[(chosen < 0) | (chosen >= len(levels))]
    if strange.size:
        raise UsageError(f"the policy gives the action {strange[0]}; the model takes {wanted}")


@eqx.filter_jit
def _first_actions(controller: PolicyController, states: Array, keys: Array) -> Array:
    return jax.vmap(lambda state, key: controller.act((), state, key)[0])(states, keys)


def _physics(model: FittedModel, task: Task, agent: AgentId) -> Any:
    """Return the true covariates, by which behaviour policies are dealt out to agents."""
    source = model.info.source
    n_agents, seed = source.get("n_agents"), source.get("seed")
    known = task.test_agents
    if source.get("task") == task.name and isinstance(n_agents, int) and isinstance(seed, int):
        known = agent_covariates(task, n_agents, seed)
    if not isinstance(agent, int) or not 0 <= agent < len(known):
        raise UsageError(
            f"which of the behaviour policies is agent {agent!r}'s follows from its true physics, "
            f"and those are not known; {one_of((*_FOR_ANYONE, 'plan', 'or a function'))}"
        )
    return task.covariates(known[agent])
