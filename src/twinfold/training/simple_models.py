"""The best simple model on held-out data: the simplest that is hardly worse than the best.

Where no kind is far better than the others, an average of all is safer than any: they err in
different ways.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from twinfold.config import Kind
from twinfold.models.linear_kinds import (
    ADDITIVE,
    KINDS,
    LINEAR,
    OWN_SLOPES,
    READS_STATIC,
    WITH_MEMORY,
    WORDS,
    Part,
    Ratio,
    at_the_end,
    ratios,
    wide_ratios,
    wider,
)
from twinfold.models.static_prior import STATIC
from twinfold.training.selection_settings import SELECTION
from twinfold.training.trials import Candidate, Trial, Trials

Log = Callable[[str], None]
Floats = NDArray[np.float64]


def best_simple(trials: Trials, idle: Trial, log: Log) -> tuple[Trial | None, list[Trial]]:
    """Return the best simple model and the best of every kind; none if nets alone are wanted."""
    wanted = trials.problem.config.linear
    if wanted == "none":
        return None, []
    log("trying simple models")
    coarse, memory = len(trials.problem.data) > SELECTION.few, trials.problem.history > 1
    tried = []
    for kind in kinds_of(trials) if wanted in ("auto", "average") else (wanted,):
        if kind == "no change":
            tried.append(idle)
        else:
            tried.append(_best_of_kind(trials, kind, coarse, memory, idle, tried))
        log(f"  {WORDS[kind]}: held-out error {tried[-1].mean:.4g}")
    likely = worthwhile(tried)
    best = likely[simplest(trials, likely)]
    evidence = trials.problem.evidence
    if wanted == "auto" and trials.problem.data.weight is not None:
        # What was filled in bears out the model that it was filled in by, held out or not.
        thin = evidence < SELECTION.handful
        if thin and best.mean > SELECTION.far_less * idle.mean:
            log(f"  what was observed counts for {evidence:.0f} transitions: too few to prefer any")
            return idle, tried
    nothing_better = best is idle and evidence < SELECTION.handful
    if wanted != "average" and (wanted != "auto" or nothing_better):
        return best, tried
    average = trials.simple(_average(trials, likely))
    log(f"  {WORDS['average']}: held-out error {average.mean:.4g}")
    use = wanted == "average" or _hedges(average, best, idle, likely)
    return average if use else best, [*tried, average]


def kinds_of(trials: Trials) -> tuple[Kind, ...]:
    """Return the kinds of simple models that are tried."""
    return tuple(kind for kind in KINDS if trials.additive or kind not in ADDITIVE)


def worthwhile(tried: Sequence[Trial]) -> list[Trial]:
    """Return what was tried without additive models, unless one is better than all linear ones.

    They bend, and end, where the data does: of what goes on beyond it, as most panels do, they are
    as sure as linear ones and wrong. Where they explain no more they would only have a share in an
    average.

    Args:
        tried: the best of every kind.
    """
    errors: dict[bool, list[float]] = {True: [], False: []}
    for trial in tried:
        if trial.candidate.linear in (*ADDITIVE, *WITH_MEMORY):
            errors[trial.candidate.additive].append(trial.mean)
    better = min(errors[True], default=np.inf) < min(errors[False], default=np.inf)
    return [trial for trial in tried if better or not trial.candidate.additive]


def _hedges(average: Trial, best: Trial, idle: Trial, tried: Sequence[Trial]) -> bool:
    """Return whether an average of simple models is to take the place of the best.

    All agents share the few places in time that are held out: the kind that was the best there, say
    a drift that went on for years, need not be the best next. An average is hurt less; but one that
    is worse than no change guards against nothing. Where no change is the cautious choice, it takes
    some other kind that is no worse than that as well.
    """
    worth = average.mean <= min(idle.mean, SELECTION.hedge * best.mean)
    return worth and any(trial.mean <= idle.mean for trial in tried if trial is not idle)


def what_to_remember(
    pairs: Sequence[Sequence[Trials]], idle: Trial, log: Log
) -> tuple[list[Trials], list[list[Trial]]]:
    """Return of every number of rows the trials with the better memory, and the best of each kind.

    Linear models say whether it is worth remembering what acted, beside how the state changed.

    Args:
        pairs: of models that read more rows than the present one, fewer of them first: with changes
            alone, then with what acted as well.
        idle: the trial of predicting no change.
        log: receives one line per thing worth knowing.
    """
    chosen, found = [], []
    for pair in pairs:
        coarse = len(pair[0].problem.data) > SELECTION.few
        kinds = [
            [_best_of_kind(each, kind, coarse, True, idle) for kind in WITH_MEMORY] for each in pair
        ]
        bests = [min(best, key=lambda trial: trial.mean) for best in kinds]
        place = simplest(pair[0], bests)
        chosen.append(pair[place])
        found.append(kinds[place])
        words = [f"{best.mean:.4g}" for best in bests]
        told = f"{words[0]}, with what acted in them {words[1]}" if len(pair) > 1 else words[0]
        rows = pair[0].problem.history
        log(f"  linear models that read the last {rows} rows: held-out error {told}")
    return chosen, found


def with_memory(
    trials: Trials,
    longer: Sequence[Trials],
    found: Sequence[list[Trial]],
    simple: list[Trial],
    log: Log,
) -> tuple[Trials, Trial] | None:
    """Return the best simple model that reads more rows than the present one, with its trials.

    It is an average of models with a memory and without one, unless one kind is far better.

    Args:
        trials: of models without a memory.
        longer: of models that read more rows, fewer of them first.
        found: the best of every kind of these.
        simple: the best of every kind without a memory.
        log: receives one line per thing worth knowing.

    Returns:
        None if all models with a memory are far worse than the best without one.
    """
    if not found:
        return None
    bests = [min(best, key=lambda trial: trial.mean) for best in found]
    place = simplest(trials, bests)
    other, best = longer[place], bests[place]
    if best.mean > SELECTION.hedge * min(trial.mean for trial in simple):
        return None  # an average would only profit from there being more to average
    average = other.simple(_average(trials, [*simple, *found[place]]))
    log(f"  {WORDS['average']}, with and without a memory: held-out error {average.mean:.4g}")
    return other, average if average.mean <= SELECTION.hedge * best.mean else best


def _best_of_kind(
    trials: Trials,
    kind: Kind,
    coarse: bool,
    memory: bool,
    idle: Trial,
    before: Sequence[Trial] = (),
) -> Trial:
    """Return the best model of a kind, over how much agents differ.

    That they differ by far more than the noise is tried where the usual variances are too small,
    and believed only where errors are far less: chosen by a little, from many, it was worse; unless
    all that is known of agents is their own, or there is next to no noise to be taken in by.

    Args:
        trials: tries them.
        kind: of the models.
        coarse: whether fewer variances are tried.
        memory: whether they read earlier rows.
        idle: the trial of predicting no change.
        before: the best of kinds that were tried before.
    """

    def tried(some: list[Ratio]) -> list[Trial]:
        return [trials.simple(Candidate(kind, ratio=ratio)) for ratio in some]

    little = not coarse
    coarse = coarse or kind in ADDITIVE  # how much agents differ, linear models have found
    usual = tried(ratios(kind, coarse, memory))
    chosen = best = usual[simplest(trials, usual)]
    most = min(usual, key=lambda trial: trial.mean).candidate.ratio
    more = wide_ratios(kind, memory) if at_the_end(most) else []
    while more:
        found = [best, *tried(more)]
        place = simplest(trials, found)
        best, more = found[place], wider(found[place].candidate.ratio) if place else []
    clean = little and best.mean <= SELECTION.low_noise * idle.mean
    sure = clean or _nothing_shared(before, chosen)
    enough = SELECTION.less if sure else SELECTION.far_less
    best = best if best.mean <= enough * chosen.mean else chosen
    return _by_static_columns(trials, best, usual[0].candidate.ratio)


def _by_static_columns(trials: Trials, best: Trial, alike: Ratio) -> Trial:
    """Return the same kind of model with static columns, where it is surely better with these.

    And by more than a little: agents of many rows are known without them, and what was a little
    better in all of them was worse of what came next.

    Args:
        trials: tries them.
        best: of a kind, without static columns.
        alike: the ratio that makes agents most alike: what is left to differ may be little.
    """
    columns, found = trials.problem.static, best.candidate
    if columns is None or found.linear not in READS_STATIC:
        return best
    apart = [alike, found.ratio]
    if found.linear in OWN_SLOPES:  # or the columns could not move what agents make of an action
        apart.insert(1, alike._replace(action=LINEAR.own_action[1]))
    ratios = dict.fromkeys(apart)
    tried = [trials.simple(found._replace(ratio=ratio, static=True)) for ratio in ratios]
    with_static = tried[simplest(trials, tried)]
    gain = trials.by_agent(best) - trials.by_agent(with_static)
    sure = gain.mean() > STATIC.standard_errors * standard_error(gain[None])[0]
    return with_static if sure and with_static.mean <= SELECTION.less * best.mean else best


def _nothing_shared(before: Sequence[Trial], own: Trial) -> bool:
    """Return whether one model for all agents explains next to nothing, and own ones do."""
    errors = {trial.candidate.linear: trial.mean for trial in before}
    if not {"no change", "pooled"} <= errors.keys():
        return False
    left = SELECTION.shared_nothing * errors["no change"]
    return errors["pooled"] > left and own.mean < SELECTION.own_explain * errors["no change"]


def _average(trials: Trials, tried: list[Trial]) -> Candidate:
    """Return an average of models, with weights by their errors."""
    errors = np.array([trials.by_agent(trial).mean() for trial in tried])
    weights = (errors / errors.min()) ** -SELECTION.sharpness
    weights = np.where(weights < SELECTION.least_part * weights.sum(), 0.0, weights)
    parts = []
    for trial, weight in zip(tried, weights / weights.sum(), strict=True):
        if weight:
            found = trial.candidate
            assert found.linear is not None
            memory = found.history > 1
            parts.append(Part(float(weight), found.linear, found.ratio, memory, found.static))
    return Candidate("average", parts=tuple(parts))


def simplest(trials: Trials, tried: list[Trial]) -> int:
    """Return the first that is hardly worse than the best, by mean errors of agents.

    Hardly worse is half a standard error of the difference, taken agent by agent. A whole one is
    the usual rule; of panels of ten to a hundred agents it kept to models that are too simple.
    """
    errors = np.array([trials.by_agent(trial) for trial in tried])
    if errors.shape[1] < 2 and len(trials.problem.data) < SELECTION.handful:
        return 0  # it says nothing of chance
    excess = errors - errors[errors.mean(axis=1).argmin()]
    return int(np.argmax(excess.mean(axis=1) <= SELECTION.caution * standard_error(excess)))


def standard_error(excess: Floats) -> Floats:
    """Return the standard error of the mean of each row."""
    if excess.shape[1] < 2:
        return np.zeros(len(excess))
    return excess.std(axis=1, ddof=1) / np.sqrt(excess.shape[1])
