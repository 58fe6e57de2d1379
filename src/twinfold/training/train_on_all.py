"""Training members on all transitions with a model that was chosen, or is to begin with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.models.factor_model import FactorModel
from twinfold.models.linear import LinearFit
from twinfold.models.linear_sums import LinearData
from twinfold.models.normalizer import Normalizer
from twinfold.training.ensemble import TrainingContext, fresh_member, stacked, train_members
from twinfold.training.trainer import MemberJob
from twinfold.training.trials import NO_NETS, Candidate


class Trained(NamedTuple):
    """Members and linear model that all transitions gave.

    Attributes:
        normalizer: of all transitions.
        sums: of all transitions, for linear models.
        linear: the linear model that the nets add to; None for nets alone.
        members: a stack, as training left them.
        losses: ``(M,)``, the last ones of training.
    """

    normalizer: Normalizer
    sums: LinearData
    linear: LinearFit | None
    members: FactorModel
    losses: NDArray[np.floating]


def train_on_all(
    problem: TrainingContext, candidate: Candidate, name: str = "member", what: str = "training"
) -> Trained:
    """Train the ensemble on everything, beside the linear model of all data.

    Args:
        problem: data and settings.
        candidate: the model that was chosen.
        name: of the jobs, unique within a fit.
        what: name of this stage, for the progress.
    """
    config, rows = problem.config, np.arange(len(problem.data), dtype=np.int32)
    normalizer = problem.normalizer(rows)
    sums = problem.linear_data(normalizer, rows, ramps=candidate.additive)
    linear = candidate.fit_linear(sums, static=problem.static)
    sums = sums.without_ramps()
    if not candidate.structure.rank:  # all members would be the same
        member = fresh_member(problem, normalizer, 0, NO_NETS, linear)
        return Trained(normalizer, sums, linear, stacked([member]), np.zeros(0))
    structure, steps = candidate.structure, candidate.steps
    shrinkage, unrolled = candidate.shrinkage, candidate.unrolled
    jobs = [
        MemberJob(f"{name}-{m}", m, steps, shrinkage, structure, unrolled)
        for m in range(config.members)
    ]
    members, losses = train_members(problem, rows, normalizer, jobs, what, linear)
    return Trained(normalizer, sums, linear, stacked(members), losses)
