"""Learn a simulator for every agent of a panel.

    1. hold out the last transitions of some agents
    2. train on the rest, for several lengths of training and shrinkages; keep the best pair
    3. train the ensemble on everything with that pair
    4. solve for every agent's factors in closed form, given the nets (in step 2 as well)
    5. turn the held-out errors of step 2 into a prediction band

The agents' data is scarce, so nothing of it is lost: step 3 sees all of it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
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
from twinfold.models.refit import refit_factors
from twinfold.models.schedule import Job, Progress, run_jobs
from twinfold.models.train import TrainData

Log = Callable[[str], None]
# Held-out errors, in standard deviations, beyond which worse is not worse and better not better.
_WORST, _BEST = 10.0, 1e-6


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
    data = dataset.transitions()
    if out is None:
        return _fit(dataset, data, config, source, log, progress, None)
    writer = RunWriter(out, config, _identity(dataset, data))
    try:
        if writer.resumed:
            log(f"going on with the interrupted fit in {writer.partial}")
        return _fit(dataset, data, config, source, log, progress, writer)
    finally:
        writer.close()


def _identity(dataset: PanelDataset, data: Transitions) -> str:
    """SHA-256 (hex) of all that a resumed fit relies on: the data, and the order it is held in.

    The fingerprint alone is the same for another order of agents and another time step.
    """
    digest = hashlib.sha256(dataset.fingerprint().encode())
    digest.update(json.dumps(dataset.agent_ids).encode())
    digest.update(data.agent.tobytes() + data.segment.tobytes() + data.step.tobytes())
    return digest.hexdigest()


def _fit(
    dataset: PanelDataset,
    data: Transitions,
    config: FitConfig,
    source: Mapping[str, Any] | None,
    log: Log,
    progress: Progress | None,
    writer: RunWriter | None,
) -> FittedModel:
    begun = time.perf_counter()
    levels = dataset.action_levels
    action_size = data.action.shape[1] if levels is None else len(levels)
    rank = resolve_rank(config, action_size, levels is not None)
    log(
        f"{dataset.n_agents} agents, {len(data)} transitions, {data.state.shape[1]} state columns, "
        f"{dataset.roles.action_type} action; rank {rank}, {config.members} members"
    )
    steps, shrinkage, band, validation = _choose(dataset, data, config, log, progress, writer)
    log(f"training {config.members} members for {steps} steps on all {len(data)} transitions")
    normalizer = fit_normalizer(data)
    jobs = [Job(f"member-{m}", m, steps, shrinkage) for m in range(config.members)]
    rows = np.arange(len(data), dtype=np.int32)
    members, losses = _train(
        dataset, data, rows, normalizer, jobs, config, progress, writer, "training"
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
            "fingerprint": dataset.fingerprint(),
            "source": dict(source or {}),
            "agents": dataset.n_agents,
            "transitions": len(data),
            "rank": rank,
            "steps": steps,
            "shrinkage": shrinkage,
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

    members, losses = run_jobs(jobs, train_data, rows, init, config, progress, writer, what)
    return refit_factors(members, train_data, rows), losses


def _choose(
    dataset: PanelDataset,
    data: Transitions,
    config: FitConfig,
    log: Log,
    progress: Progress | None,
    writer: RunWriter | None,
) -> tuple[int, float, np.ndarray | None, dict[str, Any]]:
    """Length of training and shrinkage by held-out error; also the band and what was measured."""
    if config.validation_share == 0:
        log("nothing is held out (validation_share = 0): no held-out error and no band")
        return config.steps, config.shrinkages[0], None, {"held_out": 0}
    mask, held = hold_out(
        dataset, config.validation_share, config.validation_suffix, seed=config.seed
    )
    if not len(held):
        log("no agent has two transitions: nothing can be held out, so there is no band")
        # So little data calls for the strongest pull to the mean.
        return config.steps, max(config.shrinkages), None, {"held_out": 0}
    rows = np.flatnonzero(mask).astype(np.int32)
    n_agents = len(np.unique(held.agent))
    log(
        f"choosing length of training and shrinkage: the last {len(data) - len(rows)} transitions "
        f"of {n_agents} agents are held out, predicted up to {held.mask.shape[1]} steps ahead"
    )
    normalizer = fit_normalizer(data.select(rows))
    scale = normalizer.state_scale
    lengths = sorted({max(1, round(share * config.steps)) for share in config.schedules})
    pairs = [(steps, shrinkage) for shrinkage in config.shrinkages for steps in lengths]
    jobs = [
        Job(f"trial-{steps}-{shrinkage}-{m}", 1000 + m, steps, shrinkage)
        for steps, shrinkage in pairs
        for m in range(config.validation_members)
    ]
    members, _ = _train(
        dataset, data, rows, normalizer, jobs, config, progress, writer, "choosing the schedule"
    )
    trials = []
    for k, (steps, shrinkage) in enumerate(pairs):
        chosen = slice(k * config.validation_members, (k + 1) * config.validation_members)
        stack = jax.tree.map(lambda leaf, s=chosen: leaf[s], members)
        paths = centre(rollout_members(stack, normalizer, held.agent, held.state, held.action))
        errors = _held_out_rmse(paths, held, scale)
        typical, mean = float(np.exp(np.log(errors).mean())), float(errors.mean())
        log(
            f"  {steps:>7} steps, shrinkage {shrinkage:g}: held-out error {typical:.4g} "
            f"(arithmetic mean {mean:.4g})"
        )
        trials.append((typical, mean, steps, shrinkage, paths))
    # The geometric mean: a tenth off every agent's error counts, whether the agent is easy or hard.
    _, error, steps, shrinkage, paths = min(trials, key=lambda trial: trial[0])
    persistence = np.broadcast_to(held.state[:, None], paths.shape)
    baseline = float(_held_out_rmse(persistence, held, scale).mean())
    log(
        f"  chosen: {steps} steps, shrinkage {shrinkage:g} (geometric mean over stretches, in "
        f"standard deviations of the state; predicting no change has a mean of {baseline:.4g})"
    )
    if np.ceil((len(held) + 1) * config.band) > len(held):
        log(
            f"warning: only {len(held)} held-out stretches: the band is the largest error seen in "
            f"them, too few for a {100 * config.band:.0f} % band"
        )
    if error > baseline:
        log("warning: held-out predictions are worse than predicting no change; do not rely on it")
    validation = {
        "held_out": int((~mask).sum()),
        "held_out_agents": n_agents,
        "horizon": int(held.mask.shape[1]),
        "stretches": len(held),
        "unit": "standard deviations of the state; over stretches, of the RMSE over steps",
        "trials": [
            {
                "steps": n,
                "shrinkage": weight,
                "geometric_mean": float(f"{typical:.6g}"),
                "mean": float(f"{mean:.6g}"),
            }
            for typical, mean, n, weight, _ in trials
        ],
        "by_steps": {
            str(n): float(f"{typical:.6g}")
            for typical, _, n, weight, _ in trials
            if weight == shrinkage
        },
        "rmse": round(error, 6),
        "persistence_rmse": round(baseline, 6),
        "rmse_by_horizon": _by_horizon(paths, held, scale),
    }
    return steps, shrinkage, _band(paths, held, config.band), validation


def _held_out_rmse(paths: np.ndarray, held: HeldOut, scale: np.ndarray) -> np.ndarray:
    """RMSE of each stretch ``(S,)`` over steps and coordinates, in standard deviations."""
    error = (paths - held.next_state) / scale
    squared = np.where(
        held.mask, np.nan_to_num(error**2, nan=np.inf, posinf=np.inf).mean(axis=-1), 0.0
    )
    rmse = np.sqrt(squared.sum(axis=1) / held.mask.sum(axis=1))
    return np.clip(rmse, _BEST, _WORST)


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
