"""Choosing what a fit leaves open, on held-out offline data: a simple model, or nets, and which.

    1. hold out the last transitions of some agents, of all agents where there is little data
    2. fit the simple models in closed form: no change, drift, linear ones (``models.linear``)
    3. train nets, briefly with every strength of shrinkage, then longer as long as that pays
    4. keep the simplest that is not clearly worse than the best (the one-standard-error rule)
    5. try simple models that read more rows than the present one (a memory), beside the others;
       where they are far better than what was kept, try nets with that memory as well

The error is that of open-loop predictions over many steps, because a lower one-step loss often does
not mean better rollouts. Simple models and nets are compared by their mean error over agents. Among
nets, windows count by the logarithm of their error: a tenth off every agent's error is worth the
same, whether the agent is easy or hard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.factor_model import Structure, structures
from twinfold.models.linear import KINDS, WORDS, Kind
from twinfold.training.ensemble import TrainingContext, unbroken
from twinfold.training.holdout_band import held_out_band
from twinfold.training.recipes import CONTACT, FINE, followed
from twinfold.training.selection_record import (
    chosen_lines,
    held_out_counts,
    held_out_line,
    validation_record,
)
from twinfold.training.selection_settings import SELECTION
from twinfold.training.simple_models import best_simple, simplest, standard_error, with_memory
from twinfold.training.trials import NO_NETS, Candidate, Trial, Trials, cut_folds

Log = Callable[[str], None]
Floats = NDArray[np.float64]


Tried: TypeAlias = tuple[Trial, list[Trial], list[dict[str, Any]]]
"""The best nets, all that were trained, and the structures that were compared."""


class Choice(NamedTuple):
    """The model that was chosen, and why.

    Attributes:
        candidate: linear model, structure, length of training and shrinkage.
        config: settings of the nets' training.
        band: ``(H, D)`` half-width of the prediction band by horizon, raw units; None if nothing
            could be held out.
        noise: ``(D,)``, robust scale of the held-out errors of one step, in standard deviations of
            the target; None if nothing could be held out.
        validation: what was measured, plain values.
    """

    candidate: Candidate
    config: FitConfig
    band: Floats | None
    noise: Floats | None
    validation: dict[str, Any]


def select_model(dataset: PanelDataset, problem: TrainingContext, log: Log) -> Choice:
    """Choose a model by held-out error.

    Args:
        dataset: the panel.
        problem: its transitions and the settings.
        log: receives one line per thing worth knowing.
    """
    config = problem.config
    if config.history != "auto":
        problem = problem.with_history(dataset, config.history)
    if config.validation_share == 0:
        log("nothing is held out (validation_share = 0): no held-out error and no band")
        return Choice(_untried(problem), config, None, None, {"held_out": 0})
    folds = cut_folds(dataset, problem)
    if not folds:
        log("no agent has two transitions: nothing can be held out, so there is no band")
        return Choice(_plainest(problem), config, None, None, {"held_out": 0})
    trials, counts = Trials(problem, folds), held_out_counts(folds)
    log(held_out_line(counts))
    idle = trials.simple(Candidate("no change"))
    chosen, tried, compared = _best(trials, idle, log)
    if config.history == "auto":
        chosen, more = _with_memory(dataset, trials, idle, chosen, tried, log)
        tried += more
    for line in chosen_lines(chosen, idle, len(tried), counts):
        log(line)
    unknown = None if chosen.unknown is None else chosen.unknown()
    band = held_out_band(folds, chosen.paths, chosen.config.band, unknown)
    validation = validation_record(folds, counts, chosen, idle, tried, compared)
    return Choice(chosen.candidate, chosen.config, band, chosen.noise, validation)


def _with_memory(
    dataset: PanelDataset, trials: Trials, idle: Trial, chosen: Trial, tried: list[Trial], log: Log
) -> tuple[Trial, list[Trial]]:
    """Return the best of the model without memory and those with one, and what was tried.

    Simple models say what a memory is worth: they cost next to nothing. Where next to nothing is
    left to explain, there is nothing to look for.

    Args:
        dataset: the panel.
        trials: of models without a memory.
        idle: the trial of predicting no change.
        chosen: the best model without a memory.
        tried: all of these, the best of every kind of simple models first.
        log: receives one line per thing worth knowing.
    """
    problem = trials.problem
    alike = len(problem.data) >= SELECTION.handful and problem.config.linear == "auto"
    if not alike or chosen.mean <= SELECTION.low_noise * idle.mean:
        return chosen, []
    # No transition has more rows before it than these.
    fitting = [k for k in SELECTION.histories if k <= problem.data.step.max() + 1]
    problems = [problem.with_history(dataset, history) for history in fitting]
    longer = [Trials(each, cut_folds(dataset, each)) for each in problems]
    found = with_memory(trials, longer, tried[: len(KINDS)], log)
    if found is None:
        return _nets_with_memory(trials, longer, idle, chosen, log)
    other, simple = found
    if simple.mean > SELECTION.needed * chosen.mean:
        # Where no change at all is the best, what is a little better may be so by chance.
        better = chosen is not idle and simplest(trials, [chosen, simple])
        if better:
            log("  a memory makes the simple models better")
        best = simple if better else chosen
        best, more = _nets_with_memory(trials, longer, idle, best, log)
        return best, [simple, *more]
    log(f"the last {other.problem.history} rows say what one row does not: going on with them")
    if not _options(problem)[0].rank:
        return simple, [simple]
    nets, more, _ = _nets(other, simple, idle, log)
    return _either(trials, simple, nets, log), [simple, *more]


def _nets_with_memory(
    trials: Trials, longer: list[Trials], idle: Trial, chosen: Trial, log: Log
) -> tuple[Trial, list[Trial]]:
    """Return nets that read more rows if they are better by more than chance, and what was tried.

    Of earlier rows nets may make what no linear model does: all are tried at their shortest, and
    where the best of them are better than what was chosen their training goes on.

    Args:
        trials: of models without a memory.
        longer: of models that read more rows, fewer of them first.
        idle: the trial of predicting no change.
        chosen: the best so far.
        log: receives one line per thing worth knowing.
    """
    config = trials.problem.config
    if not longer or not _options(trials.problem)[0].rank:
        return chosen, []
    firsts = []
    for other in longer:
        log(f"  nets that read the last {other.problem.history} rows:")
        firsts.append(_ladder(other, config, _lengths(config)[:1], Candidate(None), None, log))
    place = int(np.argmin([best.mean for best, *_ in firsts]))
    first, other = firsts[place][0], longer[place]
    if not simplest(trials, [chosen, first]):
        log(f"  they have {first.mean:.4g}: no better than what one row tells")
        return chosen, [trial for _, more, _ in firsts for trial in more]
    log(f"the last {other.problem.history} rows say what one row does not: going on with them")
    nets, tried, _ = _nets(other, None, idle, log, firsts.pop(place))
    tried += [trial for _, more, _ in firsts for trial in more]
    return min(first, nets, key=lambda trial: trial.mean), tried


def _options(problem: TrainingContext) -> list[Structure]:
    """Return the structures of nets that the settings allow; the first of rank 0 if none is."""
    return structures(problem.config, problem.action_size, problem.discrete)


def _untried(problem: TrainingContext) -> Candidate:
    """Return the model that the settings name, where nothing is held out to try others on."""
    config = problem.config
    return Candidate(
        None if config.linear in ("auto", "none") else config.linear,
        _options(problem)[0],
        config.steps,
        config.shrinkages[0],
        problem.unrolled_steps(np.arange(len(problem.data), dtype=np.int32)),
        history=problem.history,
    )


def _plainest(problem: TrainingContext) -> Candidate:
    """Return the model for single transitions.

    So little data says nothing of how agents differ, nor of anything that is not a line.
    """
    config = problem.config
    kind: Kind | None = None if config.linear == "none" else "drift"
    if config.linear not in ("auto", "none"):
        kind = config.linear
    structure = _options(problem)[0] if kind is None else NO_NETS
    return Candidate(kind, structure, config.steps, max(config.shrinkages), history=problem.history)


def _best(trials: Trials, idle: Trial, log: Log) -> Tried:
    """Return the best of simple models and nets, all that were tried, and structures compared."""
    problem = trials.problem
    simple, tried = best_simple(trials, idle, log)
    enough = simple is None or len(problem.data) >= SELECTION.handful
    if _options(problem)[0].rank and enough:
        nets, trained, compared = _nets(trials, simple, idle, log)
        return _either(trials, simple, nets, log), tried + trained, compared
    if simple is None:
        raise UsageError("linear = 'none' and rank = 0 leave nothing to fit; change either")
    return simple, tried, []


def _nets(
    trials: Trials, simple: Trial | None, idle: Trial, log: Log, begun: Tried | None = None
) -> Tried:
    """Return the best nets, all that were trained for some length, and all structures compared.

    With ``begun``, the same of their shortest training, that is not done again.
    """
    config = trials.problem.config
    lengths = _lengths(config)
    beside = Candidate(None)
    if simple is not None and config.linear != "auto":
        beside = simple.candidate
    begun = begun or _ladder(trials, config, lengths[:1], beside, simple, log)
    best, tried, compared = begun
    structure, shrinkages = best.candidate.structure, sorted(config.shrinkages)[: SELECTION.kept]
    if best.mean > SELECTION.low_noise * idle.mean:  # noisy: what is best at first stays so
        kept = sorted(tried[: len(config.shrinkages)], key=_typical)[: SELECTION.kept]
        shrinkages = sorted(trial.candidate.shrinkage for trial in kept)
    going = len(lengths) > 1 and _hopeful(trials, best, simple)
    if going:
        first = best
        best, more, _ = _ladder(
            trials, config, lengths[1:2], beside, simple, log, best, structure, shrinkages
        )
        tried += more
        shrinkages = sorted(trial.candidate.shrinkage for trial in more[: SELECTION.kept])
        pays = best.typical <= SELECTION.pays * first.typical
        going = len(lengths) > 2 and pays and _hopeful(trials, best, simple)
    if _far(trials, best, simple, idle):
        log("  far from what there is to predict: trying wide nets, trained on many steps")
        wide = followed(config, CONTACT)
        other, more, also = _ladder(trials, wide, _lengths(wide), beside, None, log)
        tried, compared = tried + more, compared + also
        if other.typical < best.typical:
            return other, tried, compared
    if going:
        best, more, _ = _ladder(
            trials, config, lengths[2:], beside, simple, log, best, structure, shrinkages
        )
        tried += more
    if config.effort == "thorough" and best.mean < SELECTION.low_noise * idle.mean:
        for recipe in FINE:
            log(f"  next to no noise: trying few terms, solved for in closed form ({recipe.name})")
            fine = followed(config, recipe)
            other, more, _ = _ladder(trials, fine, _lengths(fine), beside, None, log)
            tried += more
            best = min(best, other, key=_typical)
    return best, tried, compared


def _hopeful(trials: Trials, nets: Trial, simple: Trial | None) -> bool:
    """Return whether nets may become better than the best simple model by longer training."""
    if simple is None:
        return True
    seen = nets.candidate.steps * nets.config.batch_size
    often = seen >= SELECTION.often * len(trials.problem.data)
    return nets.mean <= (1.0 if often else SELECTION.hopeless) * simple.mean


def _lengths(config: FitConfig) -> list[int]:
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


def _ladder(
    trials: Trials,
    config: FitConfig,
    lengths: list[int],
    beside: Candidate,
    simple: Trial | None,
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
        if not _hopeful(trials, best, simple):
            break
        shrinkages = sorted(trial.candidate.shrinkage for trial in tried[: SELECTION.kept])
    assert best is not None
    return best, every, compared


def _typical(trial: Trial) -> float:
    return trial.typical


def _either(trials: Trials, simple: Trial | None, nets: Trial, log: Log) -> Trial:
    """Return the simple model unless nets are better by more than chance."""
    if simple is None:
        return nets
    chosen = (simple, nets)[simplest(trials, [simple, nets])]
    assert simple.candidate.linear is not None
    words = WORDS[simple.candidate.linear]
    if chosen is simple:
        log(f"  {words} predicts as well as anything here: nets have {nets.mean:.4g}")
    else:
        log(f"  nets predict better than the best simple model, {words}: {simple.mean:.4g}")
    return chosen


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
