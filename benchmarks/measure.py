"""What the benchmarks share: one core, interleaved timing, a stated machine, a random model.

A benchmark compares two things in one run and prints their ratio, because absolute times depend on
the machine and on what else it does. What is compared takes turns, so that a slow moment hits
both. Nothing here imports JAX before it is used: cores must be chosen first.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinfold.config import FitConfig
    from twinfold.models.fitted_model import FittedModel
    from twinfold.tasks import Task


def pin_to_one_core() -> None:
    """Keep this process on one core; to be called before JAX is imported.

    Where the system cannot do that (macOS), JAX's own pool is limited to one thread instead.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def state_machine() -> None:
    """Print on what the figures below were measured."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {cores()} used; load before {load}; "
        f"Python {platform.python_version()}"
    )


def interleaved(
    functions: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call of each function, which take turns.

    Args:
        functions: name -> what to time; its result is waited for if it is JAX's.
        repeats: timed calls of each.
        warm_up: calls of each before, which compile.
    """
    import jax

    for function in functions.values():
        for _ in range(warm_up):
            jax.block_until_ready(function())
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begun = time.perf_counter()
            jax.block_until_ready(function())
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median over the rounds of one time over another that was taken right beside it."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def line(name: str, seconds: list[float], scale: float = 1.0, unit: str = "s") -> None:
    """Print the median and the fastest of repeated times."""
    middle, least = statistics.median(seconds) * scale, min(seconds) * scale
    print(f"{name:<58} {middle:9.3f} {unit}   (fastest of {len(seconds)}: {least:.3f})")


def random_model(task: Task, config: FitConfig, n_agents: int = 500) -> FittedModel:
    """A model with random weights and the shapes of one that was fitted on a task's data."""
    import jax
    import numpy as np

    from twinfold.benchmark.collect import task_roles
    from twinfold.data.transitions import DataRanges
    from twinfold.models.factor_model import init_factor_model
    from twinfold.models.fitted_model import DataSample, FittedModel
    from twinfold.models.linear_sums import LinearData
    from twinfold.models.normalizer import Normalizer
    from twinfold.models.posterior import Posterior

    if task.n_actions is None:
        raise SystemExit(f"{task.name} has continuous actions; choose a task with discrete ones")
    n_state, levels = len(task.state_names), task.n_actions

    def one(key: jax.Array) -> Any:
        return init_factor_model(key, config, n_agents, n_state, levels, True)

    zeros, ones = np.zeros(n_state), np.ones(n_state)
    scale = (task.state_high - task.state_low) / 4
    members = jax.vmap(one)(jax.random.split(jax.random.key(config.seed), config.members))
    # Small differences: 50 steps of random weights stay within ordinary numbers.
    normalizer = Normalizer(
        state_mean=zeros,
        state_scale=scale,
        keep=ones,
        target_mean=zeros,
        target_scale=0.01 * scale,
        wave_mean=np.zeros(0),
        wave_scale=np.zeros(0),
        action_mean=np.zeros(0),
        action_scale=np.zeros(0),
        low=-np.inf * ones,
        high=np.inf * ones,
    )
    return FittedModel(
        members=members,
        normalizer=normalizer,
        config=config,
        roles=task_roles(task),
        agent_ids=tuple(range(n_agents)),
        action_levels=np.arange(levels),
        time_step=1.0,
        ranges=DataRanges(task.state_low, task.state_high, np.zeros(1), np.full(1, levels - 1.0)),
        band=np.linspace(0.01, 0.1, 50)[:, None] * scale,
        sample=DataSample(np.zeros((1, n_state)), np.zeros(1, np.int32), np.zeros(1, np.int32)),
        posterior=Posterior.certain(np.asarray(members.agents, np.float64), n_state),
        sums=LinearData.none(normalizer, n_agents, levels),
        recent=np.full((n_agents, n_state), np.nan),
    )
