"""The result of a fit: the ensemble, how to read its inputs, and what is known of agents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.actions import ActionCode
from twinfold.data.ids import AgentId, canonical_ids, did_you_mean, match_ids
from twinfold.data.levels import Levels, coded_names
from twinfold.data.roles import Roles
from twinfold.data.transitions import DataRanges
from twinfold.errors import UsageError
from twinfold.models.agent_dynamics import AgentDynamics, fold
from twinfold.models.behaviour_policy import AgentBehaviour, Behaviour
from twinfold.models.calibration import Calibration
from twinfold.models.factor_model import FactorModel
from twinfold.models.learned_goal import LearnedGoal
from twinfold.models.linear_sums import LinearData
from twinfold.models.normalizer import Normalizer, far_text, unreachable
from twinfold.models.posterior import Posterior, factor_draws
from twinfold.models.run_info import RunInfo
from twinfold.models.world_noise import WorldNoise
from twinfold.utils.device import on_device
from twinfold.utils.text import clipped, counted

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


class DataSample(NamedTuple):
    """States of the training data, drawn at random, and what was done there.

    Attributes:
        state: ``(S, D)`` raw units.
        action: ``(S, A)`` raw units or ``(S,)`` level indices.
        agent: ``(S,)``, index of the agent that each is of; -1 if the model has forgotten it.
        known: ``(S, E)``, known inputs, raw units; None without such inputs.
    """

    state: Floats
    action: NDArray[Any]
    agent: NDArray[np.int32]
    known: Floats | None = None

    def take(self, agents: NDArray[np.integer]) -> DataSample:
        """Return the sample of some agents, numbered anew; planning needs some states.

        If there is none of these agents, the states stay, but of nobody.
        """
        stays = np.isin(self.agent, agents)
        if not stays.any():
            return self._replace(agent=np.full_like(self.agent, -1))
        place = np.searchsorted(agents, self.agent[stays]).astype(np.int32)
        known = None if self.known is None else self.known[stays]
        return DataSample(self.state[stays], self.action[stays], place, known)


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted ensemble with everything needed to use it on the user's own ids and columns.

    Attributes:
        members: stack of M members (leading axis on every array).
        normalizer: float64, on the host.
        config: what it was fitted with.
        roles: the user's columns.
        agent_ids: the user's ids of the N agents, in the order of the factors.
        action_levels: ``(L,)`` the user's discrete actions, or their numbers if these are in
            ``roles.levels``; None if an action column is continuous.
        time_step: between two rows.
        ranges: of the data that the nets were trained on; plans keep to it.
        sample: of the training data; planning learns there what states are worth.
        posterior: what is known of every agent's factors.
        sums: of the data of every agent, what linear models are made from: simple models that this
            one is compared with.
        recent: ``(N, W)``, where the data of every agent ended, with the steps before that a
            model with memory reads; NaN where nothing is known.
        ended: ``(N,)``, at which time that was, in ticks (nanoseconds of dates); NaN if it is not
            known. None of a run of an earlier version.
        band: ``(H, D)`` half-width of the prediction band by horizon, in raw units, from held-out
            errors; None if nothing could be held out.
        behaviour: the policy that the data followed; None for discrete actions, or if not learned.
        calibration: by agents that a model has not seen; None if none were reserved.
        added_ranges: by agent, ``(N, D)`` and ``(N, A)``, of the data that the nets have not seen:
            of reserved agents and of what ``adapt`` has added; NaN for agents without such data.
            None if there is none.
        levels: of the exogenous and static columns that are words.
        wander: ``(n, H, E)``, changes of known inputs over 1 to H steps, drawn from the data: how
            far one that is held is from what it will be; None without such inputs.
        hold: whether the last values of exogenous columns stand where no others are told.
        goal: what steps earn and where episodes end, learned from columns of the table; None if it
            has none.
        noise: of the world, by column, agent and state; None of a run of an earlier version.
        info: provenance and measured errors, as written to the run directory.
    """

    members: FactorModel
    normalizer: Normalizer
    config: FitConfig
    roles: Roles
    agent_ids: tuple[AgentId, ...]
    action_levels: NDArray[np.int64] | None
    time_step: float | pd.Timedelta
    ranges: DataRanges
    sample: DataSample
    posterior: Posterior
    sums: LinearData
    recent: Floats
    ended: Floats | None = None
    band: Floats | None = None
    behaviour: Behaviour | None = None
    calibration: Calibration | None = None
    added_ranges: DataRanges | None = None
    levels: Levels = field(default_factory=dict)
    wander: Floats | None = None
    hold: bool = False
    goal: LearnedGoal | None = None
    noise: WorldNoise | None = None
    info: RunInfo = field(default_factory=RunInfo, repr=False)

    def __repr__(self) -> str:
        """A short line; the arrays would fill the screen."""
        return (
            f"FittedModel({counted(len(self.agent_ids), 'agent')}, "
            f"{counted(self.n_members, 'member')}, rank "
            f"{self.members.rank}, state {list(self.roles.state)}, {self.roles.action_kind} "
            f"{list(self.roles.action)})"
        )

    @property
    def n_members(self) -> int:
        """M."""
        return len(self.members.agents)

    @property
    def history(self) -> int:
        """Rows that the model reads, the present one included; 1 for a model without memory."""
        return self.normalizer.history

    @property
    def known_names(self) -> tuple[str, ...]:
        """Names of the E known inputs: exogenous columns as coded, and the length of the step."""
        step = (f"step of {self.roles.time}",) if self.normalizer.uneven else ()
        return (*coded_names(self.roles.exogenous, self.levels), *step)

    @property
    def acted_names(self) -> tuple[str, ...]:
        """Names of the V numbers of what acted in a step that a model with memory reads."""
        known = self.known_names[: self.normalizer.n_known - self.uneven]
        n_action = self.normalizer.acted_mean.shape[-1] - len(known)
        code = self.action_code
        names = code.level_names if self.discrete else code.names
        return (*names[: max(n_action, 0)], *known)

    @property
    def uneven(self) -> bool:
        """True if the length of a step is an input."""
        return self.normalizer.uneven

    @property
    def discrete(self) -> bool:
        """True if actions are levels."""
        return self.action_levels is not None

    @property
    def action_code(self) -> ActionCode:
        """How the user's actions are written for the model."""
        return ActionCode.of(self.roles, self.action_levels)

    @property
    def n_levels(self) -> int:
        """L of a discrete action, 0 for continuous ones."""
        return 0 if self.action_levels is None else len(self.action_levels)

    @property
    def known_ranges(self) -> DataRanges:
        """Ranges of all data that the model was given: questions are measured by these.

        The table that was fitted, reserved agents included, and what was adapted to since.
        """
        if self.added_ranges is None:
            return self.ranges
        return self.ranges.union(self.added_ranges.over_agents())

    def agent_index(self, agent: AgentId) -> int:
        """Index of an agent by the user's id.

        Raises:
            UsageError: the agent was not in the training data; the message names the nearest ones.
        """
        return int(self.agent_indices([agent])[0])

    def agent_indices(self, agents: Iterable[AgentId]) -> NDArray[np.int32]:
        """Indices ``(n,)`` of agents by the user's ids.

        Raises:
            UsageError: an agent was not in the training data; see ``agent_index``.
        """
        asked = list(agents)
        found = match_ids(self.agent_ids, [canonical_ids([agent])[0] for agent in asked])
        for n in np.flatnonzero(found < 0)[:1]:
            hint = did_you_mean(asked[n], self.agent_ids, "agents")
            raise UsageError(f"unknown agent {clipped(asked[n])}.{hint}")
        return found

    def check_reach(
        self,
        state: Floats,
        action: NDArray[Any] | None = None,
        known: Floats | None = None,
    ) -> None:
        """Refuse states and actions that are too far from the data for the nets to compute with.

        Args:
            state: ``(..., D)`` raw units, or ``(..., W)`` with the steps before.
            action: level indices, which are never too far, or ``(..., A)`` raw units; None if none
                is given.
            known: ``(..., E)``, known inputs, raw units; None if none are given.

        Raises:
            UsageError: naming the first value.
        """
        for text, _ in (*self.beyond_reach(state), *self.beyond_reach(None, action, known)):
            raise UsageError(text)

    def beyond_reach(
        self,
        state: Floats | None,
        action: NDArray[Any] | None = None,
        known: Floats | None = None,
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield what is wrong with values that ``check_reach`` refuses, and their places.

        Args are those of ``check_reach``; a place is of the axes before the last.
        """
        norm, roles = self.normalizer, self.roles
        parts: list[tuple[Sequence[str], NDArray[Any], NDArray[Any]]] = []
        if state is not None:
            n_state = len(roles.state)
            before = state[..., n_state : n_state + norm.n_memory]
            state = state[..., :n_state]
            parts.append((roles.state, state, norm.encode_state(state)))
            if before.shape[-1]:
                steps = before.reshape(*before.shape[:-1], norm.history - 1, -1)
                changes, acted = steps[..., :n_state], steps[..., n_state:]
                standard = (changes - norm.change_mean) / norm.change_scale
                parts.append((roles.state, changes, standard))
                standard = (acted - norm.acted_mean) / norm.acted_scale
                parts.append((self.acted_names, acted, standard))
        if action is not None and not self.discrete:
            parts.append((self.action_code.names, action, norm.encode_action(action)))
        if known is not None:
            parts.append((self.known_names, known, norm.encode_known(known)))
        for names, values, standard in parts:
            for place in map(tuple, np.argwhere(unreachable(standard)).tolist()):
                told = f"{names[place[-1]]!r} is {values[place]:g}, {far_text(standard[place])}"
                yield told, place[:-1]

    def held(self, agent: AgentId) -> Floats:
        """Known inputs as an agent's last row has them, ``(E,)`` raw units; a usual step.

        Raises:
            UsageError: the agent is unknown, or has no data.
        """
        n_known = self.normalizer.n_known
        last = self.recent[self.agent_index(agent)]
        found = last[len(last) - n_known :].copy()
        if self.uneven:
            found[-1] = 1.0
        for e in np.flatnonzero(np.isnan(found)):
            raise UsageError(
                f"agent {agent!r} has no data: its last {self.known_names[e]!r} is not known, give "
                "a value"
            )
        return found

    def holding(self) -> FittedModel:
        """Return the model with exogenous columns held at each agent's last values.

        Plans and values of policies need them; what is predicted of a question may still be told.

        Raises:
            UsageError: it has none.
        """
        if not self.roles.exogenous:
            raise UsageError("the run has no exogenous columns: there is nothing to hold")
        return replace(self, hold=True)

    def told_inputs(self, agent: AgentId, known: Floats | None) -> Float[Array, "... E"] | None:
        """Return standardised known inputs, the same of all steps or of each; a usual step if None.

        None for a model without known inputs.

        Raises:
            UsageError: exogenous columns are needed.
        """
        normalizer = self.normalizer
        if known is None and self.roles.exogenous and self.hold:
            known = self.held(agent)
        if known is None and self.roles.exogenous:
            raise UsageError(
                "future values of the exogenous columns are needed "
                f"({', '.join(map(repr, self.roles.exogenous))}): give them (--scenario; in Python "
                "known= of dynamics), or have the last ones held (--hold-exogenous)"
            )
        if not normalizer.n_known:
            return None
        told = normalizer.encode_known(np.ones(1) if known is None else known)
        return on_device(told)

    def dynamics(
        self, agent: AgentId, draws: int = 0, known: Floats | None = None
    ) -> AgentDynamics:
        """The members folded for one agent: a stack for the planner.

        Args:
            agent: the user's id.
            draws: of the agent's factors from their posterior, for each member; then the stack has
                M x draws members, and their spread is also what is not known of the agent. With 0
                each member has its mean factors.
            known: ``(E,)``, known inputs that are held, raw units (``held`` for the last ones), or
                ``(T, E)``, those of every step from the first on, of which the last are held.

        Raises:
            UsageError: the agent is unknown, or exogenous columns need values.
        """
        index, normalizer = self.agent_index(agent), self.normalizer.on_device()
        told = self.told_inputs(agent, known)
        if not draws:
            return _fold_all(self.members, normalizer, self.members.agents[:, index, None], told)
        factors = factor_draws(self.posterior, np.array([index]), draws)[:, 0]
        return _fold_all(self.members, normalizer, on_device(factors), told)

    def agent_behaviour(self, agent: AgentId) -> AgentBehaviour | None:
        """Return the data's policy for one agent; None if it was not learned.

        Raises:
            UsageError: the agent was not in the training data.
        """
        index = self.agent_index(agent)
        if self.behaviour is None:
            return None
        return self.behaviour.of_agent(self.normalizer.on_device(), index)


@jax.jit
def _fold_all(
    members: FactorModel,
    normalizer: Normalizer,
    factors: Float[Array, "M K r"],
    known: Float[Array, "... E"] | None = None,
) -> AgentDynamics:
    """A stack of M x K members, those with the same nets next to each other."""

    def one(member: FactorModel, own: Array) -> AgentDynamics:
        return jax.vmap(lambda u: fold(member, normalizer, u, known))(own)

    stack = jax.vmap(one)(members, factors)
    size = factors.shape[0] * factors.shape[1]
    return jax.tree.map(lambda leaf: leaf.reshape(size, *leaf.shape[2:]), stack)
