"""Running several training jobs at once, chunk by chunk, with progress and resumption.

On a CPU each member is a job of its own and the jobs share the cores: a step is too small to be
split. On an accelerator all members of the same length form one vmapped group.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.config import FitConfig
from twinfold.models.factor import FactorModel
from twinfold.models.train import (
    CHUNK,
    Layout,
    TrainData,
    TrainState,
    batches,
    init_state,
    run_chunk,
)

if TYPE_CHECKING:
    from twinfold.models.checkpoint import RunWriter

Progress = Callable[[str, int, int], None]
_SAVE_EVERY = 10.0  # seconds between two saves of a running job


@dataclass(frozen=True)
class Job:
    """One member to train.

    Attributes:
        name: unique within a fit; names the file of its state.
        member: number that tells its randomness from that of other members.
        steps: length of training.
        shrinkage: penalty on the distance of agent factors from their mean.
    """

    name: str
    member: int
    steps: int
    shrinkage: float


@dataclass
class _Group:
    """Jobs of one length that run as one vmapped program."""

    jobs: tuple[Job, ...]
    state: TrainState
    step: int = 0
    loss: np.ndarray = field(default_factory=lambda: np.zeros(0))
    saved: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return "+".join(job.name for job in self.jobs)

    @property
    def steps(self) -> int:
        return self.jobs[0].steps

    @property
    def left(self) -> int:
        return self.steps - self.step


def run_jobs(
    jobs: Sequence[Job],
    data: TrainData,
    rows: np.ndarray,
    init: Callable[[int], FactorModel],
    config: FitConfig,
    progress: Progress | None,
    writer: RunWriter | None,
    what: str,
) -> tuple[FactorModel, np.ndarray]:
    """Train all jobs; the longest remaining one goes first, so that the cores end together.

    Args:
        jobs: the members to train.
        data: standardised transitions.
        rows: row numbers of ``data`` to train on, int32.
        init: member number -> fresh member.
        config: optimiser settings.
        progress: receives (what, steps done, steps in all).
        writer: keeps the state of unfinished training; None to keep nothing.
        what: name of this stage, for the progress.

    Returns:
        The stack of trained members in the order of ``jobs``, and their last losses ``(J,)``.
    """
    layout = Layout.of(jax.eval_shape(init, 0))
    groups = [_start(chunk, init, writer) for chunk in _grouped(jobs)]
    total = sum(job.steps for job in jobs)
    n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
    running: dict[Future[None], _Group] = {}
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            while running or any(group.left for group in groups):
                busy = {id(group) for group in running.values()}
                idle = [group for group in groups if group.left and id(group) not in busy]
                for group in sorted(idle, key=lambda g: -g.left)[: n_threads - len(running)]:
                    running[pool.submit(_advance, group, layout, data, rows, config)] = group
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    group = running.pop(future)
                    future.result()
                    if writer is not None and (
                        not group.left or time.monotonic() - group.saved > _SAVE_EVERY
                    ):
                        writer.save_state(group.name, group.step, group.loss, group.state)
                        group.saved = time.monotonic()
                if progress is not None:
                    progress(what, sum(g.step * len(g.jobs) for g in groups), total)
        except BaseException:
            # Let the chunks in flight end, then keep what they reached.
            wait(running)
            if writer is not None:
                for group in groups:
                    writer.save_state(group.name, group.step, group.loss, group.state)
            raise
    order = {job.name: k for k, job in enumerate(job for group in groups for job in group.jobs)}
    index = np.array([order[job.name] for job in jobs])
    vectors = jnp.concatenate([group.state.vector for group in groups])[index]
    losses = np.concatenate([group.loss for group in groups])[index]
    return jax.vmap(layout.unflatten)(vectors), losses


def _grouped(jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    if jax.default_backend() == "cpu":
        return [(job,) for job in jobs]
    lengths = sorted({job.steps for job in jobs})
    return [tuple(job for job in jobs if job.steps == length) for length in lengths]


def _start(
    jobs: tuple[Job, ...], init: Callable[[int], FactorModel], writer: RunWriter | None
) -> _Group:
    state = init_state([init(job.member) for job in jobs])
    group = _Group(jobs, state, loss=np.zeros(len(jobs)))
    saved = writer.load_state(group.name, group.state) if writer is not None else None
    if saved is not None:
        group.step, group.loss, group.state = saved
    return group


def _advance(
    group: _Group, layout: Layout, data: TrainData, rows: np.ndarray, config: FitConfig
) -> None:
    streams = [
        batches(config.seed, job.member, group.step, rows, config.batch_size) for job in group.jobs
    ]
    state, loss = run_chunk(
        layout,
        group.state,
        data,
        jnp.asarray(np.stack(streams, axis=1)),
        jnp.asarray(group.step),
        jnp.asarray(group.steps),
        jnp.asarray(config.learning_rate, jnp.float32),
        jnp.asarray([job.shrinkage / len(rows) for job in group.jobs], jnp.float32),
    )
    group.state, group.loss = state, np.asarray(loss)
    group.step = min(group.step + CHUNK, group.steps)
