"""Running several training jobs at once, chunk by chunk, with progress and resumption.

On a CPU each member is a job of its own and the jobs share the cores: a step is too small to be
split. On an accelerator all members of the same length form one vmapped group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from twinfold.config import FitConfig
from twinfold.models.factor_model import FactorModel, Structure
from twinfold.training.regression_settings import REGRESSION
from twinfold.training.train_step import (
    CHUNK,
    Layout,
    TrainData,
    TrainState,
    Unroll,
    batches,
    init_state,
    restarted,
    run_chunk,
)
from twinfold.utils.cores import usable_cores
from twinfold.utils.device import on_device

if TYPE_CHECKING:
    from twinfold.training.run_writer import RunWriter

Progress = Callable[[str, int, int], None]
_SAVE_EVERY = 10.0  # seconds between two saves of a running job
_UNROLLED_CHUNK = 50  # steps per call, as long as CHUNK simple ones


@dataclass(frozen=True)
class MemberJob:
    """One member to train.

    Attributes:
        name: unique within a fit; names the file of its state.
        member: number that tells its randomness from that of other members.
        steps: length of training.
        shrinkage: penalty on the distance of agent factors from their mean.
        structure: kind and number of the features.
        unrolled: length of a second phase of training, on predictions over several steps.
    """

    name: str
    member: int
    steps: int
    shrinkage: float
    structure: Structure
    unrolled: int = 0


@dataclass
class _Group:
    """Jobs of one length that run as one vmapped program."""

    jobs: tuple[MemberJob, ...]
    layout: Layout
    state: TrainState
    step: int = 0
    loss: np.ndarray = field(default_factory=lambda: np.zeros(0))
    saved: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        return "+".join(job.name for job in self.jobs)

    @property
    def steps(self) -> int:
        return self.jobs[0].steps + self.jobs[0].unrolled

    @property
    def left(self) -> int:
        return self.steps - self.step


def run_jobs(
    jobs: Sequence[MemberJob],
    data: TrainData,
    rows: np.ndarray,
    init: Callable[[MemberJob], FactorModel],
    config: FitConfig,
    progress: Progress | None,
    writer: RunWriter | None,
    what: str,
    unroll: tuple[Unroll, np.ndarray] | None = None,
) -> tuple[list[FactorModel], np.ndarray]:
    """Train all jobs; the longest remaining one goes first, so that the cores end together.

    Args:
        jobs: the members to train.
        data: standardised transitions.
        rows: row numbers of ``data`` to train on, int32.
        init: job -> fresh member, determined by its structure and member number.
        config: optimiser settings.
        progress: receives (what, steps done, steps in all).
        writer: keeps the state of unfinished training; None to keep nothing.
        what: name of this stage, for the progress.
        unroll: for jobs with a second phase, and the row numbers at which it may begin.

    Returns:
        The trained members in the order of ``jobs``, and their last losses ``(J,)``.
    """
    groups = [_start(chunk, init, writer) for chunk in _grouped(jobs)]
    total = sum(job.steps + job.unrolled for job in jobs)

    def advance(group: _Group) -> None:
        _advance(group, data, rows, config, unroll)

    def report() -> None:
        if progress is not None:
            progress(what, sum(g.step * len(g.jobs) for g in groups), total)

    try:
        _train(groups, advance, writer, report)
    except BaseException:
        for group in groups:
            _save(group, writer)
        raise
    found = {
        job.name: (group.layout.unflatten(vector), loss)
        for group in groups
        for job, vector, loss in zip(
            group.jobs, np.asarray(group.state.vector), group.loss, strict=True
        )
    }
    return [found[job.name][0] for job in jobs], np.array([found[job.name][1] for job in jobs])


def _grouped(jobs: Sequence[MemberJob]) -> list[tuple[MemberJob, ...]]:
    if jax.default_backend() == "cpu":
        return [(job,) for job in jobs]
    kinds: dict[Any, list[MemberJob]] = {}
    for job in jobs:
        kinds.setdefault((job.steps, job.unrolled, job.structure), []).append(job)
    return [tuple(kinds[kind]) for kind in sorted(kinds)]


def _start(
    jobs: tuple[MemberJob, ...], init: Callable[[MemberJob], FactorModel], writer: RunWriter | None
) -> _Group:
    models = [init(job) for job in jobs]
    group = _Group(jobs, Layout.of(models[0]), init_state(models), loss=np.zeros(len(jobs)))
    saved = writer.load_state(group.name, group.state) if writer is not None else None
    if saved is not None:
        group.step, group.loss, group.state = saved
    return group


def _train(
    groups: list[_Group],
    advance: Callable[[_Group], None],
    writer: RunWriter | None,
    report: Callable[[], None],
) -> None:
    """Train all groups to their end, chunk by chunk, and save their states from time to time."""
    n_threads = usable_cores()
    running: dict[Future[None], _Group] = {}
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            while running or any(group.left for group in groups):
                busy = {id(group) for group in running.values()}
                idle = [group for group in groups if group.left and id(group) not in busy]
                for group in sorted(idle, key=lambda g: -g.left)[: n_threads - len(running)]:
                    running[pool.submit(advance, group)] = group
                done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    group = running.pop(future)
                    future.result()
                    if not group.left or time.monotonic() - group.saved > _SAVE_EVERY:
                        _save(group, writer)
                report()
        finally:
            wait(running)  # the chunks in flight end, so that what they reached can be kept


def _save(group: _Group, writer: RunWriter | None) -> None:
    """Keep the state of a group, if there is a place for it."""
    if writer is not None:
        writer.save_state(group.name, group.step, group.loss, group.state)
        group.saved = time.monotonic()


def _advance(
    group: _Group,
    data: TrainData,
    rows: np.ndarray,
    config: FitConfig,
    unroll: tuple[Unroll, np.ndarray] | None,
) -> None:
    first = group.jobs[0].steps
    if group.step < first:
        begun, end, count, size = 0, first, CHUNK, config.batch_size
        rate, starts, unrolled = config.learning_rate, rows, None
    else:
        assert unroll is not None, "a job with a second phase needs to know where it may begin"
        begun, end, count = first, group.steps, _UNROLLED_CHUNK
        size, rate = max(1, config.batch_size // 2), REGRESSION.unrolled_rate * config.learning_rate
        unrolled, starts = unroll
        if group.step == first:
            group.state = restarted(group.state)
    step = group.step - begun
    streams = [batches(config.seed, job.member, step, starts, size, count) for job in group.jobs]
    state, loss = run_chunk(
        group.layout,
        group.state,
        data,
        on_device(np.stack(streams, axis=1), np.int32),
        on_device(step, np.int32),
        on_device(end - begun, np.int32),
        on_device(rate),
        on_device([job.shrinkage / len(rows) for job in group.jobs]),
        on_device(config.weight_decay),
        unrolled,
    )
    group.state, group.loss = state, np.asarray(loss)
    group.step = min(group.step + count, end)
