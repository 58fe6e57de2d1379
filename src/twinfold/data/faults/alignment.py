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

The same is tried two and three rows away, of actions that are moved twice on their way, and, where
nothing is found of all actions together, column by column beside the others.

Axes: K rows whose neighbours on both sides are known, D state columns, A action columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.faults.settings import FAULTS
from twinfold.data.roles import Roles
from twinfold.data.table_settings import TABLE

Floats = NDArray[np.float64]


_ROWS = ("one row", "two rows", "three rows")


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
        shift: rows that actions are moved by, to find whether they are late or early.
        steady_late: whether both halves of the rows have a share in ``late_gain``.
        steady_early: the same of ``early_gain``.
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
    shift: int = 1
    steady_late: bool = True
    steady_early: bool = True

    @property
    def probably_late(self) -> bool:
        """Whether actions stand too late: by one row, in the row of their outcome."""
        apart = 0.5 * self.rows * self.behind > FAULTS.worked and self.behind > self.ahead
        return apart and self.steady_late and self._beats(self.late_gain, self.early_gain)

    @property
    def probably_early(self) -> bool:
        """Whether they stand too early."""
        apart = self.ahead < 0.5 * self.early_gain
        return self.steady_early and self._beats(self.early_gain, self.late_gain) and apart

    def _beats(self, gain: float, other: float) -> bool:
        """Whether a gain is large, certain, and not there for the other direction as well.

        Actions that follow a calendar tell the same one row above and one row below.
        """
        return (
            gain > (FAULTS.gain if self.shift == 1 else FAULTS.far_gain)
            and 0.5 * self.rows * gain > FAULTS.certain
            and other < FAULTS.other_gain * gain
        )


def alignment_figures(
    names: Sequence[str],
    kinds: Sequence[str],
    state: Floats,
    action: Floats,
    joined: NDArray[np.bool_],
    shift: int = 1,
    beside: Floats | None = None,
) -> AlignmentFigures | None:
    """Return what regressions say of where actions stand; None where there are too few rows.

    Args:
        names: of the state columns.
        kinds: of the action columns, ``"discrete"`` or ``"continuous"``.
        state: ``(R, D)``, sorted rows.
        action: ``(R, A)``, as they stand in the table, that of last rows included; choices as
            codes. Exogenous columns may stand here as well.
        joined: ``(R - 1,)``, whether a row is followed by the next one of its trajectory.
        shift: rows above and below from which actions are taken.
        beside: ``(R, B)``, other inputs, which stay where they are; none if None.
    """
    if not action.shape[1] or len(state) < 1 + 2 * shift:
        return None
    middle = _drawn(_amid(joined, shift))
    actions = _coded(kinds, action)
    before, now, after = state[middle - 1], state[middle], state[middle + 1]
    here, below, above = (actions[middle + k] for k in (0, shift, -shift))
    last = actions[middle - 1]
    past = np.hstack([state[middle - k] for k in range(1, 1 + shift)])
    others = np.zeros((len(middle), 0)) if beside is None else beside[middle]
    # Values whose squares overflow are a fault of their own.
    parts = (before, now, after, here, below, above, last, past, others)
    fine = (np.abs(np.hstack(parts)) < TABLE.largest).all(axis=1)
    before, now, after, here, below, above, last, past, others = (part[fine] for part in parts)
    width = 1 + 2 * state.shape[1] + actions.shape[1] + others.shape[1]
    if len(now) < max(FAULTS.fewest_rows, FAULTS.rows_per_column * width):
        return None
    base = np.hstack([now, before, others])
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
    seen = np.hstack([now, now**2, now**3, last])
    behind = _errors(seen, here), _errors(np.hstack([seen, past]), here)
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
        shift=shift,
        steady_late=shift == 1 or _steady(base, here, below, after),
        steady_early=shift == 1 or _steady(base, here, above, after),
    )


def _steady(base: Floats, here: Floats, moved: Floats, after: Floats) -> bool:
    """Whether actions that are moved gain in both halves of the rows: a few may be far away.

    Moved further, they meet more of what is there by chance.
    """
    as_is, then = (_left(np.hstack([base, a]), after) for a in (here, moved))
    gains = []
    for half in np.array_split(np.arange(len(after)), 2):
        errors = [np.sum(left[half] ** 2, axis=0) for left in (as_is, then)]
        floor = FAULTS.noise * len(half) * np.maximum(np.var(after, axis=0), 1e-300)
        gains.append(np.log(np.maximum(errors[0], floor) / np.maximum(errors[1], floor)).sum())
    return bool(min(gains) > FAULTS.steady * max(gains))


def _amid(joined: NDArray[np.bool_], shift: int) -> NDArray[np.intp]:
    """Rows with so many rows of their trajectory above them and below."""
    row = np.arange(shift, len(joined) + 1 - shift)
    fine = [joined[row + k] for k in range(-shift, shift)]
    return row[np.all(fine, axis=0)]


def alignment_lines(
    roles: Roles, state: Floats, action: Floats, exogenous: Floats | None, joined: NDArray[np.bool_]
) -> Iterator[str]:
    """Yield a line on inputs that seem to stand in another row.

    Args:
        roles: the user's.
        state: ``(R, D)``, sorted rows.
        action: ``(R, A)``.
        exogenous: ``(R, E)``, coded, or None.
        joined: ``(R - 1,)``, whether a row is followed by the next one of its trajectory.
    """

    def figures(kinds: Sequence[str], moved: Floats, beside: Floats | None = None) -> Any:
        return _best_shift(
            [
                alignment_figures(roles.state, kinds, state, moved, joined, shift, beside)
                for shift in range(1, 1 + FAULTS.most_shift)
            ]
        )

    names, kinds, values, role = roles.action, roles.kinds, action, "action"
    if not roles.action:
        if exogenous is None:
            return
        names, values, role = roles.exogenous, exogenous, "exogenous"
        kinds = ("continuous",) * values.shape[1]
    line = alignment_line(roles, figures(kinds, values), names, role, whole=True)
    if line is not None:
        yield line
    elif roles.action:
        yield from _by_column(roles, action, exogenous, figures)


def _by_column(
    roles: Roles, action: Floats, exogenous: Floats | None, figures: Callable[..., Any]
) -> Iterator[str]:
    """Yield a line for each input that seems to stand in another row than the others."""
    groups = [(name, "action", [kind], action[:, [i]]) for i, (name, kind)
              in enumerate(zip(roles.action, roles.kinds, strict=True))]  # fmt: skip
    if exogenous is not None and exogenous.shape[1] == len(roles.exogenous):  # no words
        groups += [
            (name, "exogenous", ["continuous"], exogenous[:, [i]])
            for i, name in enumerate(roles.exogenous)
        ]
    if len(groups) < 2:
        return
    for i, (name, role, kinds, moved) in enumerate(groups):
        others = [_coded(each[2], each[3]) for j, each in enumerate(groups) if j != i]
        found = figures(kinds, moved, np.hstack(others))
        much = found is not None and max(found.late_gain, found.early_gain) > FAULTS.far_gain
        line = alignment_line(roles, found, (name,), role, whole=False)
        if much and line is not None:
            yield line


def _best_shift(found: Sequence[AlignmentFigures | None]) -> AlignmentFigures | None:
    """Return the figures of the move by which much more is gained than by smaller ones."""
    best = None
    for figures in found:
        if figures is None:
            continue
        if best is None:
            best = figures
            continue
        for probably, gain in (("probably_late", "late_gain"), ("probably_early", "early_gain")):
            small = max(getattr(best, gain), 0.0)
            if getattr(figures, probably) and small < FAULTS.other_gain * getattr(figures, gain):
                best = figures
                break
    return best


def alignment_line(
    roles: Roles,
    figures: AlignmentFigures | None,
    names: Sequence[str],
    role: str,
    whole: bool,
) -> str | None:
    """Return one line on inputs that seem to stand in another row; None if they do not.

    Args:
        roles: the user's.
        figures: of the inputs.
        names: of the inputs.
        role: of the inputs.
        whole: whether they are all actions, which ``--align`` would move.
    """
    if figures is None or not (figures.probably_late or figures.probably_early):
        return None
    what = f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))} ({role})"
    without = "any action" if role == "action" and whole else "it" if not whole else "them"
    stand = "as they stand" if len(names) > 1 or (role == "action" and whole) else "as it stands"
    rows = _ROWS[figures.shift - 1]
    one = whole and figures.shift == 1
    late, own = figures.probably_late, "them" if whole else "it"
    moved, word, side = (figures.late, "late", "up") if late else (figures.early, "early", "down")
    if late and one:
        advice = (
            "if an input stands in the row of its outcome, give --align same-row"
            if roles.align == "next"
            else "twice shifted? give --align next, or correct the table"
        )
    elif one and roles.align == "same-row":
        advice = "--align same-row is probably wrong: give --align next"
    elif late:
        advice = f"move {own} {rows} up in the table"
    else:
        later = "a row" if figures.shift == 1 else rows
        advice = (
            f"move {own} {rows} down, into the row of the state that they are taken in; or they "
            f"act {later} later than they are given"
        )
    return (
        f"{what} probably {rows} {word}: the error of {figures.column!r} one step ahead is "
        f"{figures.as_is:.2f} of that without {without} {stand}, and {moved:.2f} with each moved "
        f"{rows} {side}; {advice}"
    )


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
    known = np.r_[joined, False]
    actions = _coded(roles.kinds, action)

    def transition(i: Any) -> Floats:
        parts = np.hstack([state[i], actions[i], state[i + 1]])
        return np.hstack([parts, parts**2])

    best, line = 1.0, None
    for shift in range(1, 1 + FAULTS.most_shift):
        row = np.arange(shift, len(state) - shift - 1)
        rows = _drawn(row[np.all([known[row + k] for k in range(-shift, shift + 1)], axis=0)])
        inputs = [transition(rows + k) for k in (0, -shift, shift)]
        fine = np.isfinite(np.hstack([*inputs, reward[rows, None]])).all(axis=1)
        inputs, target = [part[fine] for part in inputs], reward[rows][fine, None]
        enough = max(FAULTS.fewest_rows, FAULTS.rows_per_column * (inputs[0].shape[1] + 1))
        total = float(np.var(target)) if len(target) >= enough else 0.0
        if total <= 0:
            break
        as_is, late, early = (float(_errors(x, target)[0]) / total for x in inputs)
        for name, left, up in (("late", late, "up"), ("early", early, "down")):
            lower = left < FAULTS.reward_left * min(as_is, best)
            if lower and left < 1 - FAULTS.reward_known and as_is > FAULTS.noise:
                best = left
                line = (
                    f"column {roles.reward!r} (reward) probably {_ROWS[shift - 1]} {name}: a "
                    f"transition explains {100 * max(0.0, 1 - as_is):.3g} % of its row's reward, "
                    f"and {100 * (1 - left):.3g} % with rewards moved {_ROWS[shift - 1]} {up}"
                )
    if line is not None:
        yield line


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
    free = len(inputs) - int(np.count_nonzero(np.std(inputs, axis=0) > 0)) - 1
    return np.sum(_left(inputs, target) ** 2, axis=0) / free


def _left(inputs: Floats, target: Floats) -> Floats:
    """What a ridge regression leaves of its targets, ``(K, D)``."""
    rows = len(inputs)
    x, y = inputs - inputs.mean(axis=0), target - target.mean(axis=0)
    scale = np.sqrt(np.mean(x**2, axis=0))
    x = x[:, scale > 0] / scale[scale > 0]
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += FAULTS.ridge * rows
    return y - x @ np.linalg.solve(gram, x.T @ y)
