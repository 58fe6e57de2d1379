"""Learn a simulator for every agent of a panel.

    1. hold out the last transitions of some agents
    2. train a small ensemble on the rest, for several lengths of training; keep the best length
    3. train the ensemble on everything for that length
    4. turn the held-out errors of step 2 into a prediction band

The agents' data is scarce, so nothing of it is lost: step 3 sees all of it.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinfold import __version__
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset, Transitions
from twinfold.data.split import HeldOut, hold_out
from twinfold.models.checkpoint import RunWriter
from twinfold.models.ensemble import FittedModel, centre, rollout_members
from twinfold.models.factor import FactorModel, init_factor_model, resolve_rank
from twinfold.models.normalizer import Normalizer, fit_normalizer
from twinfold.models.schedule import Job, Progress, run_jobs
from twinfold.models.train import TrainData

Log = Callable[[str], None]
_WORST = 10.0  # a held-out error, in standard deviations, beyond which worse is not worse


def fit(
    dataset: PanelDataset,
    config: FitConfig | None = None,
    *,
    out: str | Path | None = None,
    source: Mapping[str, Any] | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> FittedModel:
    """Learn a simulator for every agent (PerSim, section 4).

    Args:
        dataset: the panel.
        config: settings; the defaults are meant for any panel.
        out: run directory to write. While the fit runs, its state is kept in ``<out>.partial``;
            an interrupted fit started again with the same data and settings goes on from there,
            to the same result.
        source: where the data came from, kept in the run; never a model input.
        log: receives one line per thing worth knowing.
        progress: receives (what, steps done, steps in all) about ten times a second.

    Raises:
        UsageError: the run directory exists.
        RunError: the partial run belongs to other data or settings.
    """
    config = config or FitConfig()
    log = log or (lambda line: None)
    begun = time.perf_counter()
    fingerprint = dataset.fingerprint()
    writer = RunWriter(out, config, fingerprint) if out is not None else None
    if writer is not None and writer.resumed:
        log(f"going on with the interrupted fit in {writer.partial}")
    data = dataset.transitions()
    levels = dataset.action_levels
    action_size = data.action.shape[1] if levels is None else len(levels)
    rank = resolve_rank(config, action_size, levels is not None)
    log(
        f"{dataset.n_agents} agents, {len(data)} transitions, {data.state.shape[1]} state columns, "
        f"{dataset.roles.action_type} action; rank {rank}, {config.members} members"
    )
    steps, band, validation = _choose_steps(dataset, data, config, log, progress, writer)
    log(f"training {config.members} members for {steps} steps on all {len(data)} transitions")
    normalizer = fit_normalizer(data)
    jobs = [Job(f"member-{m}", m, steps) for m in range(config.members)]
    members, losses = _train(
        dataset,
        data,
        np.arange(len(data), dtype=np.int32),
        normalizer,
        jobs,
        config,
        progress,
        writer,
        "training",
    )
    model = FittedModel(
        members=members,
        normalizer=normalizer,
        config=config,
        roles=dataset.roles,
        agent_ids=dataset.agent_ids,
        action_levels=dataset.action_levels,
        time_step=dataset.time_step,
        ranges=dataset.data_ranges(),
        band=band,
        info={
            "twinfold": __version__,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "jax": jax.__version__,
            "device": jax.devices()[0].platform,
            "fingerprint": fingerprint,
            "source": dict(source or {}),
            "agents": dataset.n_agents,
            "transitions": len(data),
            "rank": rank,
            "steps": steps,
            "validation": validation,
            "training_loss": [round(float(value), 8) for value in losses],
            "seconds": round(time.perf_counter() - begun, 2),
        },
    )
    if writer is not None:
        writer.finish(model)
    log(f"fitted in {time.perf_counter() - begun:.1f} s")
    return model


def _train(
    dataset: PanelDataset,
    data: Transitions,
    rows: np.ndarray,
    normalizer: Normalizer,
    jobs: list[Job],
    config: FitConfig,
    progress: Progress | None,
    writer: RunWriter | None,
    what: str,
) -> tuple[FactorModel, np.ndarray]:
    """Train some members on some rows; returns their stack and their last losses.

    All rows go to the device, so that this and the next call are one compiled program.
    """
    levels = dataset.action_levels
    action_size = data.action.shape[1] if levels is None else len(levels)
    n_state = data.state.shape[1]
    codes = normalizer.encode_action(data.action)
    train_data = TrainData(
        agent=jnp.asarray(data.agent, jnp.int32),
        state=jnp.asarray(normalizer.encode_state(data.state), jnp.float32),
        action=jnp.asarray(codes, jnp.int32 if levels is not None else jnp.float32),
        target=jnp.asarray(normalizer.encode_target(data.state, data.next_state), jnp.float32),
    )

    def init(member: int) -> FactorModel:
        key = jax.random.fold_in(jax.random.key(config.seed), member)
        return init_factor_model(
            key, config, dataset.n_agents, n_state, action_size, levels is not None
        )

    return run_jobs(jobs, train_data, rows, init, config, progress, writer, what)


def _choose_steps(
    dataset: PanelDataset,
    data: Transitions,
    config: FitConfig,
    log: Log,
    progress: Progress | None,
    writer: RunWriter | None,
) -> tuple[int, np.ndarray | None, dict[str, Any]]:
    """Length of training by held-out multi-step error; also the band, and what was measured."""
    lengths = sorted({max(1, round(share * config.steps)) for share in config.schedules})
    if config.validation_share == 0:
        log("nothing is held out (validation_share = 0): no held-out error and no band")
        return config.steps, None, {"held_out": 0}
    mask, held = hold_out(
        dataset, config.validation_share, config.validation_suffix, seed=config.seed
    )
    if not len(held):
        log("no agent has two transitions: nothing can be held out, so there is no band")
        return config.steps, None, {"held_out": 0}
    rows = np.flatnonzero(mask).astype(np.int32)
    n_agents = len(np.unique(held.agent))
    log(
        f"choosing the length of training: the last {len(data) - len(rows)} transitions of "
        f"{n_agents} agents are held out, predicted up to {held.mask.shape[1]} steps ahead"
    )
    normalizer = fit_normalizer(data.select(rows))
    scale = normalizer.state_scale
    jobs = [
        Job(f"validation-{length}-{m}", 1000 + m, length)
        for length in lengths
        for m in range(config.validation_members)
    ]
    members, _ = _train(
        dataset, data, rows, normalizer, jobs, config, progress, writer, "choosing the length"
    )
    tried = []
    for k, length in enumerate(lengths):
        chosen = slice(k * config.validation_members, (k + 1) * config.validation_members)
        stack = jax.tree.map(lambda leaf, s=chosen: leaf[s], members)
        paths = centre(rollout_members(stack, normalizer, held.agent, held.state, held.action))
        tried.append((_held_out_rmse(paths, held, scale), length, paths))
    error, steps, paths = min(tried, key=lambda item: item[0])
    persistence = np.broadcast_to(held.state[:, None], paths.shape)
    baseline = _held_out_rmse(persistence, held, scale)
    for other, length, _ in tried:
        log(f"  {length:>7} steps: held-out error {other:.4g} standard deviations")
    log(f"  chosen: {steps} steps (predicting no change at all: {baseline:.4g})")
    if error > baseline:
        log("warning: held-out predictions are worse than predicting no change; do not rely on it")
    validation = {
        "held_out": int((~mask).sum()),
        "held_out_agents": n_agents,
        "horizon": int(held.mask.shape[1]),
        "stretches": len(held),
        "unit": "standard deviations of the state, mean over stretches of the RMSE over steps",
        "by_steps": {str(length): round(other, 6) for other, length, _ in tried},
        "rmse": round(error, 6),
        "persistence_rmse": round(baseline, 6),
        "rmse_by_horizon": _by_horizon(paths, held, scale),
    }
    return steps, _band(paths, held, config.band), validation


def _held_out_rmse(paths: np.ndarray, held: HeldOut, scale: np.ndarray) -> float:
    """Mean over stretches of the RMSE over steps and coordinates, in standard deviations."""
    error = (paths - held.next_state) / scale
    squared = np.where(held.mask, np.nan_to_num(error**2, nan=np.inf).mean(axis=-1), 0.0)
    rmse = np.sqrt(squared.sum(axis=1) / held.mask.sum(axis=1))
    return float(np.minimum(rmse, _WORST).mean())


def _by_horizon(paths: np.ndarray, held: HeldOut, scale: np.ndarray) -> list[float]:
    """RMSE over stretches and coordinates after 1, 2, ... steps, in standard deviations."""
    squared = np.minimum((((paths - held.next_state) / scale) ** 2).mean(axis=-1), _WORST**2)
    squared = np.where(held.mask, np.nan_to_num(squared, nan=_WORST**2), 0.0)
    mean = squared.sum(axis=0) / np.maximum(held.mask.sum(axis=0), 1)
    return [float(f"{value:.4g}") for value in np.sqrt(mean)]


def _band(paths: np.ndarray, held: HeldOut, coverage: float) -> np.ndarray:
    """Half-width ``(H, D)`` of the band: a quantile of the absolute held-out errors by horizon.

    The quantile at level ceil((n + 1) coverage) / n of split conformal prediction; made
    non-decreasing in the horizon, where few stretches are long enough.
    """
    error = np.where(held.mask[..., None], np.abs(paths - held.next_state), np.nan)
    error = np.where(np.isfinite(error) | ~held.mask[..., None], error, np.inf)
    width = np.empty(error.shape[1:])
    for step in range(len(width)):
        seen = np.sort(error[held.mask[:, step], step], axis=0)  # (n, D)
        rank = min(len(seen), int(np.ceil((len(seen) + 1) * coverage)))
        width[step] = seen[rank - 1]
    return np.maximum.accumulate(width, axis=0)
