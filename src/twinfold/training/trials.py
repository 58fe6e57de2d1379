"""Candidates for a model, tried on data held out: the simple models in closed form, and nets.

Every candidate is fitted to what comes before a cut and predicts what comes after it, open loop.
Where cuts are made: ``folds``.

Axes: F folds, S windows of a fold, H steps, D state columns, n agents with a window, M members.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.config import FitConfig, Kind
from twinfold.data.windows import Windows
from twinfold.metrics import robust_scale, trimmed_mean
from twinfold.models.factor_model import FactorModel, Structure
from twinfold.models.linear import (
    LinearFit,
    Ridges,
    fit_average,
    fit_linear,
    rollout_linear,
    strength,
)
from twinfold.models.linear_kinds import ADDITIVE, ALIKE, Part, Ratio
from twinfold.models.linear_sums import LinearData, linear_features_of
from twinfold.models.member_features import features_of
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Posterior
from twinfold.models.rollout import posterior_paths, rollout_members
from twinfold.models.static_prior import StaticColumns
from twinfold.training.ensemble import TrainingContext, fresh_member, stacked, train_members
from twinfold.training.folds import Fold
from twinfold.training.selection_settings import SELECTION
from twinfold.training.trainer import MemberJob
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]

NO_NETS = Structure(joint=False, rank=0)


class Candidate(NamedTuple):
    """A model that may be chosen.

    Attributes:
        linear: kind of the linear model; None for nets alone.
        structure: of the nets; of rank 0 for none.
        steps: length of their training.
        shrinkage: penalty on the distance of their agent factors from the mean.
        unrolled: length of the second phase.
        ratio: how much agents' linear models differ.
        parts: of an average of linear models.
        history: rows that the model reads.
        changes_alone: whether of those before it reads how the state changed, and nothing else.
        static: whether static columns move the agents' own coefficients in the linear model.
    """

    linear: Kind | None
    structure: Structure = NO_NETS
    steps: int = 0
    shrinkage: float = 0.0
    unrolled: int = 0
    ratio: Ratio = ALIKE
    parts: tuple[Part, ...] = ()
    history: int = 1
    changes_alone: bool = False
    static: bool = False

    @property
    def reads_static(self) -> bool:
        """Whether static columns are read, by the linear model or by a part of it."""
        return self.static or any(part.static for part in self.parts)

    @property
    def additive(self) -> bool:
        """Whether the linear model, or a part of it, is made of ramps."""
        return self.linear in ADDITIVE or any(part.kind in ADDITIVE for part in self.parts)

    def fit_linear(
        self,
        data: LinearData,
        ridges: Ridges | None = None,
        static: StaticColumns | None = None,
    ) -> LinearFit | None:
        """Return the linear model of some data; None for nets alone.

        Args:
            data: sums over the transitions.
            ridges: strengths; found if None.
            static: columns of the agents, for a model that reads them.
        """
        if self.linear is None:
            return None
        x = None if static is None else static.x
        if self.linear == "average":
            return fit_average(data, self.parts, ridges, x)
        x, memory = x if self.static else None, self.history > 1
        ridges = ridges or Ridges()
        ridge = ridges.additive if self.linear in ADDITIVE else ridges.linear
        return fit_linear(data, self.linear, self.ratio, ridge, memory, x)


class Trial(NamedTuple):
    """Errors of a candidate.

    Attributes:
        candidate: what was tried.
        config: settings of the nets' training.
        paths: of every fold, ``(S, H, D)``, raw units.
        errors: of every fold, RMSE of each window compared over steps and columns, in standard
            deviations of the state.
        noise: ``(D,)``, robust scale of the held-out errors of one step, in standard deviations of
            the target.
        unknown: finds, for every fold, what is not known of the agents' factors, as standard
            deviations of the paths ``(S, H, D)``; None where agents are known by their own data.
    """

    candidate: Candidate
    config: FitConfig
    paths: list[Floats]
    errors: list[Floats]
    noise: Floats
    unknown: Callable[[], list[Floats]] | None = None

    @property
    def typical(self) -> float:
        """Return the geometric mean of the windows' errors."""
        return float(np.exp(np.log(np.concatenate(self.errors)).mean()))

    @property
    def mean(self) -> float:
        """Return the arithmetic mean of the windows' errors."""
        return float(np.concatenate(self.errors).mean())


class Trials:
    """Tries candidates on the same folds."""

    def __init__(self, problem: TrainingContext, folds: list[Fold]) -> None:
        """Begin.

        Args:
            problem: data and settings.
            folds: at least one.
        """
        self.problem, self.folds = problem, folds
        self.additive = problem.tries_additive
        self._additive = [
            problem.linear_data(fold.normalizer, fold.rows, ramps=self.additive) for fold in folds
        ]
        self._linear = [sums.without_ramps() for sums in self._additive]
        self._ridges: dict[int, Ridges] = {}

    def linear(self, candidate: Candidate, fold: int) -> LinearFit | None:
        """Return the linear model of a fold's training data."""
        if fold not in self._ridges:
            both = self._linear[fold], self._additive[fold]
            ridges = Ridges(strength(both[0]), strength(both[1]) if self.additive else None)
            self._ridges[fold] = ridges
        sums = (self._additive if candidate.additive else self._linear)[fold]
        return candidate.fit_linear(sums, self._ridges[fold], self.problem.static)

    def simple(self, candidate: Candidate) -> Trial:
        """Try a linear model by itself."""
        problem = self.problem
        candidate = _remembering(candidate, problem)
        n_levels = problem.n_levels
        paths, errors, noises, fits = [], [], [], []
        for f, fold in enumerate(self.folds):
            linear, held, norm = self.linear(candidate, f), fold.held, fold.normalizer
            assert linear is not None
            fits.append(linear)
            own, ramps = linear.coefficients(held.agent), linear.ramps
            paths.append(
                rollout_linear(norm, own, held.start, held.action, n_levels, held.known, ramps)
            )
            errors.append(fold.rmse(paths[-1]))
            agent, before, action, after, weight = one_steps(held, norm)
            phi = linear_features_of(norm, norm.carry(before), action, n_levels, ramps)
            predicted = np.einsum("kq,kqd->kd", phi, linear.coefficients(agent))
            left = norm.encode_target(before, after) - predicted
            noises.append(robust_scale(left, None, weight))
        noise = np.sqrt(np.square(noises).mean(axis=0))
        few = len(problem.data) <= SELECTION.few
        unknown = functools.partial(self._unknown_of_linear, candidate, fits) if few else None
        return Trial(candidate, problem.config, paths, errors, noise, unknown)

    def _unknown_of_linear(self, candidate: Candidate, fits: Sequence[LinearFit]) -> list[Floats]:
        """Return what is not known of the agents' factors in every fold."""
        stacks = [
            stacked([fresh_member(self.problem, fold.normalizer, 0, NO_NETS, linear)])
            for fold, linear in zip(self.folds, fits, strict=True)
        ]
        return [
            self._unknown(fold, stack, self._posterior(candidate, f, fold, stack))
            for f, (fold, stack) in enumerate(zip(self.folds, stacks, strict=True))
        ]

    def nets(self, candidates: list[Candidate], config: FitConfig, what: str) -> list[Trial]:
        """Train each candidate's nets, side by side, and try them.

        Args:
            candidates: with the same linear model.
            config: how to train.
            what: name of this stage, for the progress.
        """
        problem, count = self.problem._replace(config=config), config.validation_members
        candidates = [_remembering(candidate, problem) for candidate in candidates]
        stacks: list[list[FactorModel]] = [[] for _ in candidates]
        folds = [
            fold._replace(normalizer=problem.normalizer(fold.rows))
            if config.direct != self.problem.config.direct
            else fold
            for fold in self.folds
        ]
        for f, fold in enumerate(folds):
            jobs = [
                MemberJob(
                    f"fold{f}-{what}-{_key(config, c)}-{m}",
                    1000 + m,
                    c.steps,
                    c.shrinkage,
                    c.structure,
                    c.unrolled,
                )
                for c in candidates
                for m in range(count)
            ]
            linear = self.linear(candidates[0], f)
            members, _ = train_members(problem, fold.rows, fold.normalizer, jobs, what, linear)
            for k in range(len(candidates)):
                stacks[k].append(stacked(members[k * count : (k + 1) * count]))
        return [
            self._tried(candidate, config, folds, own)
            for candidate, own in zip(candidates, stacks, strict=True)
        ]

    def _tried(
        self,
        candidate: Candidate,
        config: FitConfig,
        folds: list[Fold],
        stacks: list[FactorModel],
    ) -> Trial:
        """Solve for the agents as a fit does, predict, and measure."""
        paths, errors, noises = [], [], []
        solved_stacks, posteriors = [], []
        for f, (fold, stack) in enumerate(zip(folds, stacks, strict=True)):
            # Agents of many rows are known by their own data, whatever the prior.
            if len(fold.rows) > SELECTION.many:
                paths.append(self._rolled(fold, stack))
                errors.append(fold.rmse(paths[-1]))
                noises.append(held_out_noise(fold, stack))
                continue
            posterior = self._posterior(candidate, f, fold, stack)
            posteriors.append(posterior)
            factors = on_device(posterior.solve()[0])
            solved = eqx.tree_at(lambda m: m.agents, stack, factors)
            solved_stacks.append(solved)
            paths.append(self._rolled(fold, solved))
            errors.append(fold.rmse(paths[-1]))
            noises.append(held_out_noise(fold, solved))
        noise = np.sqrt(np.square(noises).mean(axis=0))
        if len(self.problem.data) > SELECTION.few:
            return Trial(candidate, config, paths, errors, noise)

        def unknown() -> list[Floats]:
            return [
                self._unknown(*each) for each in zip(folds, solved_stacks, posteriors, strict=True)
            ]

        return Trial(candidate, config, paths, errors, noise, unknown)

    def _posterior(
        self, candidate: Candidate, number: int, fold: Fold, stack: FactorModel
    ) -> Posterior:
        """Return the sums of a fold's training data."""
        linear, columns = self.linear(candidate, number), self.problem.static
        moved = linear is not None and linear.static is not None
        return trained_posterior(
            stack,
            fold.normalizer,
            self.problem.data.select(fold.rows),
            held_out_noise(fold, stack),
            self.problem.n_agents,
            static=columns.values if columns is not None and moved else None,
            linear=linear,
            weighed_again=False,
        )

    def _unknown(self, fold: Fold, stack: FactorModel, posterior: Posterior) -> Floats:
        """Return what is not known of the agents' factors, ``(S, H, D)``, raw units."""
        held = fold.held
        return posterior_paths(
            stack, fold.normalizer, posterior, held.agent, held.start, held.action, held.known
        )[1]

    def _rolled(self, fold: Fold, stack: FactorModel) -> Floats:
        """Return the predictions for a fold's windows, ``(S, H, D)``, raw units."""
        held = fold.held
        return trimmed_mean(
            rollout_members(stack, fold.normalizer, held.agent, held.start, held.action, held.known)
        )

    def by_agent(self, trial: Trial, *, log: bool = False) -> Floats:
        """Return mean errors of the agents ``(n,)``; of few agents those of the windows."""
        agent = np.concatenate([fold.held.agent[fold.compared] for fold in self.folds])
        errors = np.concatenate(trial.errors)
        errors = np.log(errors) if log else errors
        _, index, counts = np.unique(agent, return_inverse=True, return_counts=True)
        if len(counts) < SELECTION.fewest_agents:
            return errors
        return np.bincount(index, errors) / counts


def _remembering(candidate: Candidate, problem: TrainingContext) -> Candidate:
    """Return a candidate with the memory of a problem."""
    return candidate._replace(history=problem.history, changes_alone=problem.changes_alone)


def as_used(trials: Trials, trial: Trial) -> Trial:
    """Return nets' trial with as many members as decide whether nets are used.

    One net alone is worse than the ensemble: where times are uneven and data is little, single
    nets run off in some windows, which the ensemble's median does not. Elsewhere the trial itself.
    """
    problem, config = trials.problem, trial.config
    members = min(config.members, SELECTION.deciding)
    little = len(problem.data) <= SELECTION.few and config.effort != "quick"
    if not (problem.uneven and little and members > config.validation_members):
        return trial
    more = config.model_copy(update={"validation_members": members})
    found = trials.nets([trial.candidate], more, "trying several nets together")[0]
    return found._replace(config=config)


def held_out_noise(fold: Fold, stack: FactorModel) -> Floats:
    """Return the robust scale ``(D,)`` of errors of one step, in target standard deviations."""
    agent, before, action, after, weight = one_steps(fold.held, fold.normalizer)
    features = features_of(stack, fold.normalizer, before, action)
    factors = np.asarray(stack.agents, np.float64)[:, agent]
    target = fold.normalizer.encode_target(before, after)
    error = np.abs(target - np.einsum("mkdr,mkr->mkd", features, factors))
    weight = None if weight is None else np.tile(weight, (len(error), 1))
    return np.asarray(robust_scale(error.reshape(-1, error.shape[-1]), None, weight), np.float64)


def one_steps(
    held: Windows, normalizer: Normalizer
) -> tuple[NDArray[np.integer], Floats, NDArray[Any], Floats, Floats | None]:
    """Return agents, states, actions, next states and weights of single steps, or of a sample.

    Where times are uneven those longer than any in training are left out, unless all are.
    """
    mask = held.mask
    if normalizer.uneven and held.known is not None:
        usual = mask & (held.known[..., -1] <= normalizer.known_high[-1])
        mask = usual if usual.any() else mask
    before = held.before[mask]
    rows = np.arange(len(before))[:: -(-len(before) // SELECTION.noise_sample)]
    agent = np.broadcast_to(held.agent[:, None], mask.shape)[mask][rows]
    weight = None if held.weight is None else held.weight[mask][rows]
    return agent, before[rows], held.action[mask][rows], held.next_state[mask][rows], weight


def _key(config: FitConfig, candidate: Candidate) -> str:
    """Return what tells the jobs of a stage apart."""
    digest = hashlib.sha256(repr((config, candidate)).encode()).hexdigest()
    return digest[:16]
