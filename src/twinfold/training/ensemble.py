"""Training some members on some of the data, nets by gradient descent, factors in closed form."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.errors import UsageError
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.models.linear import LinearFit
from twinfold.models.linear_kinds import ADDITIVE
from twinfold.models.linear_sums import LinearData, find_ramps, linear_data
from twinfold.models.linear_terms import LinearTerms
from twinfold.models.long_steps import acts_at_once
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import erratic_columns, fit_normalizer
from twinfold.models.static_prior import StaticColumns
from twinfold.training.factor_regression import solve_factors
from twinfold.training.head_refinement import refine_heads
from twinfold.training.memory_trust import memory_trust
from twinfold.training.selection_settings import SELECTION
from twinfold.training.train_step import TrainData, Unroll
from twinfold.training.trainer import MemberJob, Progress, run_jobs
from twinfold.utils.device import on_device

if TYPE_CHECKING:
    from twinfold.training.run_writer import RunWriter


class TrainingContext(NamedTuple):
    """Data and settings of a fit; they do not change during it.

    Attributes:
        data: all transitions.
        n_agents: N.
        action_size: L levels if discrete, else A columns.
        discrete: kind of action.
        angles: columns of the state that are angles.
        config: settings.
        progress: receives (what, steps done, steps in all).
        writer: keeps the state of unfinished training.
        uneven: whether the length of a step is an input.
        static: static columns of the agents; None without any.
        trust: how much transitions count of which 0, 1, .. k - 2 steps before are known
            (``memory_trust``); empty if all count in full.
    """

    data: Transitions
    n_agents: int
    action_size: int
    discrete: bool
    angles: tuple[int, ...]
    config: FitConfig
    progress: Progress | None = None
    writer: RunWriter | None = None
    uneven: bool = False
    static: StaticColumns | None = None
    trust: tuple[float, ...] = ()

    @property
    def history(self) -> int:
        """Rows that a model reads, the present one included."""
        return self.data.history

    @property
    def n_levels(self) -> int:
        """L of a discrete action, 0 for continuous ones."""
        return self.action_size if self.discrete else 0

    @property
    def evidence(self) -> float:
        """Transitions, each by how much it counts, of the state column with most."""
        weight = self.data.weight
        return float(len(self.data)) if weight is None else float(weight.sum(axis=0).max(initial=0))

    @classmethod
    def of(
        cls,
        dataset: PanelDataset,
        data: Transitions,
        config: FitConfig,
        progress: Progress | None = None,
        writer: RunWriter | None = None,
    ) -> TrainingContext:
        """Return the problem that a panel poses; ``data`` are its transitions."""
        levels = dataset.action_levels
        roles, static = dataset.roles, dataset.static
        return cls(
            data=data,
            n_agents=dataset.n_agents,
            action_size=data.action.shape[1] if levels is None else len(levels),
            discrete=levels is not None,
            angles=tuple(roles.state.index(name) for name in roles.angle),
            config=config,
            progress=progress,
            writer=writer,
            uneven=dataset.uneven,
            static=None if static is None else StaticColumns.of(static[: dataset.n_agents]),
        )

    @property
    def tries_additive(self) -> bool:
        """Whether additive models are tried: of few data at even times, or where one is wanted.

        At uneven times none was of use on the tables tried.
        """
        wanted = self.config.linear
        several = wanted in ("auto", "average")
        few = not self.uneven and len(self.data) <= SELECTION.few
        return wanted in ADDITIVE or (several and few)

    def linear_data(
        self, normalizer: Normalizer, rows: NDArray[np.int32], *, ramps: bool
    ) -> LinearData:
        """Return the sums that linear models of some rows are made from.

        Args:
            normalizer: of those rows.
            rows: numbers of the transitions.
            ramps: whether additive models are to be made as well.
        """
        data = self.data.select(rows)
        found = find_ramps(normalizer, data, self.n_levels) if ramps else None
        return linear_data(normalizer, data, self.n_agents, self.n_levels, found)

    @property
    def changes_alone(self) -> bool:
        """Whether nothing is remembered but how the state changed."""
        memory = self.data.memory
        return memory is not None and memory.shape[2] == self.data.state.shape[1]

    def with_history(
        self, dataset: PanelDataset, history: int, changes_alone: bool = False
    ) -> TrainingContext:
        """Return the same problem for a model that reads so many rows of the panel.

        Args:
            dataset: the panel.
            history: rows.
            changes_alone: whether of those before it reads how the state changed, and nothing else.
        """
        if history == self.history and changes_alone == self.changes_alone:
            return self
        data = dataset.transitions(history, changes_alone=changes_alone)
        found = self._replace(data=data, trust=())
        if history == 1:
            return found
        normalizer = found.normalizer(np.arange(len(data), dtype=np.int32))
        trust = memory_trust(data, normalizer, self.n_agents, self.n_levels)
        return found._replace(data=data.counted_by(trust), trust=trust)

    def unrolled_steps(self, rows: NDArray[np.int32]) -> int:
        """Return the length of the second phase of training, 0 if no trajectory is long enough."""
        config = self.config
        if config.unroll == 1 or not len(path_starts(self.data, rows, config.unroll)):
            return 0
        return config.unroll_steps

    def normalizer(self, rows: NDArray[np.int32]) -> Normalizer:
        """Return means and scales of some rows."""
        data = self.data.select(rows)
        direct = erratic_columns(data) if self.config.direct and not self.uneven else ()
        direct = [d for d in direct if d not in self.angles]
        found = fit_normalizer(data, self.angles, direct, self.uneven)
        if not self.uneven:
            return found
        data = dataclasses.replace(data, weight=None)  # of all columns together
        sums = linear_data(found, data, self.n_agents, self.n_levels)
        of_all = [(part.gram.sum(axis=0), part.moment.sum(axis=0)) for _, part in sums.parts()]
        at_once = acts_at_once(of_all, sums.n_inputs)
        return dataclasses.replace(found, known_at_once=np.array(float(at_once)))


def check_history(data: Transitions, history: int | str) -> None:
    """Refuse a memory of more rows than any trajectory has before a transition.

    Raises:
        UsageError: naming the most rows that there are.
    """
    longest = int(data.step.max(initial=0)) + 1
    if history != "auto" and int(history) > longest:
        raise UsageError(
            f"history is {history}, longer than any trajectory: the longest has {longest} rows "
            f"with a next one; give at most {longest}, or auto"
        )


def train_members(
    problem: TrainingContext,
    rows: NDArray[np.int32],
    normalizer: Normalizer,
    jobs: list[MemberJob],
    what: str,
    linear: LinearFit | None = None,
) -> tuple[list[FactorModel], NDArray[np.floating]]:
    """Train members on some rows.

    All rows go to the device, so that this and the next call are one compiled program.

    Args:
        problem: data and settings.
        rows: numbers of the transitions to train on, ascending.
        normalizer: of those rows.
        jobs: the members.
        what: name of this stage, for the progress.
        linear: a model of those rows that the nets add to; None for nets alone.

    Returns:
        The members in the order of the jobs, and their last losses ``(J,)``.
    """
    data, config = problem.data.to_learn_from(rows), problem.config
    codes = normalizer.encode_action(data.action)
    states = normalizer.carry(data.start)
    inputs = normalizer.inputs(states)
    train_data = TrainData(
        agent=on_device(data.agent, np.int32),
        inputs=on_device(inputs),
        action=on_device(codes, np.int32 if problem.discrete else np.float32),
        target=on_device(normalizer.encode_target(data.state, data.next_state)),
        weight=None if data.weight is None else on_device(data.weight),
    )

    def init(job: MemberJob) -> FactorModel:
        fresh = fresh_member(problem, normalizer, job.member, job.structure, linear)
        if not normalizer.uneven or linear is None:
            return fresh
        read = np.asarray(inputs)[rows]
        edge = on_device(np.stack([read.min(axis=0), read.max(axis=0)]))
        return eqx.tree_at(lambda m: m.edge, fresh, edge, is_leaf=lambda x: x is None)

    unroll = None
    if any(job.unrolled for job in jobs):
        unroll = (
            Unroll(
                on_device(states),
                on_device(np.arange(config.unroll), np.int32),
                normalizer.on_device(),
            ),
            path_starts(data, rows, config.unroll),
        )
    members, losses = run_jobs(
        jobs, train_data, rows, init, config, problem.progress, problem.writer, what, unroll
    )
    variance = None if linear is None else linear.variance
    members = solve_factors(members, train_data, rows, variance=variance)
    polished = refine_heads(members, train_data, rows, config.polish, problem.progress, variance)
    return polished, losses


def fresh_member(
    problem: TrainingContext,
    normalizer: Normalizer,
    member: int,
    structure: Structure,
    linear: LinearFit | None,
) -> FactorModel:
    """Return a member before its nets are trained, which predicts as the linear model does."""
    config = problem.config
    terms = None
    if linear is not None:
        ramps = jax.tree.map(on_device, linear.ramps)
        terms = LinearTerms(on_device(linear.shared), linear.own, ramps)
    fresh = init_factor_model(
        jax.random.fold_in(jax.random.key(config.seed), member),
        config,
        problem.n_agents,
        len(normalizer.state_mean),
        problem.action_size,
        problem.discrete,
        structure,
        normalizer.n_inputs,
        terms,
        normalizer.uneven,
    )
    if linear is None or terms is None:
        return fresh
    agents = np.array(fresh.agents)
    agents[:, : terms.size] = linear.factors
    return eqx.tree_at(lambda m: m.agents, fresh, on_device(agents))


def unbroken(data: Transitions, rows: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """Return those of ``rows`` (ascending) that begin ``length`` consecutive ones, all in it."""
    if len(rows) < length:
        return rows[:0]
    last = rows[length - 1 :]
    first = rows[: len(last)]
    whole = (last - first == length - 1) & (data.segment[first] == data.segment[last])
    return first[whole]


def path_starts(data: Transitions, rows: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """Return the rows that predictions over several steps are trained from: ``unbroken`` ones.

    Nothing is filled in where one begins: it would be taken for the truth all the way.
    """
    found = unbroken(data, rows, length)
    return found[data.complete[found]]


def stacked(members: list[FactorModel]) -> FactorModel:
    """Return a stack of members of the same structure."""
    return jax.tree.map(lambda *leaves: on_device(np.stack(leaves)), *members)
