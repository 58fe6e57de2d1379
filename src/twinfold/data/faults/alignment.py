"""Actions and rewards that stand a row late or early, by errors of pooled ridge regressions.

An action that stands in the row of the state it is taken in tells something of the next state that
the present one and the one before do not. If it stands one row late, in the row of its outcome, it
is the action of the row below that tells it, while it has itself been at work in the present
state; if it stands one row early, that of the row above. So three regressions are compared, of the
next states on the last two states and one action: as it stands, of the row below, of the row above.

Where a policy looks at the state, the action of the row below depends on the next state, and
predicts it without having caused it. But then, given the present state and the last action, it
does not depend on the state before; one that stands late does. So it must tell more of what was
before than of what follows.

Axes: K rows whose neighbours on both sides are known, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.faults.settings import FAULTS
from twinfold.data.roles import Roles
from twinfold.data.table_settings import TABLE

Floats = NDArray[np.float64]


class AlignmentFigures(NamedTuple):
    """What regressions say of where actions stand.

    Attributes:
        rows: K.
        column: the state column of which most is gained by moving the actions.
        as_is: its error one step ahead with actions as they stand, as a share of that with none.
        late: with the action of the row below: actions stand one row late.
        early: with the action of the row above.
        late_gain: logarithm of the errors as they stand over that with actions moved, summed over
            the state columns.
        early_gain: the same for the row above.
        ahead: how much an action tells of what follows: minus the logarithm of ``as_is``, summed.
        behind: how much it tells of what was before, beside the present state and the action
            before it; of actions that these do not determine.
    """

    rows: int
    column: str
    as_is: float
    late: float
    early: float
    late_gain: float
    early_gain: float
    ahead: float
    behind: float

    @property
    def probably_late(self) -> bool:
        """Whether actions stand one row late, in the row of their outcome."""
        apart = 0.5 * self.rows * self.behind > FAULTS.worked and self.behind > self.ahead
        return apart and self._beats(self.late_gain, self.early_gain)

    @property
    def probably_early(self) -> bool:
        """Whether they stand one row early."""
        apart = self.ahead < 0.5 * self.early_gain
        return self._beats(self.early_gain, self.late_gain) and apart

    def _beats(self, gain: float, other: float) -> bool:
        """Whether a gain is large, certain, and not there for the other direction as well.

        Actions that follow a calendar tell the same one row above and one row below.
        """
        return (
            gain > FAULTS.gain
            and 0.5 * self.rows * gain > FAULTS.certain
            and other < FAULTS.other_gain * gain
        )


def alignment_figures(
    names: Sequence[str],
    kinds: Sequence[str],
    state: Floats,
    action: Floats,
    joined: NDArray[np.bool_],
) -> AlignmentFigures | None:
    """Return what regressions say of where actions stand; None where there are too few rows.

    Args:
        names: of the state columns.
        kinds: of the action columns, ``"discrete"`` or ``"continuous"``.
        state: ``(R, D)``, sorted rows.
        action: ``(R, A)``, as they stand in the table, that of last rows included; choices as
            codes. Exogenous columns may stand here as well.
        joined: ``(R - 1,)``, whether a row is followed by the next one of its trajectory.
    """
    if not action.shape[1] or len(state) < 3:
        return None
    middle = _drawn(np.flatnonzero(joined[1:] & joined[:-1]) + 1)
    actions = _coded(kinds, action)
    before, now, after = state[middle - 1], state[middle], state[middle + 1]
    here, below, above = (actions[middle + k] for k in (0, 1, -1))
    # Values whose squares overflow are a fault of their own.
    fine = (np.abs(np.hstack([before, now, after, here, below, above])) < TABLE.largest).all(axis=1)
    before, now, after, here, below, above = (
        part[fine] for part in (before, now, after, here, below, above)
    )
    width = 1 + 2 * state.shape[1] + actions.shape[1]
    if len(now) < max(FAULTS.fewest_rows, FAULTS.rows_per_column * width):
        return None
    base = np.hstack([now, before])
    none, as_is, late, early = (
        _errors(x, after) for x in (base, *(np.hstack([base, a]) for a in (here, below, above)))
    )
    known = none > FAULTS.noise * np.var(after, axis=0)
    if not known.any():
        return None
    floor = FAULTS.noise * np.var(after, axis=0)[known]
    logs = [np.log(np.maximum(e[known], floor) / none[known]) for e in (as_is, late, early)]
    best = int(np.argmax(np.maximum(logs[0] - logs[1], logs[0] - logs[2])))
    # A policy may look at the present state, in whatever way, and at its last action.
    seen = np.hstack([now, now**2, now**3, above])
    behind = _errors(seen, here), _errors(np.hstack([seen, before]), here)
    told = (behind[0] > FAULTS.own * np.var(here, axis=0)) & ~_follows(now, here)
    ratio = behind[1][told] / np.maximum(behind[0][told], 1e-300)
    shares = [float(np.exp(0.5 * log[best])) for log in logs]
    return AlignmentFigures(
        len(now),
        [name for name, there in zip(names, known, strict=True) if there][best],
        *shares,
        late_gain=float(np.sum(logs[0] - logs[1])),
        early_gain=float(np.sum(logs[0] - logs[2])),
        ahead=float(-np.sum(logs[0])),
        behind=float(-np.sum(np.log(np.maximum(ratio, FAULTS.noise)))),
    )


def alignment_line(roles: Roles, figures: AlignmentFigures | None) -> str | None:
    """Return one line on inputs that seem to stand in another row; None if they do not."""
    if figures is None:
        return None
    names, role = (roles.action, "action") if roles.action else (roles.exogenous, "exogenous")
    what = f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))} ({role})"
    before = (
        f"the error of {figures.column!r} one step ahead is {figures.as_is:.2f} of that without "
        f"{'any action' if roles.action else 'them'} as they stand"
    )
    if figures.probably_late:
        advice = (
            "if an input stands in the row of its outcome, give --align same-row"
            if roles.align == "next"
            else "twice shifted? give --align next, or correct the table"
        )
        return (
            f"{what} probably one row late: {before}, and {figures.late:.2f} with each "
            f"moved one row up; {advice}"
        )
    if figures.probably_early:
        advice = (
            "--align same-row is probably wrong: give --align next"
            if roles.align == "same-row"
            else "move them one row down, into the row of the state that they are taken in; or "
            "they act a row later than they are given"
        )
        return (
            f"{what} probably one row early: {before}, and {figures.early:.2f} with each "
            f"moved one row down; {advice}"
        )
    return None


def reward_lines(
    roles: Roles,
    state: Floats,
    action: Floats,
    reward: Floats,
    joined: NDArray[np.bool_],
) -> Iterator[str]:
    """Yield a line if rewards seem to stand one row late or early.

    The reward of a row is regressed on its transition (state, action, next state, and their
    squares), on that of the row above, and on that of the row below.
    """
    step = np.flatnonzero(joined)
    known = np.zeros(len(state), bool)
    known[step] = True
    rows = np.flatnonzero(known[1:-1] & known[:-2] & known[2:]) + 1
    rows = _drawn(rows[rows + 2 < len(state)])
    actions = _coded(roles.kinds, action)

    def transition(i: Any) -> Floats:
        parts = np.hstack([state[i], actions[i], state[i + 1]])
        return np.hstack([parts, parts**2])

    inputs = [transition(rows + k) for k in (0, -1, 1)]
    fine = np.isfinite(np.hstack([*inputs, reward[rows, None]])).all(axis=1)
    inputs, target = [part[fine] for part in inputs], reward[rows][fine, None]
    if len(target) < max(FAULTS.fewest_rows, FAULTS.rows_per_column * (inputs[0].shape[1] + 1)):
        return
    total = float(np.var(target))
    if total <= 0:
        return
    as_is, late, early = (float(_errors(x, target)[0]) for x in inputs)
    for name, there, up in (("late", late, "up"), ("early", early, "down")):
        if (
            there < FAULTS.reward_left * as_is
            and there < (1 - FAULTS.reward_known) * total
            and as_is > FAULTS.noise * total
        ):
            yield (
                f"column {roles.reward!r} (reward) probably one row {name}: a transition explains "
                f"{100 * max(0.0, 1 - as_is / total):.0f} % of its row's reward, and "
                f"{100 * (1 - there / total):.0f} % with rewards moved one row {up}"
            )
            return


def _follows(state: Floats, action: Floats) -> NDArray[np.bool_]:
    """Whether each action ``(A,)`` is a function of the state, in whatever way.

    Then rows of like states have like actions: those of nearest neighbours, other times of the
    same trajectory aside, are compared.
    """
    stride = -(-len(state) // FAULTS.neighbours)
    scale = state.std(axis=0)
    x, y = state[::stride, scale > 0] / scale[scale > 0], action[::stride]
    square = np.sum(x**2, axis=1)
    away = square[:, None] + square - 2 * x @ x.T
    place = np.arange(len(x))
    away[np.abs(place[:, None] - place) * stride <= FAULTS.apart] = np.inf
    nearest = away.argmin(axis=1)
    error = np.mean((y - y[nearest]) ** 2, axis=0)
    return error < FAULTS.follows * np.var(y, axis=0)


def _drawn(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return some of many rows, drawn at random, in their order."""
    if len(rows) <= FAULTS.most_rows:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, FAULTS.most_rows, replace=False))


def _coded(kinds: Sequence[str], action: Floats) -> Floats:
    """Actions, choices among a few levels as a column for each but the first."""
    parts = [action[:, :0]]
    for kind, values in zip(kinds, action.T, strict=True):
        column = values[:, None]
        levels = np.unique(values[np.isfinite(values)])
        if kind == "discrete" and 2 < len(levels) <= FAULTS.levels:
            column = np.where(np.isfinite(column), column == levels[1:], np.nan)
        parts.append(column.astype(np.float64))
    return np.concatenate(parts, axis=1)


def _errors(inputs: Floats, target: Floats) -> Floats:
    """Mean squared errors ``(D,)`` of a ridge regression, of what is left per degree of freedom."""
    rows = len(inputs)
    x, y = inputs - inputs.mean(axis=0), target - target.mean(axis=0)
    scale = np.sqrt(np.mean(x**2, axis=0))
    x = x[:, scale > 0] / scale[scale > 0]
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += FAULTS.ridge * rows
    left = y - x @ np.linalg.solve(gram, x.T @ y)
    return np.sum(left**2, axis=0) / (rows - x.shape[1] - 1)
