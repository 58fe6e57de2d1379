"""What a fit returns: the ensemble, how to read its inputs, and batched rollouts of many agents."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.ids import AgentId, canonical_ids, did_you_mean, match_ids
from twinfold.data.panel import DataRanges
from twinfold.data.roles import Roles
from twinfold.errors import UsageError
from twinfold.models.behaviour import AgentBehaviour, Behaviour
from twinfold.models.factor import AgentDynamics, FactorModel, fold
from twinfold.models.linear import LinearData
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Posterior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pandas as pd

    from twinfold.data.panel import PanelDataset
    from twinfold.models.tracker import Tracker

Floats = NDArray[np.float64]
_BATCH = 1024  # rollouts per call of the compiled program


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fitted ensemble with everything needed to use it on the user's own ids and columns.

    Attributes:
        members: stack of M members (leading axis on every array).
        normalizer: float64, on the host.
        config: what it was fitted with.
        roles: the user's columns.
        agent_ids: the user's ids of the N agents, in the order of the factors.
        action_levels: ``(L,)`` the user's discrete actions, or None.
        time_step: between two rows.
        ranges: of the data that the nets were trained on; plans keep to it.
        band: ``(H, D)`` half-width of the prediction band by horizon, in raw units, from held-out
            errors; None if nothing could be held out.
        sample: ``(S, D)`` states of the training data, drawn at random; planning learns there what
            states are worth.
        behaviour: the policy that the data followed; None for discrete actions, or if not learned.
        posterior: what is known of every agent's factors; None in runs of an older version.
        sample_agent: ``(S,)``, index of the agent that each state of ``sample`` is of; None in runs
            of an older version.
        sample_action: ``(S, A)`` raw units or ``(S,)`` level indices, what was done there; None
            likewise.
        conformal: ``(n, H)``, by calibration agent and horizon, the largest error so far in units
            of the uncalibrated band (:mod:`twinfold.models.calibrate`); NaN beyond an agent's
            data. None if no agents were reserved.
        reference: ``(n, k)``, statistics of the calibration agents (``examine.STATISTICS``), what
            is usual; None likewise.
        calibration_agent: ``(n,)``, index of the agent that each row of these two is of; None
            likewise, and in runs of an older version.
        added_ranges: by agent, ``(N, D)`` and ``(N, A)``, of the data that the nets have not seen:
            of reserved agents and of what ``adapt`` has added; NaN for agents without such data.
            None if there is none.
        sums: of the data of every agent, what linear models are made from: simple models that this
            one is compared with. None in runs of an older version.
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
    band: Floats | None
    sample: Floats
    behaviour: Behaviour | None = None
    posterior: Posterior | None = None
    sample_agent: NDArray[np.int32] | None = None
    sample_action: NDArray[Any] | None = None
    conformal: Floats | None = None
    reference: Floats | None = None
    calibration_agent: NDArray[np.int32] | None = None
    added_ranges: DataRanges | None = None
    sums: LinearData | None = None
    info: dict[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """A short line; the arrays would fill the screen."""
        return (
            f"FittedModel({len(self.agent_ids)} agents, {self.n_members} members, rank "
            f"{self.members.rank}, state {list(self.roles.state)}, {self.roles.action_type} action "
            f"{list(self.roles.action)})"
        )

    @property
    def n_members(self) -> int:
        """M."""
        return len(self.members.agents)

    @property
    def discrete(self) -> bool:
        """Whether actions are levels."""
        return self.action_levels is not None

    @property
    def n_levels(self) -> int:
        """L of a discrete action, 0 for continuous ones."""
        return 0 if self.action_levels is None else len(self.action_levels)

    @property
    def known_ranges(self) -> DataRanges:
        """Of all data that the model was given: what it is asked about is measured by these.

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
        index = int(match_ids(self.agent_ids, canonical_ids([agent]))[0])
        if index < 0:
            hint = did_you_mean(agent, self.agent_ids, "agents")
            raise UsageError(f"unknown agent {agent!r}.{hint}")
        return index

    def dynamics(self, agent: AgentId, draws: int = 0) -> AgentDynamics:
        """The members folded for one agent: a stack for the planner.

        Args:
            agent: the user's id.
            draws: of the agent's factors from their posterior, for each member; then the stack has
                M x draws members, and their spread is also what is not known of the agent. With 0
                each member has its mean factors.

        Raises:
            UsageError: the agent is unknown.
            RunError: draws of a run from before there was a posterior.
        """
        index, normalizer = self.agent_index(agent), self.normalizer.on_device()
        if not draws:
            return _fold_all(self.members, normalizer, self.members.agents[:, index, None])
        from twinfold.models.fold_in import known_posterior
        from twinfold.models.predictive import factor_draws

        factors = factor_draws(known_posterior(self), np.array([index]), draws)[:, 0]
        return _fold_all(self.members, normalizer, jnp.asarray(factors, jnp.float32))

    def agent_behaviour(self, agent: AgentId) -> AgentBehaviour | None:
        """What the data's policy would do with one agent; None if it was not learned.

        Raises:
            UsageError: the agent was not in the training data.
        """
        index = self.agent_index(agent)
        if self.behaviour is None:
            return None
        return self.behaviour.of_agent(self.normalizer.on_device(), index)

    def adapt(
        self,
        panel: PanelDataset,
        *,
        strict: bool = False,
        warn: Callable[[str], None] | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> FittedModel:
        """The model with new agents, or with more data of known ones; see ``fold_in.adapt``."""
        from twinfold.models.fold_in import adapt

        return adapt(self, panel, strict=strict, warn=warn, progress=progress)

    def forget(self, agents: Iterable[AgentId]) -> FittedModel:
        """The model without some agents; see ``fold_in.forget``."""
        from twinfold.models.fold_in import forget

        return forget(self, agents)

    def track(self, agent: AgentId, static: Mapping[str, float] | None = None) -> Tracker:
        """Follow one agent, known or new, transition by transition; see ``tracker.Tracker``."""
        from twinfold.models.tracker import Tracker

        return Tracker(self, agent, static)


@jax.jit
def _fold_all(
    members: FactorModel, normalizer: Normalizer, factors: Float[Array, "M K r"]
) -> AgentDynamics:
    """A stack of M x K members, those with the same nets next to each other."""

    def one(member: FactorModel, own: Array) -> AgentDynamics:
        return jax.vmap(lambda u: fold(member, normalizer, u))(own)

    stack = jax.vmap(one)(members, factors)
    size = factors.shape[0] * factors.shape[1]
    return jax.tree.map(lambda leaf: leaf.reshape(size, *leaf.shape[2:]), stack)


@functools.partial(jax.jit, static_argnames="n_steps")
def _rollout_batch(
    members: FactorModel,
    normalizer: Normalizer,
    agent: Int[Array, " Q"],
    state: Float[Array, "Q D"],
    actions: Array,
    n_steps: int,
) -> Float[Array, "M Q H D"]:
    """Standardised states; members one after the other, each from its own predictions."""

    def one_member(member: FactorModel) -> Float[Array, "Q H D"]:
        factors = member.agents[agent]  # (Q, r)

        def one_step(states: Array, action: Array) -> tuple[Array, Array]:
            target = jax.vmap(member)(factors, normalizer.inputs(states), action)
            states = normalizer.advance(states, target)
            return states, states

        _, path = jax.lax.scan(one_step, state, jnp.swapaxes(actions, 0, 1), length=n_steps)
        return jnp.swapaxes(path, 0, 1)

    return jax.lax.map(one_member, members)


def rollout_members(
    members: FactorModel,
    normalizer: Normalizer,
    agent: NDArray[np.integer],
    state: Floats,
    actions: NDArray[Any],
) -> Floats:
    """Open-loop predictions of every member for many (agent, start, actions) at once.

    Runs in batches of one size, so that one compilation serves all tables of a similar length.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        agent: ``(Q,)`` indices.
        state: ``(Q, D)`` starts, raw units.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.

    Returns:
        ``(M, Q, H, D)`` float64, raw units: the states after each action.
    """
    n_queries, horizon = actions.shape[:2]
    n_members, n_state = len(members.agents), state.shape[-1]
    out = np.empty((n_members, n_queries, horizon, n_state))
    if not out.size:
        return out
    # Lengths are rounded up so that a table whose queries differ in length compiles few programs.
    padded = next((size for size in (1, 8) if horizon <= size), -(-horizon // 16) * 16)
    batch = min(_BATCH, 1 << (n_queries - 1).bit_length())
    device = normalizer.on_device()
    low = normalizer.decode_state(normalizer.low)
    high = normalizer.decode_state(normalizer.high)
    start = normalizer.encode_state(state).astype(np.float32)
    codes = normalizer.encode_action(actions)
    codes = codes.astype(np.int32 if actions.ndim == 2 else np.float32)
    for first in range(0, n_queries, batch):
        rows = slice(first, first + batch)
        size = len(start[rows])
        fill = [(0, batch - size), (0, padded - horizon)] + [(0, 0)] * (codes.ndim - 2)
        path = _rollout_batch(
            members,
            device,
            np.pad(np.asarray(agent[rows], np.int32), fill[:1]),
            np.pad(start[rows], [fill[0], (0, 0)]),
            np.pad(codes[rows], fill),
            padded,
        )
        part = np.asarray(path)[:, :size, :horizon].astype(np.float64)
        # Once more in raw units: what cannot be negative must not come out as -1e-9.
        out[:, rows] = np.clip(normalizer.decode_state(part), low, high)
    return out


def centre(paths: Floats) -> Floats:
    """Robust mean over members, axis 0: a fifth of them, at least one, is cut off at either end.

    With fewer than three members nothing can be cut. A member that diverges (NaN, infinity) sorts
    to the end and is cut, as long as it is alone.
    """
    n_members = len(paths)
    cut = -(-n_members // 5) if n_members >= 3 else 0
    return np.sort(paths, axis=0)[cut : n_members - cut].mean(axis=0)


def spread(paths: Floats) -> Floats:
    """Robust standard deviation over members, axis 0: 1.4826 times the median absolute deviation.

    As robust as :func:`centre`: one diverging member does not widen it. Zero for a single member.
    """
    known = np.where(np.isnan(paths), np.inf, paths)
    with np.errstate(invalid="ignore"):  # infinity from infinity
        deviation = np.abs(known - np.median(known, axis=0))
    return 1.4826 * np.median(np.where(np.isnan(deviation), np.inf, deviation), axis=0)


def agent_responses(model: FittedModel, state: Floats, actions: NDArray[Any]) -> Floats:
    """How every agent would respond to the same probes: a gauge-free description of agents.

    Factors are unique only up to a change of basis, and differ between members; what they predict
    does not. Agents with like responses are alike.

    Args:
        model: a fitted model.
        state: ``(P, D)`` raw units.
        actions: ``(P,)`` level indices or ``(P, A)`` raw units.

    Returns:
        ``(N, P * D)``: predicted differences in units of their spread in the training data.
    """
    n_agents, (n_probes, n_state) = len(model.agent_ids), state.shape
    paths = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(np.arange(n_agents), n_probes),
        np.tile(state, (n_agents, 1)),
        np.tile(actions, (n_agents, *[1] * (actions.ndim - 1)))[:, None],
    )
    change = centre(paths)[:, 0] - np.tile(state, (n_agents, 1))
    return (change / model.normalizer.target_scale).reshape(n_agents, n_probes * n_state)
