"""Missing values filled in once more by nets, where these predict what no linear model does.

A linear model fills in wrong values where the dynamics are not linear, and nets that read them
learn from wrong inputs. So, as expectation maximisation does, in turns

    1. train nets on what is filled in
    2. fill in what is missing by these nets (``models.net_filling``)

before anything is chosen. Whether nets are that much better is asked of held-out data, as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from twinfold.data.panel import PanelDataset
from twinfold.models.net_filling import filtered_by_nets
from twinfold.training.ensemble import TrainingContext
from twinfold.training.folds import cut_folds
from twinfold.training.model_selection import Log
from twinfold.training.net_search import first_nets, lengths_of, options_of
from twinfold.training.selection_settings import SELECTION
from twinfold.training.simple_models import best_simple
from twinfold.training.train_on_all import train_on_all
from twinfold.training.trials import Candidate, Trial, Trials


@dataclass(frozen=True)
class RefillingSettings:
    """Numbers that decide whether nets fill in missing values, and how.

    Attributes:
        worth: share of the best simple model's held-out error that nets must get below.
        rounds: of training and of filling in, at the most.
        members: nets that fill in.
        passes: of the filter in a round, each by the noise that the one before has found.
        settled: share of the noise that a round must get below for another one to be worth it.
    """

    worth: float = 0.9
    rounds: int = 5
    members: int = 3
    passes: int = 2
    settled: float = 0.9


REFILLING = RefillingSettings()
"""Those of every fit."""


def refilled(
    dataset: PanelDataset, problem: TrainingContext, log: Log
) -> tuple[PanelDataset, bool]:
    """Return the panel with what nets say in place of missing values, and whether they do.

    Args:
        dataset: the panel, filled in by linear models.
        problem: its transitions and the settings.
        log: receives a line if nets fill in.
    """
    first = None if dataset.missing is None else _far_better_nets(dataset, problem)
    if first is None:
        return dataset, False
    steps = lengths_of(problem.config)[:2][-1]
    candidate = first.candidate._replace(steps=steps, unrolled=0)
    config = problem.config.model_copy(
        update={"members": min(problem.config.members, REFILLING.members)}
    )
    noise, rounds = first.noise, 0
    for rounds in range(1, REFILLING.rounds + 1):
        problem = problem._replace(config=config, data=dataset.transitions())
        trained = train_on_all(problem, candidate, f"filling-{rounds}", "filling in")
        before = noise
        for _ in range(REFILLING.passes):
            found = filtered_by_nets(
                dataset,
                trained.normalizer,
                trained.members,
                noise,
                dataset.agent,
                dataset.known_inputs(),
            )
            noise = found.noise
            dataset = replace(dataset, filled=found.filled)
        if np.all(noise > REFILLING.settled * before):
            break
    log(
        "nets predict what no linear model does: missing values are filled in by them, in "
        f"{rounds} rounds"
    )
    return dataset, True


def _far_better_nets(dataset: PanelDataset, problem: TrainingContext) -> Trial | None:
    """Return the trial of the best nets of short training, if they are far better; else None."""
    config = problem.config
    if not config.validation_share or not options_of(problem)[0].rank:
        return None
    if problem.evidence < SELECTION.handful:
        return None
    trials = Trials(problem, cut_folds(dataset, problem)[:1])
    if not trials.folds:
        return None

    def quiet(line: str) -> None:
        pass

    idle = trials.simple(Candidate("no change"))
    simple, _ = best_simple(trials, idle, quiet)
    nets, *_ = first_nets(trials, simple, idle, quiet)
    if simple is not None and nets.mean > REFILLING.worth * simple.mean:
        return None
    return nets
