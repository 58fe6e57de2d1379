"""The model without some of the agents that it was fitted to, for all agents in turn.

A band that is calibrated on twenty agents rests on the worst two of them. Where the model is linear
and data is little, fitting it again costs next to nothing: all other agents then say how wide the
band must be as well, each group of them predicted by a model that has not seen it (cross-conformal
prediction, Vovk 2015). What kind of model it is was chosen with them; its numbers were not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from twinfold.adaptation.adapt import forget
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.training.agent_factors import posterior_of, solved
from twinfold.training.ensemble import TrainingContext
from twinfold.training.model_selection import Choice
from twinfold.training.selection_settings import SELECTION
from twinfold.training.train_on_all import train_on_all


def left_out_in_turn(
    model: FittedModel, dataset: PanelDataset, clean: PanelDataset, choice: Choice
) -> Iterator[tuple[FittedModel, PanelDataset]]:
    """Yield the model without a group of agents, and these, for every group.

    Nothing where nets would have to be trained again, or data is not little.

    Args:
        model: fitted to the agents of the panel, and to no others.
        dataset: the panel.
        clean: the same agents' data as it was fitted to.
        choice: the kind of model.
    """
    candidate, ids = choice.candidate, np.arange(clean.n_agents)
    little = model.info.transitions <= SELECTION.few
    if candidate.structure.rank or not little or len(ids) < 2 * SELECTION.left_out_groups:
        return
    turn = np.random.default_rng((choice.config.seed, 19)).permutation(ids)
    for group in np.array_split(turn, SELECTION.left_out_groups):
        out = [clean.agent_ids[n] for n in group]
        rest = clean.select_agents([clean.agent_ids[n] for n in np.setdiff1d(ids, group)])
        problem = TrainingContext.of(rest, rest.transitions(), choice.config)
        problem = problem.with_history(rest, candidate.history, candidate.changes_alone)
        trained = train_on_all(problem, candidate)
        posterior = posterior_of(rest, problem, trained, choice.noise)
        without = replace(
            forget(model, out),
            members=solved(trained.members, posterior),
            normalizer=trained.normalizer,
            posterior=posterior,
            sums=trained.sums,
        )
        yield without, dataset.select_agents(out)
