"""Simulated trajectories of an agent beside its observed one, for methods that learn a policy.

The appendix of the PerSim paper that would say how its Table 3 was made is not at hand. Here an
agent's simulator makes the trajectories: each runs in a posterior sample of its own (one member of
the ensemble with one draw of the agent's factors), from an observed start until the task ends it,
and what acts in it is an option (:class:`AugmentationSettings`).

Axes: n trajectories, L steps, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.baselines.action_clone import CloneSettings, clone_actions
from twinfold.baselines.d3rlpy_learner import library
from twinfold.baselines.d3rlpy_offline import Origin, train_offline
from twinfold.baselines.experience import experience_of, joined
from twinfold.baselines.offline_policy import OfflinePolicy
from twinfold.baselines.offline_settings import (
    Algorithm,
    AugmentationSettings,
    OfflineSettings,
    offline_settings,
)
from twinfold.data.ids import AgentId
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.errors import DivergedError
from twinfold.models.agent_dynamics import AgentDynamics
from twinfold.models.behaviour_policy import AgentBehaviour
from twinfold.models.fitted_model import FittedModel
from twinfold.ope.controllers import Controller, PolicyController, make_controller
from twinfold.ope.posterior_rollouts import posterior_samples
from twinfold.planning.plan import check_fits
from twinfold.tasks.task import Task
from twinfold.utils.device import typed_as
from twinfold.utils.seeds import check_seed

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[str, int, int], None]

CLONE = CloneSettings()
"""Those of the policy that the data followed, for discrete actions."""


class Simulated(NamedTuple):
    """Trajectories in simulators.

    Attributes:
        states: ``(L + 1, n, D)``, raw units, the start included.
        actions: ``(L, n)`` levels, or ``(L, n, A)``.
        taken: ``(L, n)``, whether a step was taken and its prediction is finite.
        ended: ``(n,)``, whether the task ended the trajectory.
    """

    states: Any
    actions: Any
    taken: Any
    ended: Any


class NoisyBehaviour(eqx.Module):
    """The policy that continuous actions followed, with the noise that it leaves unexplained."""

    policy: AgentBehaviour

    def __call__(self, state: Float[Array, " D"], key: Array) -> Float[Array, " A"]:
        """Return an action, drawn."""
        noise = self.policy.noise * jax.random.normal(key, self.policy.noise.shape)
        return self.policy(state, noise)


def fit_augmented(
    dataset: PanelDataset,
    task: Task,
    algorithm: Algorithm,
    model: FittedModel,
    agent: AgentId,
    augmentation: AugmentationSettings | None = None,
    settings: OfflineSettings | None = None,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> OfflinePolicy:
    """Return a policy for one agent, learned from its observed and from simulated trajectories.

    Args:
        dataset: what the model was fitted on.
        task: gives rewards, ends, and the range of the actions.
        algorithm: ``"bcq"`` or ``"cql"``.
        model: has the agent's simulator.
        agent: the user's id.
        augmentation: how the trajectories are made; the defaults if None.
        settings: of the training; those of one policy per agent if None.
        seed: of the trajectories and the training.
        source: where the data comes from, for the record; true physics are left out.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: an agent or an algorithm is unknown, the data does not fit the task, or d3rlpy
            is not installed.
        DivergedError: the simulator of the agent predicts nothing finite.
    """
    library("d3rlpy")  # before what takes long
    check_seed(seed)
    how = augmentation or AugmentationSettings()
    settings = settings or offline_settings(task.action_type, one_agent=True)
    simulated = simulate_trajectories(model, task, dataset, agent, how, seed)
    parts = [experience_of(part, task) for part in (dataset.select_agents([agent]), simulated)]
    origin = Origin(dataset.fingerprint(), (agent,), source, how, len(parts[1]))
    return train_offline(joined(parts), task, algorithm, settings, seed, origin, progress)


def simulate_trajectories(
    model: FittedModel,
    task: Task,
    dataset: PanelDataset,
    agent: AgentId,
    settings: AugmentationSettings | None = None,
    seed: int = 0,
) -> PanelDataset:
    """Return simulated trajectories of one agent, one episode each.

    A trajectory whose prediction stops being finite ends before that, as if it had been cut off.

    Args:
        model: has the agent's simulator.
        task: gives reward and end; its dynamics are not used.
        dataset: has the starts; for ``"behaviour"`` and discrete actions also what to imitate.
        agent: the user's id.
        settings: how many, how long, who acts and from where; the defaults if None.
        seed: of the samples, the starts and the policy.

    Raises:
        UsageError: the run does not fit the task, or the agent is unknown.
        DivergedError: no trajectory has a finite step.
    """
    check_fits(model, task)
    check_seed(seed)
    how = settings or AugmentationSettings()
    n = how.trajectories
    length = task.max_steps if how.steps is None else min(how.steps, task.max_steps)
    controller = _controller(how, model, task, dataset, agent, seed)
    starts = _starts(how, dataset, agent, np.random.default_rng((seed, n)))
    found = _rollouts(
        posterior_samples(model, agent, n, seed),
        controller,
        task.terminated,
        jnp.asarray(starts, jnp.float32),
        jax.random.split(jax.random.key(seed), n),
        length,
    )
    found = Simulated(*(np.asarray(part) for part in found))
    if not found.taken.any():
        raise DivergedError(f"the simulator of agent {agent!r} predicts nothing finite")
    frame = _frame(task, agent, found)
    return PanelDataset.from_frame(frame, _roles(task), time_step=1)


def _controller(
    how: AugmentationSettings,
    model: FittedModel,
    task: Task,
    dataset: PanelDataset,
    agent: AgentId,
    seed: int,
) -> Controller:
    """Return what acts in the simulator."""
    if how.actor == "mpc":
        return make_controller("plan", model, task, agent)
    if how.actor == "random":
        return make_controller("random", model, task, agent)
    behaviour = model.agent_behaviour(agent)
    if behaviour is not None:
        return PolicyController(NoisyBehaviour(behaviour))
    if task.n_actions is None:  # the fit was told not to learn it
        return make_controller("random", model, task, agent)
    known = model.agent_indices(dataset.agent_ids)
    clone = clone_actions(
        model,
        model.agent_index(agent),
        experience_of(dataset, task),
        known[dataset.transitions().agent],
        task.n_actions,
        CLONE,
        seed,
    )
    return PolicyController(clone)


def _starts(
    how: AugmentationSettings, dataset: PanelDataset, agent: AgentId, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return observed starts ``(n, D)``: each once before any is taken again."""
    first = np.r_[True, dataset.segment[1:] != dataset.segment[:-1]]
    if how.start == "agent":
        first &= dataset.agent == dataset.agent_index([agent])[0]
    starts = dataset.state[first]
    order = rng.permutation(len(starts))
    return starts[order[np.arange(how.trajectories) % len(order)]]


@eqx.filter_jit
def _rollouts(
    samples: AgentDynamics,
    controller: Controller,
    terminated: Callable[[Any], Any],
    starts: Float[Array, "n D"],
    keys: Array,
    length: int,
) -> Simulated:
    """Return a trajectory in each sample, all side by side, as long as one goes on."""
    pairs = jax.vmap(jax.random.split)(keys)  # of the controller's memory, of the steps

    def one_step(
        dynamics: AgentDynamics, carry: Any, state: Array, memory: Any, key: Array
    ) -> tuple[Any, Array, Any, Array]:
        action, memory = controller.act(memory, state, key)
        moved = dynamics.step(carry, dynamics.encode(action))
        carry, after = typed_as(moved, (carry, state))
        return carry, after, memory, action

    def unfinished(now: Any) -> Array:
        step, _, _, alive, _ = now
        return (step < length) & alive.any()

    def advance(now: Any) -> Any:
        step, carry, memory, alive, found = now
        own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(pairs[:, 1], step)
        state = found.states[step]
        carry, after, memory, action = jax.vmap(one_step)(samples, carry, state, memory, own)
        taken = alive & jnp.isfinite(after).all(axis=1)
        ended = found.ended | (taken & jax.vmap(terminated)(after))
        found = Simulated(
            states=found.states.at[step + 1].set(jnp.where(taken[:, None], after, state)),
            actions=found.actions.at[step].set(action),
            taken=found.taken.at[step].set(taken),
            ended=ended,
        )
        return step + 1, carry, memory, taken & ~ended, found

    memory = jax.vmap(controller.init)(pairs[:, 0])
    carry = jax.vmap(lambda sample, start: sample.init(start))(samples, starts)
    shapes = jax.eval_shape(jax.vmap(one_step), samples, carry, starts, memory, pairs[:, 1])
    found = Simulated(
        states=jnp.zeros((length + 1, *starts.shape)).at[0].set(starts),
        actions=jnp.zeros((length, *shapes[3].shape), shapes[3].dtype),
        taken=jnp.zeros((length, len(starts)), bool),
        ended=jnp.zeros(len(starts), bool),
    )
    first = jnp.zeros((), jnp.int32), carry, memory, jnp.ones(len(starts), bool), found
    return jax.lax.while_loop(unfinished, advance, first)[4]


def _roles(task: Task) -> Roles:
    """Return the columns of simulated tables."""
    return Roles(
        agent="agent_id",
        episode="episode_id",
        time="t",
        state=task.state_names,
        action=task.action_names,
        action_type=task.action_type,
        reward="reward",
        terminated="terminated",
        truncated="truncated",
        angle=task.angle_names,
    )


def _frame(task: Task, agent: AgentId, found: Simulated) -> pd.DataFrame:
    """Return the long table of simulated trajectories; one without a step is left out."""
    import pandas as pd

    lengths = found.taken.sum(axis=0)
    rows = np.arange(len(found.states))[None] <= lengths[:, None]
    episode, time = np.nonzero(rows & (lengths > 0)[:, None])
    last = time == lengths[episode]
    step = np.minimum(time, len(found.actions) - 1)  # a last row has no action: it is made null
    action, state = found.actions[step, episode], found.states[time, episode]
    after = found.states[np.minimum(time + 1, lengths[episode]), episode]
    reward = np.asarray(jax.vmap(task.reward)(state, action, after), np.float64)
    columns: dict[str, Any] = {
        "agent_id": pd.Series([agent] * len(time)),
        "episode_id": episode,
        "t": time,
    }
    columns |= {name: state[:, d].astype(np.float64) for d, name in enumerate(task.state_names)}
    if task.action_type == "discrete":
        columns[task.action_names[0]] = pd.arrays.IntegerArray(action.astype(np.int64), last)
    else:
        columns |= {
            name: np.where(last, np.nan, action[:, a].astype(np.float64))
            for a, name in enumerate(task.action_names)
        }
    columns["reward"] = np.where(last, np.nan, reward)
    columns["terminated"] = last & found.ended[episode]
    columns["truncated"] = last & ~found.ended[episode]
    return pd.DataFrame(columns)
