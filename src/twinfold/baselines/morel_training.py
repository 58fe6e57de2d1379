"""Fitting of MOReL: an ensemble, what it does not know, and a policy that avoids it."""

from __future__ import annotations

import datetime
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from twinfold import __version__
from twinfold.baselines.cadm import action_code
from twinfold.baselines.cadm_training import unlimited_normalizer
from twinfold.baselines.morel import (
    Net,
    discrepancy,
    is_unknown,
    pessimistic_stack,
    predicted,
    random_net,
)
from twinfold.baselines.morel_model import MOReL, MOReLInfo
from twinfold.baselines.morel_settings import MOReLSettings
from twinfold.data.ids import AgentId
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.errors import UsageError
from twinfold.models.normalizer import Normalizer
from twinfold.models.run_info import HIDDEN
from twinfold.policy_learning.actor_critic import StateScale
from twinfold.policy_learning.cloning import clone_actions
from twinfold.policy_learning.training import train_policy
from twinfold.policy_learning.world import World
from twinfold.tasks.task import Task
from twinfold.utils.plain import plain
from twinfold.utils.seeds import check_seed

Progress = Callable[[str, int, int], None]
_CHUNK = 500  # steps between two looks at progress and interrupts
_ROWS = 4096  # transitions whose discrepancy is computed side by side


class Ensemble(NamedTuple):
    """A trained ensemble.

    Attributes:
        nets: of all members, with a leading axis M.
        normalizer: float64, on the host.
        losses: of each member, mean of the last steps.
        apart: discrepancy on every transition of the data, in standardised differences, ``(K,)``.
    """

    nets: Net
    normalizer: Normalizer
    losses: list[float]
    apart: np.ndarray


def fit_morel(
    dataset: PanelDataset,
    task: Task,
    agents: Iterable[AgentId] | None = None,
    settings: MOReLSettings | None = None,
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> MOReL:
    """Return a MOReL fitted on a panel: an ensemble, and a policy trained in it.

    Args:
        dataset: the data.
        task: its rewards, ends, actions and longest episode count, its physics do not.
        agents: ids of those whose data is used: one agent for *MOReL-A*; None for all, *MOReL-P*.
        settings: the defaults if None.
        seed: of weights, batches, starts and choices.
        source: where the data comes from, for the record; true physics are left out.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: the data does not fit the task, an agent is unknown, or the seed cannot be used.
    """
    check_seed(seed)
    settings = settings or MOReLSettings()
    ids = None if agents is None else tuple(agents)
    chosen = dataset if ids is None else dataset.select_agents(ids)
    _check_task(chosen, task)
    begun = time.perf_counter()
    data = chosen.transitions()
    key_nets, key_policy, key_clone = jax.random.split(jax.random.key(seed), 3)

    ensemble = train_ensemble(chosen, settings, key_nets, progress)
    fitted = time.perf_counter()
    world = pessimistic_world(ensemble, data, task, settings, seed)
    recorded = {"states": data.state, "actions": data.action, "key": key_clone}
    clone = functools.partial(clone_actions, **recorded, steps=settings.cloning_steps)
    policy = train_policy(world, settings.policy, key_policy, progress, before=clone)

    return MOReL(
        nets=jax.tree.map(np.asarray, ensemble.nets),
        normalizer=ensemble.normalizer,
        trained=policy,
        config=settings,
        seed=seed,
        roles=chosen.roles,
        action_levels=chosen.action_levels,
        info=_info(
            chosen,
            ensemble,
            world,
            task=task.name,
            chosen=None if ids is None else tuple(plain(list(chosen.agent_ids))),
            source={key: value for key, value in (source or {}).items() if key not in HIDDEN},
            ensemble_seconds=round(fitted - begun, 2),
            seconds=round(time.perf_counter() - begun, 2),
        ),
    )


def _info(dataset: PanelDataset, ensemble: Ensemble, world: World, **rest: Any) -> MOReLInfo:
    """Return where a fit comes from; ``rest`` are the fields that neither data nor models tell."""
    return MOReLInfo(
        twinfold=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        jax=jax.__version__,
        device=jax.devices()[0].device_kind,
        fingerprint=dataset.fingerprint(),
        agents=dataset.n_agents,
        transitions=dataset.n_transitions,
        training_loss=tuple(x if np.isfinite(x) else None for x in ensemble.losses),
        discrepancy=(float(ensemble.apart.mean()), float(ensemble.apart.max())),
        threshold=float(world.dynamics.threshold[0]),  # pyright: ignore
        halt_reward=float(world.halt_reward),
        **rest,
    )


def _check_task(dataset: PanelDataset, task: Task) -> None:
    """Raise UsageError unless data and task have the same states and actions."""
    found = len(dataset.roles.state), dataset.roles.action_type, len(dataset.roles.action)
    wanted = len(task.state_names), task.action_type, len(task.action_names)
    levels = None if dataset.action_levels is None else len(dataset.action_levels)
    if found != wanted or levels != task.n_actions:
        words = "{0} states and {2} {1} actions ({3} levels)"
        raise UsageError(
            f"the data does not fit task {task.name!r}: it has "
            f"{words.format(*found, levels or 'no')}, the task has "
            f"{words.format(*wanted, task.n_actions or 'no')}"
        )


def train_ensemble(
    dataset: PanelDataset, settings: MOReLSettings, key: Array, progress: Progress | None = None
) -> Ensemble:
    """Return an ensemble of nets fitted to the standardised differences of a panel.

    Args:
        dataset: the data.
        settings: nets and their training.
        key: of weights and batches; every member has its own.
        progress: receives (what, steps done, steps in all).
    """
    data, normalizer = dataset.transitions(), unlimited_normalizer(dataset)
    n_levels = 0 if dataset.action_levels is None else len(dataset.action_levels)
    inputs, targets = standardised(data, normalizer, n_levels)
    keys = jax.random.split(key, settings.members)
    sizes = inputs.shape[1], targets.shape[1]
    nets = jax.vmap(lambda k: random_net(jax.random.fold_in(k, 0), settings.hidden, *sizes))(keys)
    adam = optax.adam(settings.learning_rate)
    state, losses = (nets, adam.init(nets)), np.zeros(len(keys))  # pyright: ignore
    for first in range(0, settings.steps, _CHUNK):
        count = min(_CHUNK, settings.steps - first)
        state, losses = _train_chunk(
            state, keys, inputs, targets, jnp.int32(first), jnp.int32(count), settings
        )
        losses = np.asarray(losses)  # waits, so that progress is true
        if progress is not None:
            progress("training of MOReL's ensemble", first + count, settings.steps)
    apart = np.asarray(_discrepancies(state[0], inputs))
    return Ensemble(state[0], normalizer, losses.tolist(), apart)


def standardised(
    data: Transitions, normalizer: Normalizer, n_levels: int
) -> tuple[Float[Array, "K x"], Float[Array, "K D"]]:
    """Return what the nets read of transitions, and what they should predict.

    Args:
        data: K transitions.
        normalizer: float64, on the host.
        n_levels: of a discrete action; 0 for continuous ones.
    """
    states = normalizer.inputs(normalizer.encode_state(data.state))
    codes = np.asarray(action_code(normalizer, n_levels, data.action))
    target = normalizer.encode_target(data.state, data.next_state)
    inputs = np.concatenate([states, codes], axis=1)
    return jnp.asarray(inputs, jnp.float32), jnp.asarray(target, jnp.float32)


@functools.partial(jax.jit, static_argnames="settings", donate_argnames="state")
def _train_chunk(
    state: tuple[Net, Any],
    keys: Array,
    inputs: Float[Array, "K x"],
    targets: Float[Array, "K D"],
    first: Int[Array, ""],
    count: Int[Array, ""],
    settings: MOReLSettings,
) -> tuple[tuple[Net, Any], Float[Array, " M"]]:
    """Take ``count`` steps of all members from number ``first`` on; return their mean losses."""
    adam = optax.adam(settings.learning_rate)

    def loss(net: Net, rows: Int[Array, " b"]) -> Array:
        found = jax.vmap(lambda x: predicted(net, x))(inputs[rows])
        return jnp.square(found - targets[rows]).mean()

    def one_step(number: Array, now: Any) -> Any:
        (nets, memory), total = now

        def one_member(net: Net, key: Array) -> Any:
            own = jax.random.fold_in(jax.random.fold_in(key, 1), number)
            rows = jax.random.randint(own, (settings.batch,), 0, len(inputs))
            return jax.value_and_grad(loss)(net, rows)

        losses, gradient = jax.vmap(one_member)(nets, keys)
        # Adam works entry by entry: members do not know of each other.
        change, memory = adam.update(gradient, memory)
        return (optax.apply_updates(nets, change), memory), total + losses

    begin = state, jnp.zeros(len(keys))
    state, total = jax.lax.fori_loop(first, first + count, one_step, begin)
    return state, total / count


@jax.jit
def _discrepancies(nets: Net, inputs: Float[Array, "K x"]) -> Float[Array, " K"]:
    """Return the discrepancy of the members on every transition."""

    def one(x: Array) -> Array:
        return discrepancy(jax.vmap(lambda net: predicted(net, x))(nets))

    return jax.lax.map(one, inputs, batch_size=_ROWS)


def pessimistic_world(
    ensemble: Ensemble, data: Transitions, task: Task, settings: MOReLSettings, seed: int
) -> World:
    """Return the pessimistic MDP: the world that the policy is trained in.

    Args:
        ensemble: trained on the data.
        data: where imagined episodes begin, and the smallest reward.
        task: rewards, ends, actions and longest episode.
        settings: threshold, penalty and starts.
        seed: of the draw of the starts.
    """
    rewards = jax.vmap(task.reward)(
        jnp.asarray(data.state, jnp.float32),
        jnp.asarray(data.action, jnp.int32 if task.n_actions else jnp.float32),
        jnp.asarray(data.next_state, jnp.float32),
    )
    each = float(rewards.min()) - settings.penalty
    discount, norm = settings.policy.discount, ensemble.normalizer
    stack = pessimistic_stack(
        ensemble.nets, norm, settings.threshold * float(ensemble.apart.max()), task.n_actions or 0
    )
    return World.of_task(
        task,
        stack,
        start_states(data, settings, seed),
        scale=StateScale(norm.state_mean, norm.state_scale, norm.angles),
        unknown=is_unknown,
        halt_reward=discount * each / (1.0 - discount),
    )


def start_states(data: Transitions, settings: MOReLSettings, seed: int) -> np.ndarray:
    """Return states that imagined episodes begin in, raw units, ``(S, D)``.

    Args:
        data: recorded transitions.
        settings: how many, and the share that lies anywhere in the data.
        seed: of the draw.
    """
    rng = np.random.default_rng((seed, 21))
    n_any = round(settings.start_share * settings.n_starts)
    firsts = data.state[data.step == 0]
    anywhere = data.state[rng.integers(0, len(data.state), n_any)]
    begun = firsts[rng.integers(0, len(firsts), settings.n_starts - n_any)]
    return np.concatenate([begun, anywhere])
