"""Ends of trajectories, to be predicted, and how far predictions of them go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.panel import Ints, PanelDataset, Transitions
from twinfold.errors import UsageError

Floats = NDArray[np.float64]

HORIZON = 50
"""Longest prediction that is calibrated, in steps."""


class Ends(NamedTuple):
    """The ends of the last trajectories of some agents, to be predicted.

    Attributes:
        agent: ``(S,)``, index into the panel's agents.
        state: ``(S, D)``, where each begins.
        action: ``(S, H, A)``, or ``(S, H)`` level indices; zero beyond the end.
        next_state: ``(S, H, D)``, what followed.
        mask: ``(S, H)`` bool, True within the trajectory.
    """

    agent: NDArray[np.int32]
    state: Floats
    action: NDArray[Any]
    next_state: Floats
    mask: NDArray[np.bool_]


def split_ends(
    data: Transitions, horizon: int = HORIZON, whole: NDArray[np.bool_] | None = None
) -> tuple[Transitions, Ends]:
    """Cut the end off each agent's last trajectory: half of it, at most ``horizon`` steps.

    Args:
        data: all transitions, ordered by agent and time.
        horizon: H.
        whole: ``(N,)``, of which agents all of it is cut off, but for the same limit: those that
            are known without it. None for none.

    Returns:
        What comes before, and the ends; an agent with a single transition has no end, unless it is
        among ``whole``.
    """
    last = np.flatnonzero(np.r_[data.agent[1:] != data.agent[:-1], True][: len(data)])
    length = data.step[last] + 1  # of the trajectory up to there
    share = length // 2 if whole is None else np.where(whole[data.agent[last]], length, length // 2)
    window = np.minimum(horizon, share)
    last, window = last[window > 0], window[window > 0]
    rows = (last - window + 1)[:, None] + np.arange(horizon)
    mask = np.arange(horizon) < window[:, None]
    rows = np.where(mask, rows, 0)

    def padded(values: NDArray[Any]) -> NDArray[Any]:
        found = values[rows]
        return np.where(mask.reshape(*mask.shape, *[1] * (found.ndim - 2)), found, 0)

    ends = Ends(
        agent=data.agent[last],
        state=data.state[last - window + 1],
        action=padded(data.action).astype(data.action.dtype),
        next_state=padded(data.next_state),
        mask=mask,
    )
    kept = np.ones(len(data), bool)
    kept[rows[mask]] = False
    return data.select(kept), ends


_FEW_AGENTS = 5


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Stretches of trajectory that were kept from training, padded to one length.

    S stretches of at most H transitions; beyond a stretch's end actions and states are zero.

    Attributes:
        agent: ``(S,)`` int32, index into ``PanelDataset.agent_ids``.
        state: ``(S, D)`` float64, where each stretch starts.
        action: ``(S, H, A)`` float64, or ``(S, H)`` int32 if discrete.
        next_state: ``(S, H, D)`` float64, what followed.
        mask: ``(S, H)`` bool, True within the stretch.
    """

    agent: Ints
    state: Floats
    action: Floats | Ints
    next_state: Floats
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        """S, the number of stretches."""
        return len(self.agent)

    @property
    def n_transitions(self) -> int:
        """Transitions in all stretches together."""
        return int(self.mask.sum())


def hold_out(
    dataset: PanelDataset,
    share: float = 0.2,
    suffix: float = 0.3,
    min_prefix: int = 3,
    min_suffix: int = 3,
    seed: int = 0,
    *,
    origin: float = 1.0,
    window: int = 50,
    max_stretches: int = 400,
) -> tuple[NDArray[np.bool_], HeldOut]:
    """Keep the last part of some agents' data from training.

    The last ``suffix`` of the transitions of a random ``share`` of the agents is held out; of all
    agents if there are fewer than five. Agents too short for ``min_prefix`` and ``min_suffix`` are
    passed over; if all are, one transition on either side is enough. Held-out trajectories are cut
    into even stretches of at most ``window`` steps, of which at most ``max_stretches`` are kept,
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
        window: longest stretch, in steps.
        max_stretches: most stretches returned.

    Returns:
        ``(K,)`` bool, True where a transition of ``dataset.transitions()`` is for training; and
        the stretches, none if no agent has two transitions.

    Raises:
        UsageError: a share is out of its range or a count is not positive.
    """
    if not (0 < share <= 1 and 0 < suffix < 1):
        raise UsageError(f"share must be in (0, 1] and suffix in (0, 1), got {share} and {suffix}")
    if min(min_prefix, min_suffix, window, max_stretches) < 1:
        raise UsageError("min_prefix, min_suffix, window and max_stretches must be at least 1")
    rng = np.random.default_rng(seed)
    data = dataset.transitions()
    whole = np.bincount(data.agent, minlength=dataset.n_agents)
    counts = np.ceil(origin * whole).astype(np.int64)
    chosen, held = _choose(counts, share, suffix, (min_prefix, min_suffix), rng)

    # Transitions are sorted by agent and time: the last `held` of each chosen agent go.
    take = np.zeros(dataset.n_agents, np.int64)
    take[chosen] = held
    rows, ends = np.arange(len(data)), np.cumsum(whole) - whole + counts
    there = rows < ends[data.agent]
    out = there & (rows >= (ends - take)[data.agent])
    stretches = _stretches(data.select(np.flatnonzero(out)), window, max_stretches, rng)
    return there & ~out, stretches


def _choose(
    counts: NDArray[Any],
    share: float,
    suffix: float,
    least: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Agents to hold something out of, and how many transitions of each."""
    for prefix, end in (least, (1, 1)):
        held = np.maximum(end, np.round(suffix * counts).astype(np.int64))
        able = np.flatnonzero(counts - held >= prefix)
        if len(able):
            break
    if len(counts) < _FEW_AGENTS:
        number = len(able)
    else:
        number = min(len(able), max(_FEW_AGENTS, round(share * len(counts))))
    chosen = np.sort(rng.choice(able, number, replace=False)) if number else able
    return chosen, held[chosen]


def _stretches(data: Transitions, window: int, most: int, rng: np.random.Generator) -> HeldOut:
    """Cut transitions into padded stretches of consecutive steps."""
    number = len(data)
    new = np.ones(number, bool)  # a run ends with its segment: within one, no step is missing
    new[1:] = data.segment[1:] != data.segment[:-1]
    run = np.cumsum(new) - 1
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, number))
    place = np.arange(number) - first[run]
    pieces = -(-length // window)
    piece = place * pieces[run] // length[run] if number else place
    new[1:] |= piece[1:] != piece[:-1]
    first = np.flatnonzero(new)
    length = np.diff(np.append(first, number))
    if len(first) > most:
        kept = np.sort(rng.choice(len(first), most, replace=False))
        first, length = first[kept], length[kept]
    steps = np.arange(length.max(initial=0))
    mask = steps < length[:, None]  # (S, H)
    rows = np.where(mask, first[:, None] + steps, 0)
    if not number:
        rows = rows.astype(np.int64)

    def pad(values: NDArray[Any]) -> NDArray[Any]:
        padded = values[rows]  # (S, H) or (S, H, .)
        padded[~mask] = 0
        return padded

    return HeldOut(
        agent=data.agent[first],
        state=data.state[first],
        action=pad(data.action),
        next_state=pad(data.next_state),
        mask=mask,
    )
