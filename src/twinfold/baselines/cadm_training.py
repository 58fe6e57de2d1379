"""Training of CaDM on recorded trajectories: one compiled loop over steps, members on all cores.

A batch holds pairs: a step t, whose history gives the context, and a step t + i of the same
trajectory, i = 0 .. M-1, that is predicted with it. Every pair of the data is as likely.
"""

from __future__ import annotations

import datetime
import functools
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.baselines.cadm import Batch, CaDMNets, action_code, loss_of, random_nets
from twinfold.baselines.cadm_model import CaDM, CaDMInfo
from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import fit_normalizer
from twinfold.models.run_info import HIDDEN
from twinfold.utils.cores import usable_cores
from twinfold.utils.seeds import check_seed

Progress = Callable[[str, int, int], None]
_CHUNK = 100  # steps of a member between two looks at progress and interrupts


class Steps(NamedTuple):
    """All K recorded steps, standardised, ordered by agent, episode and time.

    Attributes:
        inputs: ``(K, n_inputs)``, what the nets read of the states.
        after: ``(K, n_inputs)``, of the next states.
        action: ``(K, C)``, codes.
        target: ``(K, D)``, standardised differences.
        place: ``(K,)``, of the step in its trajectory, from 0.
    """

    inputs: Array
    after: Array
    action: Array
    target: Array
    place: Array


class Training(NamedTuple):
    """A member in training: its nets, and what Adam remembers."""

    nets: Any
    adam: Any


def fit_cadm(
    dataset: PanelDataset,
    settings: CaDMSettings | None = None,
    variant: Variant = "vanilla",
    seed: int = 0,
    *,
    source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> CaDM:
    """Return a CaDM fitted on a panel.

    Args:
        dataset: the data.
        settings: the published ones if None.
        variant: ``"vanilla"`` (one deterministic net) or ``"pe-ts"`` (probabilistic ensemble).
        seed: of the weights, the batches and the particles.
        source: where the data comes from, for the record; true physics are left out.
        progress: receives (what, steps done, steps in all).

    Raises:
        UsageError: the seed cannot be used.
    """
    check_seed(seed)
    settings = settings or CaDMSettings()
    begun = time.perf_counter()
    transitions = dataset.transitions()
    normalizer = unlimited_normalizer(dataset)
    n_levels = 0 if dataset.action_levels is None else len(dataset.action_levels)
    steps = standardised(transitions, normalizer, n_levels)
    pairs = context_pairs(transitions, settings.future)

    sizes = steps.inputs.shape[1], steps.action.shape[1], steps.target.shape[1]
    keys = jax.random.split(jax.random.key(seed), settings.n_members(variant))
    starts = [random_nets(jax.random.fold_in(key, 0), settings, variant, *sizes) for key in keys]
    members, losses = _train_members(starts, keys, steps, pairs, settings, progress)

    return CaDM(
        nets=jax.tree.map(lambda *leaves: jnp.stack(leaves), *members),
        normalizer=normalizer,
        config=settings,
        variant=variant,
        seed=seed,
        roles=dataset.roles,
        action_levels=dataset.action_levels,
        info=CaDMInfo(
            twinfold=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            jax=jax.__version__,
            device=jax.devices()[0].device_kind,
            fingerprint=dataset.fingerprint(),
            source={key: value for key, value in (source or {}).items() if key not in HIDDEN},
            agents=dataset.n_agents,
            transitions=len(transitions),
            steps=settings.steps,
            training_loss=tuple(loss if np.isfinite(loss) else None for loss in losses),
            seconds=round(time.perf_counter() - begun, 2),
        ),
    )


def unlimited_normalizer(dataset: PanelDataset) -> Normalizer:
    """Return the standardisation of a panel without our limits on what may be predicted.

    The published method has none: predictions may leave the data.
    """
    angles = [dataset.roles.state.index(name) for name in dataset.roles.angle]
    dataset.refuse_known_inputs()
    found = fit_normalizer(dataset.transitions(), angles)
    endless = np.full(len(dataset.roles.state), np.inf)
    return eqx.tree_at(
        lambda n: (n.low, n.high, n.target_low, n.target_high),
        found,
        (-endless, endless, -endless, endless),
    )


def standardised(data: Transitions, normalizer: Normalizer, n_levels: int) -> Steps:
    """Return transitions as the nets read them."""

    def inputs(states: NDArray[Any]) -> Array:
        return jnp.asarray(normalizer.inputs(normalizer.encode_state(states)), jnp.float32)

    return Steps(
        inputs=inputs(data.state),
        after=inputs(data.next_state),
        action=jnp.asarray(action_code(normalizer, n_levels, data.action), jnp.float32),
        target=jnp.asarray(normalizer.encode_target(data.state, data.next_state), jnp.float32),
        place=jnp.asarray(data.step),
    )


def context_pairs(data: Transitions, future: int) -> Int[Array, "P 2"]:
    """Return all pairs (row of the context, row that is predicted) within a trajectory.

    Args:
        data: transitions ordered by agent, episode and time.
        future: rows that one context predicts, where the trajectory is as long.
    """
    rows = np.arange(len(data))
    ends = np.searchsorted(data.segment, data.segment, side="right")
    length = np.minimum(future, ends - rows)
    first = np.repeat(rows, length)
    offset = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return jnp.asarray(np.stack([first, first + offset], axis=1), jnp.int32)


def gather(steps: Steps, pairs: Int[Array, "B 2"], history: int) -> Batch:
    """Return the batch of some pairs.

    Args:
        steps: of the data.
        pairs: row of the context and row that is predicted.
        history: steps before the first that are read, where the trajectory has as many.
    """
    first, row = pairs[:, 0], pairs[:, 1]
    back = jnp.arange(history, 0, -1)  # the latest last
    before = jnp.maximum(first[:, None] - back, 0)  # (B, K)
    return Batch(
        steps=jnp.concatenate([steps.target[before], steps.action[before]], axis=-1),
        mask=back <= steps.place[first][:, None],
        inputs=steps.inputs[row],
        after=steps.after[row],
        action=steps.action[row],
        target=steps.target[row],
    )


@functools.partial(jax.jit, static_argnames="settings", donate_argnames="state")
def _train_chunk(
    state: Training,
    key: Array,
    steps: Steps,
    pairs: Int[Array, "P 2"],
    first: Int[Array, ""],
    count: Int[Array, ""],
    settings: CaDMSettings,
) -> tuple[Training, Array]:
    """Take ``count`` steps of one member from number ``first`` on; return it and its mean loss."""
    adam = optax.adam(settings.learning_rate)

    def one_step(number: Array, now: tuple[Training, Array]) -> tuple[Training, Array]:
        (nets, memory), total = now
        drawn = jax.random.randint(
            jax.random.fold_in(key, number), (settings.batch,), 0, len(pairs)
        )
        batch = gather(steps, pairs[drawn], settings.history)
        loss, gradient = jax.value_and_grad(loss_of)(nets, batch, settings)
        update, memory = adam.update(gradient, memory)
        return Training(optax.apply_updates(nets, update), memory), total + loss

    state, total = jax.lax.fori_loop(first, first + count, one_step, (state, jnp.zeros(())))
    return state, total / count


def _train_members(
    starts: list[CaDMNets],
    keys: Array,
    steps: Steps,
    pairs: Array,
    settings: CaDMSettings,
    progress: Progress | None,
) -> tuple[list[CaDMNets], list[float]]:
    """Train every member on a core of its own; an interrupt ends them all after their chunk."""
    done = [0] * len(starts)
    stopped, told = threading.Event(), threading.Lock()
    adam = optax.adam(settings.learning_rate)
    states = [Training(nets, adam.init(nets)) for nets in starts]  # pyright: ignore
    nothing = jnp.int32(0), jnp.int32(0)
    # Compiled before the threads begin, or each would do it.
    program = _train_chunk.lower(states[0], keys[0], steps, pairs, *nothing, settings).compile()

    def train(member: int) -> tuple[CaDMNets, float]:
        state, key, loss = states[member], jax.random.fold_in(keys[member], 1), jnp.nan
        while done[member] < settings.steps and not stopped.is_set():
            first = done[member]
            count = min(_CHUNK, settings.steps - first)
            state, loss = program(state, key, steps, pairs, jnp.int32(first), jnp.int32(count))
            loss = float(loss)  # waits for the chunk, so that progress is true
            with told:
                done[member] += count
                if progress is not None:
                    progress("training of CaDM", sum(done), settings.steps * len(starts))
        return state.nets, float(loss)

    with ThreadPoolExecutor(usable_cores()) as pool:
        try:
            found = list(pool.map(train, range(len(starts))))
        finally:
            stopped.set()
    return [nets for nets, _ in found], [loss for _, loss in found]
