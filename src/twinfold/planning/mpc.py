"""Episodes in the true task: plan, act, repeat, as one compiled program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from twinfold.models.dynamics import Dynamics
from twinfold.planning.objective import Objective, make_evaluate, proposals
from twinfold.planning.planner import PlanInfo, Planner
from twinfold.tasks.goal_functions import one_number, true_or_false
from twinfold.tasks.task import Task
from twinfold.utils.cores import usable_cores


class Episodes(NamedTuple):
    """Outcomes of E episodes of one agent.

    Attributes:
        returns: sum of the true rewards, ``(E,)``.
        lengths: steps until the episode ended, ``(E,)``.
    """

    returns: Array | np.ndarray
    lengths: Array | np.ndarray


class MPCController(eqx.Module):
    """Model-predictive control: a new plan at every step, made with the whole ensemble.

    Attributes:
        planner: how to search.
        stack: the ensemble that plans, not the world that is acted in.
        objective: what to plan for.
    """

    planner: Planner
    stack: Dynamics
    objective: Objective

    def init(self, key: Array) -> Any:
        """Return the planner's memory."""
        return self.planner.init(key)

    def plan(
        self, memory: Any, state: Array, key: Array, key_propose: Array | None = None
    ) -> tuple[Array, Any, PlanInfo]:
        """Return the action to take now, the memory for the next step, and the plan.

        Args:
            memory: from :meth:`init`, or from the step before.
            state: the state now, ``(D,)``.
            key: of the search.
            key_propose: of the plans along the data's policy; made from ``key`` if None.
        """
        if key_propose is None:
            # A key of its own: the search is the same with and without proposals.
            key_propose = jax.random.fold_in(key, 1)
        horizon = self.planner.horizon
        proposed = proposals(self.stack, self.objective, state, horizon, key_propose)
        evaluate = make_evaluate(self.stack, self.objective)
        return self.planner.plan(memory, evaluate, state, key, proposed)

    def act(self, memory: Any, state: Array, key: Array) -> tuple[Array, Any]:
        """Return the first action of the plan from here, and the memory for the next step."""
        return self.plan(memory, state, key)[:2]

    def act_at(self, step: Array, memory: Any, state: Array, key: Array) -> tuple[Array, Any]:
        """Return what ``act`` does at a step of an episode, whose known inputs it may be told."""
        later = MPCController(self.planner, self.stack.at_step(step), self.objective)
        return later.act(memory, state, key)


@eqx.filter_jit
def run_episodes(
    task: Task,
    covariates: Any,
    stack: Dynamics,
    planner: Planner,
    objective: Objective,
    keys: Array,
    *,
    batch_size: int | None = None,
) -> Episodes:
    """Return the outcomes of model-predictive control of one agent in the true task.

    Agents that share task, planner and model structure share one program: weights, covariates and
    a terminal value are arguments.

    Args:
        task: the true task; it steps the episode and pays the reward.
        covariates: the agent's true covariates, ``task.covariates(row)``; the planner sees only
            what ``stack`` predicts.
        stack: ensemble for this agent, with a leading member axis on its array leaves.
        planner: how to search.
        objective: what to plan for.
        keys: one key per episode, ``(E,)`` typed keys or ``(E, 2)``.
        batch_size: episodes that run side by side (default: all); fewer take less memory.
    """

    def unfinished(now: Any) -> Array:
        ended, step = now[3:5]
        return ~ended & (step < task.max_steps)

    def advance(now: Any) -> Any:
        key, state, memory, _, step, total, history = now
        key, key_plan = jax.random.split(key)
        controller = MPCController(planner, stack.with_history(history), objective)
        action, memory = controller.act(memory, state, key_plan)
        next_state = task.step(covariates, state, action)
        history = stack.observed(history, state, action, next_state)
        total = total + one_number(task.reward(state, action, next_state))
        ended = true_or_false(task.terminated(next_state))
        return key, next_state, memory, ended, step + 1, total, history

    def one(key: Array) -> Episodes:
        key, key_reset, key_init = jax.random.split(key, 3)
        state = task.reset(covariates, key_reset)
        start = (
            key,
            state,
            planner.init(key_init),
            jnp.zeros((), bool),
            jnp.zeros((), jnp.int32),
            jnp.zeros(()),
            stack.blank_history(),
        )
        length, total = jax.lax.while_loop(unfinished, advance, start)[4:6]
        return Episodes(returns=total, lengths=length)

    n_episodes = keys.shape[0]
    if batch_size is None or batch_size >= n_episodes:
        return jax.vmap(one)(keys)
    return jax.lax.map(one, keys, batch_size=batch_size)


def run_agents(
    task: Task,
    covariates: Sequence[Any],
    stacks: Sequence[Dynamics],
    planner: Planner,
    objectives: Sequence[Objective],
    keys: Array,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Episodes]:
    """Return the outcomes of :func:`run_episodes` for several agents, on all cores.

    The program is compiled once. On a CPU it keeps one core busy, and episodes are no faster side
    by side: each is a job of its own, in as many threads as there are cores. On other devices all
    episodes of an agent are one job. An episode's randomness depends on its key alone.

    Args:
        task: the true task.
        covariates: true covariates of each agent.
        stacks: ensemble of each agent; all of one structure.
        planner: how to search.
        objectives: what to plan for, for each agent; all of one structure.
        keys: ``(n_agents, E)`` typed keys or ``(n_agents, E, 2)``.
        threads: default: one per core on a CPU, one on other devices.
        progress: called with the number of finished jobs and of all jobs.

    Returns:
        Outcomes of each agent, as NumPy arrays ``(E,)``.
    """
    if not len(covariates):
        return []
    on_cpu, episodes = jax.default_backend() == "cpu", np.arange(keys.shape[1])
    if threads is None:
        threads = usable_cores() if on_cpu else 1
    parts = episodes[:, None] if on_cpu else episodes[None]
    jobs = [
        (task, covariates[agent], stacks[agent], planner, objectives[agent], keys[agent][part])
        for agent in range(len(covariates))
        for part in parts
    ]
    program = run_episodes.lower(*jobs[0]).compile()  # pyright: ignore
    done = _run_jobs(program, jobs, threads, progress)
    by_agent = [done[first : first + len(parts)] for first in range(0, len(done), len(parts))]
    return [Episodes(*(np.concatenate(x) for x in zip(*own, strict=True))) for own in by_agent]


def _run_jobs(
    program: Callable[..., Episodes],
    jobs: Sequence[tuple[Any, ...]],
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> list[Episodes]:
    """Return the outcomes of a compiled program for several arguments, in threads."""

    def run(job: tuple[Any, ...]) -> Episodes:
        return jax.tree.map(np.asarray, program(*job))

    pool = ThreadPoolExecutor(max_workers=max(1, threads))
    try:
        futures = [pool.submit(run, job) for job in jobs]
        for count, _ in enumerate(as_completed(futures), start=1):
            if progress is not None:
                progress(count, len(jobs))
        return [future.result() for future in futures]
    finally:  # after an interrupt there is nothing to wait for: a running program may take long
        pool.shutdown(wait=False, cancel_futures=True)
