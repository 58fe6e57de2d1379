"""What is held out of the data to choose a model: the ends of agents, in more ways than one.

Axes: S windows of at most H transitions, D state columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.angles import wrap
from twinfold.data.panel import PanelDataset
from twinfold.data.windows import Windows, hold_out
from twinfold.models.normalizer import Normalizer
from twinfold.training.ensemble import TrainingContext
from twinfold.training.selection_settings import SELECTION

Floats = NDArray[np.float64]


class Fold(NamedTuple):
    """A split of the data: rows to train on, windows to predict.

    Attributes:
        rows: numbers of the transitions to train on, ascending.
        normalizer: of those.
        held: what follows.
        angles: columns of the state that are angles.
        whole_agents: whether nothing of the agents of the windows is trained on.
    """

    rows: NDArray[np.int32]
    normalizer: Normalizer
    held: Windows
    angles: tuple[int, ...] = ()
    whole_agents: bool = False

    def difference(self, paths: Floats) -> Floats:
        """Return errors ``(S, H, D)`` in raw units; those of angles the short way round."""
        error = paths - self.held.next_state
        with np.errstate(invalid="ignore"):  # of a member that diverged
            for d in self.angles:
                error[..., d] = wrap(error[..., d])
        return error

    @property
    def compared(self) -> NDArray[np.intp]:
        """Numbers of the windows that models are compared by.

        Those of which the start was observed, where these are many: what is wrong where one begins
        is wrong for all models, and hides by how much they differ.
        """
        every = np.arange(len(self.held.agent))
        if self.held.present is None:
            return every
        known = np.flatnonzero(self.held.present[:, 0].all(axis=1))
        return known if len(known) >= SELECTION.known_starts else every

    def rmse(self, paths: Floats) -> Floats:
        """Return the RMSE of each window compared over steps, in standard deviations."""
        return self._rmse(paths)[self.compared]

    def _rmse(self, paths: Floats) -> Floats:
        mask, counted = self.held.mask, self.held.counted
        error = self.difference(paths) / self.normalizer.state_scale
        if self.held.weight is not None:  # of what was observed
            squared = np.nan_to_num(error**2, nan=np.inf, posinf=np.inf)
            squared = np.where(counted, squared, 0.0).sum(axis=(1, 2))
            rmse = np.sqrt(squared / counted.sum(axis=(1, 2)))
            return np.clip(rmse, SELECTION.best, SELECTION.worst)
        squared = np.where(mask, np.nan_to_num(error**2, nan=np.inf, posinf=np.inf).mean(-1), 0.0)
        rmse = np.sqrt(squared.sum(axis=1) / mask.sum(axis=1))
        return np.clip(rmse, SELECTION.best, SELECTION.worst)


def cut_folds(dataset: PanelDataset, problem: TrainingContext) -> list[Fold]:
    """Cut the agents' ends off, in more than one way where there is little data.

    Little data is cut at several places in time, each time of all agents: what the model is then
    asked comes after all that it has seen. Where times are uneven the visits often follow a plan
    that all agents share (a dose, close visits, then ever longer steps), and such folds ask for
    nothing but steps and states beyond the data. So agents are cut in turn as well: most of what
    is recorded of one half is held out, and of the other nothing.

    Where most agents have so few transitions that all places in time are the same, or there is
    nothing to cut (before and after), agents are held out as a whole instead, in turn, as agents
    that nothing is known of.
    """
    config = problem.config
    little = len(problem.data) <= SELECTION.few
    share, least = (1.0, 1) if little else (config.validation_share, 3)
    suffix = config.validation_suffix
    cuts: list[dict[str, Any]] = [{"suffix": suffix}]
    enough = problem.n_agents >= 2 * SELECTION.fewest_agents
    turn = np.random.default_rng((config.seed, 7)).permutation(problem.n_agents)
    if enough and _mostly_short(problem):
        parts = np.array_split(turn, SELECTION.turns if little else 1)
        cuts += [{"among": part, "whole_agents": True} for part in parts]
    elif little and config.effort != "quick":
        if problem.uneven and enough:
            late = max(suffix, SELECTION.late)
            cuts += [{"suffix": late, "among": half} for half in np.array_split(turn, 2)]
        else:
            cuts += [{"suffix": suffix, "origin": origin} for origin in SELECTION.origins[1:]]
    folds = []
    for cut in cuts:
        mask, held = hold_out(
            dataset,
            share,
            min_prefix=least,
            min_suffix=least,
            seed=config.seed,
            history=problem.history,
            changes_alone=problem.changes_alone,
            **cut,
        )
        rows = np.flatnonzero(mask).astype(np.int32)
        again = any(np.array_equal(rows, fold.rows) for fold in folds)  # of short trajectories
        if len(held.agent) and not again:
            whole = cut.get("whole_agents", False)
            folds.append(Fold(rows, problem.normalizer(rows), held, problem.angles, whole))
    return folds


def _mostly_short(problem: TrainingContext) -> bool:
    """Return whether most agents have too few transitions to be cut at several places."""
    count = np.bincount(problem.data.agent, minlength=problem.n_agents)
    short = (count > 0) & (np.ceil(SELECTION.origins[-1] * count) == count)
    return bool(short.sum() > (count > 0).sum() / 2)
