"""Choosing what a fit leaves open, on held-out offline data: features, rank, length, shrinkage.

    1. hold out the last transitions of some agents
    2. train every structure of the features for a while; keep the simplest one that is not clearly
       worse than the best (the one-standard-error rule)
    3. train that structure for several lengths and shrinkages; keep the best pair

The error is that of open-loop predictions over many steps, because a lower one-step loss often does
not mean better rollouts. Stretches count by the logarithm of their error: a tenth off every agent's
error is worth the same, whether the agent is easy or hard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.panel import PanelDataset
from twinfold.data.split import HeldOut, hold_out
from twinfold.models.ensemble import centre, rollout_members
from twinfold.models.factor import FactorModel, Structure, structures
from twinfold.models.members import Problem, stacked, train_members
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import features_of
from twinfold.models.schedule import Job

Log = Callable[[str], None]
Floats = NDArray[np.float64]
# Held-out errors, in standard deviations, beyond which worse is not worse and better not better.
_WORST, _BEST = 10.0, 1e-6
_SAMPLE = 2**14  # held-out transitions that the noise is taken from


class Choice(NamedTuple):
    """What was chosen, and why.

    Attributes:
        structure: of the features.
        steps: length of training.
        shrinkage: penalty on the distance of agent factors from their mean.
        band: ``(H, D)`` half-width of the prediction band by horizon, raw units; None if nothing
            could be held out.
        noise: ``(D,)``, robust scale of the held-out errors of one step, in standard deviations of
            the target; None if nothing could be held out.
        validation: what was measured, plain values.
    """

    structure: Structure
    steps: int
    shrinkage: float
    band: Floats | None
    noise: Floats | None
    validation: dict[str, Any]


class _Trials(NamedTuple):
    """What all trials share."""

    problem: Problem
    rows: NDArray[np.int32]
    normalizer: Normalizer
    held: HeldOut

    def run(self, jobs: list[list[Job]], what: str) -> tuple[list[Floats], list[FactorModel]]:
        """Train each list of jobs, an ensemble.

        Returns:
            What each predicts for the held-out stretches, ``(S, H, D)``, and the stacks.
        """
        flat = [job for group in jobs for job in group]
        members, _ = train_members(self.problem, self.rows, self.normalizer, flat, what)
        stacks, first = [], 0
        for group in jobs:
            stacks.append(stacked(members[first : first + len(group)]))
            first += len(group)
        return [self._predict(stack) for stack in stacks], stacks

    def noise(self, stack: FactorModel) -> Floats:
        """Robust scale ``(D,)`` of the errors of one step, in standard deviations of the target."""
        held, mask = self.held, self.held.mask
        before = np.concatenate([held.state[:, None], held.next_state[:, :-1]], axis=1)[mask]
        rows = np.arange(len(before))[:: -(-len(before) // _SAMPLE)]
        agent = np.broadcast_to(held.agent[:, None], mask.shape)[mask][rows]
        features = features_of(stack, self.normalizer, before[rows], held.action[mask][rows])
        factors = np.asarray(stack.agents, np.float64)[:, agent]
        target = self.normalizer.encode_target(before[rows], held.next_state[mask][rows])
        error = np.abs(target - np.einsum("mkdr,mkr->mkd", features, factors))
        return 1.4826 * np.median(error, axis=(0, 1))

    def _predict(self, members: FactorModel) -> Floats:
        held = self.held
        return centre(
            rollout_members(members, self.normalizer, held.agent, held.state, held.action)
        )

    def error(self, paths: Floats) -> Floats:
        """Errors ``(S, H, D)`` in raw units; those of angles the short way round."""
        error = paths - self.held.next_state
        with np.errstate(invalid="ignore"):  # of a member that diverged
            for d in self.problem.angles:
                error[..., d] = wrap(error[..., d])
        return error

    def rmse(self, paths: Floats) -> Floats:
        """RMSE of each stretch ``(S,)`` over steps and coordinates, in standard deviations."""
        mask = self.held.mask
        error = self.error(paths) / self.normalizer.state_scale
        squared = np.where(mask, np.nan_to_num(error**2, nan=np.inf, posinf=np.inf).mean(-1), 0.0)
        return np.clip(np.sqrt(squared.sum(axis=1) / mask.sum(axis=1)), _BEST, _WORST)


def choose(dataset: PanelDataset, problem: Problem, log: Log) -> Choice:
    """Choose structure, length of training and shrinkage by held-out error.

    Args:
        dataset: the panel.
        problem: its transitions and the settings.
        log: receives one line per thing worth knowing.
    """
    config = problem.config
    options = structures(config, problem.action_size, problem.discrete)
    if config.validation_share == 0:
        log("nothing is held out (validation_share = 0): no held-out error and no band")
        return Choice(options[0], config.steps, config.shrinkages[0], None, None, {"held_out": 0})
    mask, held = hold_out(
        dataset, config.validation_share, config.validation_suffix, seed=config.seed
    )
    if not len(held):
        log("no agent has two transitions: nothing can be held out, so there is no band")
        # So little data calls for the strongest pull to the mean.
        return Choice(options[0], config.steps, max(config.shrinkages), None, None, {"held_out": 0})
    rows = np.flatnonzero(mask).astype(np.int32)
    n_agents, n_out = len(np.unique(held.agent)), int((~mask).sum())
    log(
        f"the last {n_out} transitions of {n_agents} agents are held out, "
        f"predicted up to {held.mask.shape[1]} steps ahead"
    )
    trials = _Trials(problem, rows, problem.normalizer(rows), held)
    structure, compared = _structure(trials, options, log)
    steps, shrinkage, paths, noise, pairs = _schedule(trials, structure, log)

    persistence = np.broadcast_to(held.state[:, None], paths.shape)
    error, baseline = float(trials.rmse(paths).mean()), float(trials.rmse(persistence).mean())
    log(
        f"  chosen: {structure}, {steps} steps, shrinkage {shrinkage:g} (errors are geometric "
        "means over stretches, in standard deviations of the state; predicting no change has an "
        f"arithmetic mean of {baseline:.4g})"
    )
    if np.ceil((len(held) + 1) * config.band) > len(held):
        log(
            f"warning: only {len(held)} held-out stretches: the band is the largest error seen in "
            f"them, too few for a {100 * config.band:.0f} % band"
        )
    if error > baseline:
        log("warning: held-out predictions are worse than predicting no change; do not rely on it")
    validation = {
        "held_out": n_out,
        "held_out_agents": n_agents,
        "horizon": int(held.mask.shape[1]),
        "stretches": len(held),
        "unit": "standard deviations of the state; over stretches, of the RMSE over steps",
        "structures": compared,
        "trials": pairs,
        "by_steps": {
            str(row["steps"]): row["geometric_mean"]
            for row in pairs
            if row["shrinkage"] == shrinkage
        },
        "rmse": round(error, 6),
        "persistence_rmse": round(baseline, 6),
        "rmse_by_horizon": _by_horizon(trials, paths),
    }
    band = _band(trials, paths, config.band)
    return Choice(structure, steps, shrinkage, band, noise, validation)


def _structure(
    trials: _Trials, options: list[Structure], log: Log
) -> tuple[Structure, list[dict[str, Any]]]:
    """The simplest structure within one standard error of the best, and all that were compared."""
    if len(options) == 1:
        return options[0], []
    config = trials.problem.config
    steps = max(1, round(config.structure_share * config.steps))
    shrinkage = min(config.shrinkages)
    log(f"choosing the features: {len(options)} structures, {steps} steps each")
    jobs = [
        [
            Job(f"structure-{k}-{m}", 500 + m, steps, shrinkage, option)
            for m in range(config.validation_members)
        ]
        for k, option in enumerate(options)
    ]
    errors = np.log([trials.rmse(paths) for paths in trials.run(jobs, "choosing the features")[0]])
    by_agent = _agent_means(errors, trials.held.agent)  # (K, n), stretches of an agent are alike
    best = int(by_agent.mean(axis=1).argmin())
    excess = by_agent - by_agent[best]
    mean, spread = excess.mean(axis=1), excess.std(axis=1, ddof=1) if excess.shape[1] > 1 else 0.0
    standard_error = spread / np.sqrt(excess.shape[1])
    rows = []
    for k, option in enumerate(options):
        typical = float(np.exp(by_agent[k].mean()))
        log(
            f"  {option}: held-out error {typical:.4g}"
            + (" (the lowest)" if k == best else f", {100 * np.expm1(mean[k]):.1f} % more")
        )
        rows.append(
            {
                "features": "joint" if option.joint else "separable",
                "rank": option.rank,
                "geometric_mean": float(f"{typical:.6g}"),
                "log_excess": float(f"{mean[k]:.4g}"),
                "standard_error": float(f"{np.broadcast_to(standard_error, mean.shape)[k]:.4g}"),
            }
        )
    chosen = int(np.argmax(mean <= standard_error))
    return options[chosen], rows


def _agent_means(errors: Floats, agent: NDArray[np.integer]) -> Floats:
    """Means over the stretches of each agent: ``(K, S) -> (K, n)``."""
    _, index, counts = np.unique(agent, return_inverse=True, return_counts=True)
    return np.stack([np.bincount(index, row) / counts for row in errors])


def _schedule(
    trials: _Trials, structure: Structure, log: Log
) -> tuple[int, float, Floats, Floats, list[dict[str, Any]]]:
    """The best length of training and shrinkage, its predictions and noise, and all tried."""
    config = trials.problem.config
    unrolled = trials.problem.unrolled_steps(trials.rows)
    lengths = sorted({max(1, round(share * config.steps)) for share in config.schedules})
    pairs = [(steps, shrinkage) for shrinkage in config.shrinkages for steps in lengths]
    log(f"choosing length of training and shrinkage: {len(pairs)} pairs")
    jobs = [
        [
            Job(f"trial-{steps}-{shrinkage}-{m}", 1000 + m, steps, shrinkage, structure, unrolled)
            for m in range(config.validation_members)
        ]
        for steps, shrinkage in pairs
    ]
    predictions, stacks = trials.run(jobs, "choosing the schedule")
    rows = []
    for (steps, shrinkage), paths in zip(pairs, predictions, strict=True):
        errors = trials.rmse(paths)
        typical, mean = float(np.exp(np.log(errors).mean())), float(errors.mean())
        log(
            f"  {steps:>7} steps, shrinkage {shrinkage:g}: held-out error {typical:.4g} "
            f"(arithmetic mean {mean:.4g})"
        )
        rows.append(
            {
                "steps": steps,
                "shrinkage": shrinkage,
                "geometric_mean": float(f"{typical:.6g}"),
                "mean": float(f"{mean:.6g}"),
            }
        )
    best = int(np.argmin([row["geometric_mean"] for row in rows]))
    return *pairs[best], predictions[best], trials.noise(stacks[best]), rows


def _by_horizon(trials: _Trials, paths: Floats) -> list[float]:
    """RMSE over stretches and coordinates after 1, 2, ... steps, in standard deviations."""
    mask = trials.held.mask
    error = trials.error(paths) / trials.normalizer.state_scale
    squared = np.minimum((error**2).mean(axis=-1), _WORST**2)
    squared = np.where(mask, np.nan_to_num(squared, nan=_WORST**2), 0.0)
    mean = squared.sum(axis=0) / np.maximum(mask.sum(axis=0), 1)
    return [float(f"{value:.4g}") for value in np.sqrt(mean)]


def _band(trials: _Trials, paths: Floats, coverage: float) -> Floats:
    """Half-width ``(H, D)`` of the band: a quantile of the absolute held-out errors by horizon.

    The quantile at level ceil((n + 1) coverage) / n of split conformal prediction; made
    non-decreasing in the horizon, where few stretches are long enough.
    """
    mask = trials.held.mask
    error = np.where(mask[..., None], np.abs(trials.error(paths)), np.nan)
    error = np.where(np.isfinite(error) | ~mask[..., None], error, np.inf)
    width = np.empty(error.shape[1:])
    for step in range(len(width)):
        seen = np.sort(error[mask[:, step], step], axis=0)  # (n, D)
        rank = min(len(seen), int(np.ceil((len(seen) + 1) * coverage)))
        width[step] = seen[rank - 1]
    return np.maximum.accumulate(width, axis=0)
