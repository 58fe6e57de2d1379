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
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.config import FitConfig, Kind
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.linear_kinds import WORDS
from twinfold.training.ensemble import TrainingContext
from twinfold.training.folds import cut_folds
from twinfold.training.holdout_band import held_out_band
from twinfold.training.net_search import (
    Tried,
    best_nets,
    first_nets,
    options_of,
)
from twinfold.training.selection_record import (
    chosen_lines,
    held_out_counts,
    held_out_line,
    validation_record,
)
from twinfold.training.selection_settings import SELECTION
from twinfold.training.simple_models import (
    best_simple,
    kinds_of,
    simplest,
    what_to_remember,
    with_memory,
    worthwhile,
)
from twinfold.training.trials import NO_NETS, Candidate, Trial, Trials, as_used

Log = Callable[[str], None]
Floats = NDArray[np.float64]


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
    alike = problem.evidence >= SELECTION.handful and problem.config.linear == "auto"
    # That no change is far worse says nothing of what is left where steps may be long.
    explained = not problem.uneven and chosen.mean <= SELECTION.low_noise * idle.mean
    if not alike or explained:
        return chosen, []
    # No transition has more rows before it than these.
    fitting = [k for k in SELECTION.histories if k <= problem.data.step.max() + 1]
    pairs = [_memories(dataset, problem, history) for history in fitting]
    longer, linear = what_to_remember(pairs, idle, log)
    likely = worthwhile(tried[: len(kinds_of(trials))])
    found = with_memory(trials, longer, linear, likely, log)
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
    if not options_of(problem)[0].rank:
        return simple, [simple]
    nets, more, _ = best_nets(other, simple, idle, log)
    return _either(trials, simple, nets, log), [simple, *more]


def _memories(dataset: PanelDataset, problem: TrainingContext, history: int) -> list[Trials]:
    """Return trials with a memory of changes alone, and with one of what acted, if anything did."""
    problems = [problem.with_history(dataset, history, alone) for alone in (True, False)]
    problems = problems[: 1 if problems[1].changes_alone else 2]
    return [Trials(each, cut_folds(dataset, each)) for each in problems]


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
    if not longer or not options_of(trials.problem)[0].rank:
        return chosen, []
    firsts = []
    for other in longer:
        log(f"  nets that read the last {other.problem.history} rows:")
        firsts.append(first_nets(other, None, idle, log))
    every = [as_used(other, best) for other, (best, *_) in zip(longer, firsts, strict=True)]
    place = int(np.argmin([best.mean for best in every]))
    first, other = every[place], longer[place]
    if not simplest(trials, [chosen, first]):
        log(f"  they have {first.mean:.4g}: no better than what one row tells")
        return chosen, [trial for _, more, _ in firsts for trial in more]
    log(f"the last {other.problem.history} rows say what one row does not: going on with them")
    nets, tried, _ = best_nets(other, None, idle, log, firsts.pop(place))
    tried += [trial for _, more, _ in firsts for trial in more]
    return min(first, as_used(other, nets), key=lambda trial: trial.mean), tried


def _untried(problem: TrainingContext) -> Candidate:
    """Return the model that the settings name, where nothing is held out to try others on."""
    config = problem.config
    return Candidate(
        None if config.linear in ("auto", "none") else config.linear,
        options_of(problem)[0],
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
    structure = options_of(problem)[0] if kind is None else NO_NETS
    return Candidate(kind, structure, config.steps, max(config.shrinkages), history=problem.history)


def _best(trials: Trials, idle: Trial, log: Log) -> Tried:
    """Return the best of simple models and nets, all that were tried, and structures compared."""
    problem = trials.problem
    simple, tried = best_simple(trials, idle, log)
    # Next to nothing can be learned from a handful, and of what is known exactly already.
    enough = simple is None or problem.evidence >= SELECTION.handful
    exact = simple is not None and simple.mean <= SELECTION.best
    if options_of(problem)[0].rank and enough and not exact:
        nets, trained, compared = best_nets(trials, simple, idle, log)
        return _either(trials, simple, nets, log), tried + trained, compared
    if simple is None:
        raise UsageError("linear = 'none' and rank = 0 leave nothing to fit; change either")
    return simple, tried, []


def _either(trials: Trials, simple: Trial | None, nets: Trial, log: Log) -> Trial:
    """Return the simple model unless nets are better by more than chance."""
    if simple is None:
        return nets
    nets = as_used(trials, nets)
    chosen = (simple, nets)[simplest(trials, [simple, nets])]
    assert simple.candidate.linear is not None
    words = WORDS[simple.candidate.linear]
    if chosen is simple:
        log(f"  {words} predicts as well as anything here: nets have {nets.mean:.4g}")
    else:
        log(f"  nets predict better than the best simple model, {words}: {simple.mean:.4g}")
    return chosen
