"""Windows: parts of trajectories that are to be predicted, padded to one length, and their cutters.

Axes: S windows of at most H transitions, D state columns, A action columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.memory import with_memory
from twinfold.data.panel import PanelDataset
from twinfold.data.transitions import Transitions
from twinfold.errors import UsageError

Floats = NDArray[np.float64]

HORIZON = 50
"""Longest prediction that is held out or calibrated, in steps."""


class Windows(NamedTuple):
    """Parts of trajectories, to be predicted open loop from their starts.

    Attributes:
        agent: ``(S,)``, index into the panel's agents.
        state: ``(S, D)``, where each begins.
        action: ``(S, H, A)``, or ``(S, H)`` level indices; zero beyond the window.
        next_state: ``(S, H, D)``, what followed; zero beyond the window.
        mask: ``(S, H)`` bool, True within the window.
        memory: ``(S, H, m, B)``, the steps before each true state, the latest first; None for a
            model without memory.
        known: ``(S, H, E)``, known inputs of each step; None without such inputs.
        weight: ``(S, H, D)``, of each value of ``next_state`` as what follows from the state before
            it, 0 where it was not observed; None if all count alike.
        present: ``(S, H, D)`` bool, which values of the states before were observed; None likewise.
    """

    agent: NDArray[np.int32]
    state: Floats
    action: NDArray[Any]
    next_state: Floats
    mask: NDArray[np.bool_]
    memory: Floats | None = None
    known: Floats | None = None
    weight: Floats | None = None
    present: NDArray[np.bool_] | None = None

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which values were to be predicted: observed ones within the window, ``(S, H, D)``."""
        mask = np.broadcast_to(self.mask[..., None], self.next_state.shape)
        return mask if self.weight is None else mask & (self.weight > 0)

    @property
    def steps(self) -> NDArray[np.bool_]:
        """At which steps something was observed, ``(S, H)``."""
        found: Any = self.mask if self.weight is None else self.counted.any(axis=-1)
        return found

    @property
    def truth(self) -> Floats:
        """What followed, ``(S, H, D)``; NaN where it was not observed, zero beyond the window."""
        if self.weight is None:
            return self.next_state
        return np.where(self.counted | ~self.mask[..., None], self.next_state, np.nan)

    @property
    def start(self) -> Floats:
        """What a prediction starts from, ``(S, W)``."""
        first = (None if x is None else x[:, 0] for x in (self.memory, self.known))
        return with_memory(self.state, *first)

    @property
    def before(self) -> Floats:
        """What each step starts from if all before it is true, ``(S, H, W)``."""
        states = np.concatenate([self.state[:, None], self.next_state[:, :-1]], axis=1)
        return with_memory(states, self.memory, self.known)

    @property
    def n_transitions(self) -> int:
        """Transitions in all windows together."""
        return int(self.mask.sum())

    def observed(self) -> Windows:
        """The windows in which something was observed."""
        chosen: Any = self.steps.any(axis=1)
        if chosen.all():
            return self
        parts: list[Any] = [None if part is None else part[chosen] for part in self]
        return Windows(*parts)

    @classmethod
    def cut(
        cls, data: Transitions, first: NDArray[Any], length: NDArray[Any], horizon: int
    ) -> Windows:
        """Return the windows of some transitions.

        Args:
            data: transitions ordered by agent and time.
            first: rows that the windows begin with, ``(S,)``.
            length: steps of each, ``(S,)``; at most ``horizon``.
            horizon: H.
        """
        steps = np.arange(horizon)
        mask = steps < np.asarray(length)[:, None]  # (S, H)
        rows = np.where(mask, np.asarray(first, np.int64)[:, None] + steps, 0)

        def padded(values: NDArray[Any]) -> NDArray[Any]:
            found = values[rows]  # (S, H) or (S, H, .)
            found[~mask] = 0
            return found

        return cls(
            data.agent[first],
            data.state[first],
            padded(data.action),
            padded(data.next_state),
            mask,
            *(
                None if part is None else padded(part)
                for part in (data.memory, data.known, data.weight, data.present)
            ),
        )


def split_ends(
    data: Transitions, horizon: int = HORIZON, whole: NDArray[np.bool_] | None = None
) -> tuple[Transitions, Windows]:
    """Cut the end off each agent's last trajectory: half of it, at most ``horizon`` steps.

    Args:
        data: all transitions, ordered by agent and time.
        horizon: H.
        whole: ``(N,)``, of which agents all of it is cut off, but for the same limit: those that
            are known without it. None for none.

    Returns:
        What comes before, and the ends; an agent with a single transition has no end, unless it is
        among ``whole``, nor has one of which nothing was observed there.
    """
    last = np.flatnonzero(np.r_[data.agent[1:] != data.agent[:-1], True][: len(data)])
    length = data.step[last] + 1  # of the trajectory up to there
    share = length // 2 if whole is None else np.where(whole[data.agent[last]], length, length // 2)
    length = np.minimum(horizon, share)
    last, length = last[length > 0], length[length > 0]
    first = last - length + 1
    ends = Windows.cut(data, first, length, horizon)
    first, ends = first[ends.steps.any(axis=1)], ends.observed()
    kept = np.ones(len(data), bool)
    kept[(first[:, None] + np.arange(horizon))[ends.mask]] = False
    return data.select(kept), ends


def hold_out(
    dataset: PanelDataset,
    share: float = 0.2,
    suffix: float = 0.3,
    min_prefix: int = 3,
    min_suffix: int = 3,
    seed: int = 0,
    *,
    origin: float = 1.0,
    longest: int = HORIZON,
    max_windows: int = 400,
    few_agents: int = 5,
    history: int = 1,
    changes_alone: bool = False,
    among: NDArray[np.integer] | None = None,
    whole_agents: bool = False,
) -> tuple[NDArray[np.bool_], Windows]:
    """Keep the last part of some agents' data from training.

    The last ``suffix`` of the transitions of a random ``share`` of the agents is held out; of all
    agents if there are fewer than ``few_agents``. Agents too short for ``min_prefix`` and
    ``min_suffix`` are passed over; if all are, one transition on either side is enough. Held-out
    trajectories are cut
    into even windows of at most ``longest`` steps, of which at most ``max_windows`` are kept,
    drawn at random. Whatever is held out is out of training, drawn or not.

    Args:
        dataset: the data.
        share: share of the agents, in (0, 1].
        suffix: share of each chosen agent's transitions, in (0, 1).
        min_prefix: fewest transitions left for training of a chosen agent.
        min_suffix: fewest transitions held out of a chosen agent.
        seed: the same seed gives the same split.
        origin: share of the data that there is, in (0, 1]: what comes after is left aside, of all
            agents, as if it had not been recorded yet.
        longest: most steps of a window.
        max_windows: most windows returned.
        few_agents: fewest agents to choose, if there are as many.
        history: rows that a model reads; the windows have its memory.
        changes_alone: as ``PanelDataset.transitions``.
        among: numbers of the agents that the share is one of; None for all.
        whole_agents: whether all of the chosen agents' transitions are held out, not the last ones.

    Returns:
        ``(K,)`` bool, True where a transition of ``dataset.transitions()`` is for training; and
        the windows, none if no agent has two transitions.

    Raises:
        UsageError: a share is out of its range or a count is not positive.
    """
    if not (0 < share <= 1 and 0 < suffix < 1):
        raise UsageError(f"share must be in (0, 1] and suffix in (0, 1), got {share} and {suffix}")
    if min(min_prefix, min_suffix, longest, max_windows) < 1:
        raise UsageError("min_prefix, min_suffix, longest and max_windows must be at least 1")
    rng = np.random.default_rng(seed)
    data = dataset.transitions(history, changes_alone=changes_alone)
    whole = np.bincount(data.agent, minlength=dataset.n_agents)
    counts = np.ceil(origin * whole).astype(np.int64)
    able = counts if among is None else np.where(np.isin(np.arange(len(whole)), among), counts, 0)
    if whole_agents:
        suffix, min_prefix = 1.0, 0
    chosen, held = _choose(able, share, suffix, (min_prefix, min_suffix), few_agents, rng)

    # Transitions are sorted by agent and time: the last `held` of each chosen agent go.
    take = np.zeros(dataset.n_agents, np.int64)
    take[chosen] = held
    rows, ends = np.arange(len(data)), np.cumsum(whole) - whole + counts
    there = rows < ends[data.agent]
    out = there & (rows >= (ends - take)[data.agent])
    windows = _even_windows(data.select(np.flatnonzero(out)), longest, max_windows, rng)
    return there & ~out, windows


def _choose(
    counts: NDArray[Any],
    share: float,
    suffix: float,
    least: tuple[int, int],
    few_agents: int,
    rng: np.random.Generator,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the agents to hold something out of, and how many transitions of each."""
    for prefix, end in (least, (1, 1)):
        held = np.maximum(end, np.round(suffix * counts).astype(np.int64))
        able = np.flatnonzero(counts - held >= prefix)
        if len(able):
            break
    if len(counts) < few_agents:
        number = len(able)
    else:
        number = min(len(able), max(few_agents, round(share * len(counts))))
    chosen = np.sort(rng.choice(able, number, replace=False)) if number else able
    return chosen, held[chosen]


def _even_windows(data: Transitions, longest: int, most: int, rng: np.random.Generator) -> Windows:
    """Cut transitions into even windows of consecutive steps, and keep some of them."""
    number = len(data)
    # A run ends with its segment: within one, no step is missing.
    new = np.ones(number, bool)
    new[1:] = data.segment[1:] != data.segment[:-1]
    run = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, number))
    # Each run is divided into as many pieces as it needs, of lengths that differ by one at most.
    place = np.arange(number) - first[run]
    pieces = -(-length // longest)
    piece = place * pieces[run] // length[run] if number else place
    new[1:] |= piece[1:] != piece[:-1]
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, number))
    if len(first) > most:
        kept = np.sort(rng.choice(len(first), most, replace=False))
        first, length = first[kept], length[kept]
    windows = Windows.cut(data, first, length, int(length.max(initial=0)))
    return windows.observed()
