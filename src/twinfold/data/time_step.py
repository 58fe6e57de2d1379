"""The length of a time step, and where trajectories break."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from twinfold.data.table_settings import TABLE
from twinfold.errors import UsageError
from twinfold.utils.text import counted

if TYPE_CHECKING:
    import pandas as pd

TIME_STEPS = ("auto", "regular", "variable")
"""Words for a time step: found from the data; the same everywhere; an input of the model."""

_UNITS = {"day": 86_400, "h": 3_600, "min": 60, "s": 1}


def differences(ticks: NDArray[Any]) -> NDArray[np.float64]:
    """Return how far each of the sorted ticks is from the one before.

    Integers are subtracted without a sign, so that the ends of what 64 bits hold may be there.
    """
    whole = ticks.dtype.kind == "i"
    return np.diff(ticks.view(np.uint64) if whole else ticks).astype(np.float64)


def find_step(differences: NDArray[Any]) -> float | None:
    """The usual difference between consecutive times, in ticks.

    The most common one, compared to 5 digits because 0.1, 0.2, 0.30000000000000004 are one step
    apart; the median where no difference makes up a fifth of them (irregular sampling).

    Args:
        differences: ``(n,)`` differences within trajectories; those that are not positive and
            finite are passed over.

    Returns:
        The step, or None if there is no difference to go by.
    """
    gaps = _positive(differences)
    if not len(gaps):
        return None
    step, share = _common_step(gaps)
    return step if share >= TABLE.common_step else float(np.median(gaps))


def _positive(differences: NDArray[Any]) -> NDArray[np.float64]:
    gaps = differences.astype(np.float64)
    return gaps[(gaps > 0) & np.isfinite(gaps)]


def _common_step(gaps: NDArray[np.float64]) -> tuple[float, float]:
    """Return the most common of some positive differences, and its share of them."""
    if np.all(gaps == gaps[0]):
        return float(gaps[0]), 1.0
    scale = 10.0 ** (np.floor(np.log10(gaps)) + 1 - TABLE.step_digits)
    rounded = np.round(gaps / scale) * scale if scale.min() > 0 else gaps
    _, first, group, counts = np.unique(
        rounded, return_index=True, return_inverse=True, return_counts=True
    )
    most = int(np.argmax(counts))
    step = float(gaps[first[most]] if counts[most] == 1 else np.median(gaps[group == most]))
    return step, counts[most] / len(gaps)


def joins(differences: NDArray[Any], step: float) -> NDArray[np.bool_]:
    """Return whether rows a time apart are consecutive: ``0.5 step < difference < 1.5 step``."""
    return (differences > TABLE.joined_from * step) & (differences < TABLE.joined_to * step)


def uneven_share(differences: NDArray[Any], step: float) -> float:
    """Return the share of steps that are no usual one; 0 where they are few, and times even.

    Longer ones than any within a trajectory do not count. Where most steps are the same, others may
    be rows that were lost: it takes more of them.
    """
    within = _positive(differences)
    within = within[within <= TABLE.longest * step]
    if not len(within):
        return 0.0
    other = ~joins(within, step)
    gridded = _common_step(within)[1] >= TABLE.common_step and other.mean() < TABLE.many_uneven
    fewest = TABLE.fewest_uneven if gridded else TABLE.fewest_irregular
    few = other.sum() < fewest and other.mean() < TABLE.mostly_uneven
    few |= other.mean() < TABLE.uneven_from
    return 0.0 if few else float(other.mean())


def longest_step(differences: NDArray[Any], step: float) -> float:
    """Return the longest difference between two rows of one trajectory, where times are uneven.

    Of a schedule that becomes sparser (0, 0.25, 0.5, 1, 2, 4, 12, 24 h) the usual step is one of
    the shortest; the median step counts then.
    """
    gaps = _positive(differences)
    return TABLE.longest * max(step, float(np.median(gaps)) if len(gaps) else step)


def step_ratio(mine: float | pd.Timedelta, theirs: float | pd.Timedelta) -> float | None:
    """Return how many of my time steps theirs is; None for a number beside a duration."""
    plain = [isinstance(step, int | float) for step in (mine, theirs)]
    if plain[0] != plain[1]:
        return None
    return float(theirs / mine)  # pyright: ignore[reportOperatorIssue, reportArgumentType]


def step_text(step: float | pd.Timedelta) -> str:
    """A time step as it is told: 1.3, not 1.3000000000000007; 30 min, not 0 days 00:30:00."""
    if isinstance(step, int | float):
        return f"{step:.10g}"
    for name, seconds in _UNITS.items():
        count, rest = divmod(step.as_unit("ns").value, seconds * 10**9)
        if count > 0 and rest == 0:
            return counted(count, name) if name == "day" else f"{count} {name}"
    return str(step)


def step_from_ticks(step: float, kind: str) -> float | pd.Timedelta:
    """The step in the user's terms: a ``Timedelta`` for dates and durations, else a number."""
    if kind not in "mM":
        return step
    import pandas as pd

    return cast("pd.Timedelta", pd.Timedelta(round(step), unit="ns"))


def _is_number(step: str | pd.Timedelta) -> bool:
    """Return whether a step is a number, without a unit."""
    with contextlib.suppress(ValueError):
        return isinstance(step, str) and math.isfinite(float(step))
    return False


def ticks_from_step(step: float | str | pd.Timedelta, kind: str) -> float:
    """The inverse of ``step_from_ticks``; also reads the text form found in a manifest.

    Raises:
        UsageError: the step is not positive, or of another kind than the time column.
    """
    import pandas as pd

    if kind not in "mM" and isinstance(step, str):  # of a flag
        with contextlib.suppress(ValueError):
            step = float(step)

    try:
        if kind in "mM":
            if not isinstance(step, str | pd.Timedelta) or _is_number(step):
                raise ValueError  # pandas takes a number without a unit for nanoseconds
            ticks = float(pd.Timedelta(step).as_unit("ns").value)
        else:
            ticks = float(step)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        wanted = 'a duration such as "1h"' if kind in "mM" else "a number"
        raise UsageError(
            f"time step {step!r} does not fit the time column: it must be {wanted}, or one of "
            f"{', '.join(TIME_STEPS)}"
        ) from None
    if not (ticks > 0 and np.isfinite(ticks)):
        raise UsageError(f"time step {step!r} must be positive")
    return ticks
