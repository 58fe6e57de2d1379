"""Choosing nets on held-out data: shrinkage, length of training, features and rank.

Nets are trained briefly with every strength of shrinkage, then longer with the better ones, as long
as that pays. Among nets, windows count by the logarithm of their error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from twinfold.config import FitConfig
from twinfold.models.factor_model import Structure, structures
from twinfold.training.ensemble import TrainingContext, unbroken
from twinfold.training.recipes import CONTACT, FINE, followed
from twinfold.training.selection_settings import SELECTION
from twinfold.training.simple_models import standard_error
from twinfold.training.trials import NO_NETS, Candidate, Trial, Trials

Log = Callable[[str], None]

Tried: TypeAlias = tuple[Trial, list[Trial], list[dict[str, Any]]]
"""The best nets, all that were trained, and the structures that were compared."""


def options_of(problem: TrainingContext) -> list[Structure]:
    """Return the structures of nets that the settings allow; the first of rank 0 if none is."""
    return structures(problem.config, problem.action_size, problem.discrete)


def best_nets(
    trials: Trials, simple: Trial | None, idle: Trial, log: Log, begun: Tried | None = None
) -> Tried:
    """Return the best nets, all that were trained for some length, and all structures compared.

    With ``begun``, the same of their shortest training, that is not done again.
    """
    config = trials.problem.config
    lengths = lengths_of(config)
    best, tried, compared = begun or first_nets(trials, simple, idle, log)
    beside = best.candidate._replace(structure=NO_NETS, steps=0, shrinkage=0.0, unrolled=0)
    structure, shrinkages = best.candidate.structure, sorted(config.shrinkages)[: SELECTION.kept]
    if best.mean > SELECTION.low_noise * idle.mean:  # noisy: what is best at first stays so
        kept = sorted(tried[: len(config.shrinkages)], key=_typical)[: SELECTION.kept]
        shrinkages = sorted(trial.candidate.shrinkage for trial in kept)
    going = len(lengths) > 1 and _hopeful(trials, best, simple, idle)
    if going:
        first = best
        best, more, _ = ladder(
            trials, config, lengths[1:2], beside, simple, idle, log, best, structure, shrinkages
        )
        tried += more
        shrinkages = sorted(trial.candidate.shrinkage for trial in more[: SELECTION.kept])
        pays = best.typical <= SELECTION.pays * first.typical
        going = len(lengths) > 2 and pays and _hopeful(trials, best, simple, idle)
    if _far(trials, best, simple, idle):
        log("  far from what there is to predict: trying wide nets, trained on many steps")
        wide = followed(config, CONTACT)
        other, more, also = ladder(trials, wide, lengths_of(wide), beside, None, idle, log)
        tried, compared = tried + more, compared + also
        if other.typical < best.typical:
            return other, tried, compared
    if going:
        best, more, _ = ladder(
            trials, config, lengths[2:], beside, simple, idle, log, best, structure, shrinkages
        )
        tried += more
    if config.effort == "thorough" and best.mean < SELECTION.low_noise * idle.mean:
        for recipe in FINE:
            log(f"  next to no noise: trying few terms, solved for in closed form ({recipe.name})")
            fine = followed(config, recipe)
            other, more, _ = ladder(trials, fine, lengths_of(fine), beside, None, idle, log)
            tried += more
            best = min(best, other, key=_typical)
    return best, tried, compared


def first_nets(trials: Trials, simple: Trial | None, idle: Trial, log: Log) -> Tried:
    """Return the best nets of the shortest training, all that were trained, structures compared.

    They stand alone, or beside the linear model that the settings name. Where times are uneven both
    are tried, alone and beside the pooled one: beyond the data, where visits come later and later,
    nets beside it say what they say at the data's edge, and it goes on. They stand alone unless
    that is considerably worse: where states only now and then leave the data, held-out windows
    hardly tell, and nets that go on are better.

    Args:
        trials: the folds.
        simple: the best simple model, if any.
        idle: the trial of predicting no change.
        log: receives one line per trial.
    """
    config = trials.problem.config
    beside = [Candidate(None) if simple is None else simple.candidate]
    if config.linear == "auto":
        beside = [Candidate(None), Candidate("pooled")][: 1 + trials.problem.uneven]
    found = []
    for each in beside:
        if len(beside) > 1:
            log("  nets alone:" if each.linear is None else "  beside one linear model for all:")
        found.append(ladder(trials, config, lengths_of(config)[:1], each, simple, idle, log))
    alone = found[0][0].mean <= SELECTION.alone * found[-1][0].mean
    best, tried, compared = found.pop(0 if alone else -1)
    return best, tried + [trial for _, more, _ in found for trial in more], compared


def _hopeful(trials: Trials, nets: Trial, simple: Trial | None, idle: Trial) -> bool:
    """Return whether nets may become better than the best simple model by longer training.

    With next to no noise there is nothing but the dynamics to learn by heart: until the data was
    seen often, errors may fall by any factor (CartPole under a good policy: from 17 times those of
    a linear model with slopes of the agents' own to 0.6 of them), and after that they go on
    falling, at best as 1 / sqrt(steps).
    """
    if simple is None:
        return True
    config, steps = nets.config, nets.candidate.steps
    often = steps * config.batch_size >= SELECTION.often * len(trials.problem.data)
    hopeless = 1.0 if often else SELECTION.hopeless
    if min(nets.mean, simple.mean) <= SELECTION.low_noise * idle.mean:
        if not often:
            return True
        hopeless = max(hopeless, (config.steps / steps) ** SELECTION.falls)
    return nets.mean <= hopeless * simple.mean


def lengths_of(config: FitConfig) -> list[int]:
    """Return the lengths of training that are tried, the shortest first."""
    lengths = sorted({max(1, round(share * config.steps)) for share in config.schedules})
    return lengths[:1] if config.effort == "quick" else lengths


def _far(trials: Trials, best: Trial, simple: Trial | None, idle: Trial) -> bool:
    """Return whether there is much to learn that short training of the default nets has not."""
    config, data = trials.problem.config, trials.problem.data
    long = unbroken(data, trials.folds[0].rows, CONTACT.settings["unroll"])
    enough = len(data) >= (SELECTION.few if config.effort == "thorough" else SELECTION.many)
    worth = simple is None or best.mean < simple.mean
    return (
        config.effort != "quick"
        and config.direct is False
        and best.mean > SELECTION.room * idle.mean
        and worth
        and enough
        and len(long) >= len(trials.folds[0].rows) // 2
    )


def ladder(
    trials: Trials,
    config: FitConfig,
    lengths: list[int],
    beside: Candidate,
    simple: Trial | None,
    idle: Trial,
    log: Log,
    best: Trial | None = None,
    structure: Structure | None = None,
    shrinkages: list[float] | None = None,
) -> Tried:
    """Train nets for one length after the other, as long as that pays.

    Args:
        trials: the folds.
        config: how to train.
        lengths: of training, ascending.
        beside: the linear model that the nets add to, if any.
        simple: the best simple model, if training is to stop where nets are hopelessly behind it.
        idle: the trial of predicting no change.
        log: receives one line per trial.
        best: what is there already.
        structure: of the nets; chosen if None.
        shrinkages: to begin with; the better two are kept for the next length.
    """
    problem = trials.problem._replace(config=config)
    compared: list[dict[str, Any]] = []
    if structure is None:
        structure, compared = _structure(trials, config, beside, log)
    unrolled = problem.unrolled_steps(trials.folds[0].rows)
    shrinkages = list(config.shrinkages) if shrinkages is None else shrinkages
    every: list[Trial] = []
    for steps in lengths:
        candidates = [
            beside._replace(
                structure=structure, steps=steps, shrinkage=shrinkage, unrolled=unrolled
            )
            for shrinkage in shrinkages
        ]
        tried = trials.nets(candidates, config, "choosing the schedule")
        for trial in tried:
            log(
                f"  nets, {steps:>6} steps, shrinkage {trial.candidate.shrinkage:g}: held-out "
                f"error {trial.mean:.4g} (geometric mean {trial.typical:.4g})"
            )
        tried.sort(key=_typical)
        every += tried
        before, best = best, tried[0] if best is None else min(best, tried[0], key=_typical)
        if before is not None and best.typical > SELECTION.pays * before.typical:
            break
        if not _hopeful(trials, best, simple, idle):
            break
        shrinkages = sorted(trial.candidate.shrinkage for trial in tried[: SELECTION.kept])
    assert best is not None
    return best, every, compared


def _typical(trial: Trial) -> float:
    return trial.typical


def _structure(
    trials: Trials, config: FitConfig, beside: Candidate, log: Log
) -> tuple[Structure, list[dict[str, Any]]]:
    """Return the simplest structure within one standard error of the best, and all compared."""
    options = structures(config, trials.problem.action_size, trials.problem.discrete)
    if len(options) == 1:
        return options[0], []
    steps = max(1, round(config.structure_share * config.steps))
    log(f"choosing the features: {len(options)} structures, {steps} steps each")
    weakest = min(config.shrinkages)
    candidates = [
        beside._replace(structure=option, steps=steps, shrinkage=weakest) for option in options
    ]
    tried = trials.nets(candidates, config, "choosing the features")
    errors = np.array([trials.by_agent(trial, log=True) for trial in tried])
    best = int(errors.mean(axis=1).argmin())
    excess = errors - errors[best]
    mean, doubt = excess.mean(axis=1), standard_error(excess)
    rows = []
    for k, option in enumerate(options):
        typical = float(np.exp(errors[k].mean()))
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
                "standard_error": float(f"{doubt[k]:.4g}"),
            }
        )
    return options[int(np.argmax(mean <= doubt))], rows
