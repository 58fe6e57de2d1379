"""The figure of a table's cell with its interval, from records; young ones hold every value.

one fit, an error                       the interval that its record has
values of every episode or trajectory   bootstrap over fits and episodes
one fit, a return of several episodes   Student's interval of their mean
several fits, without values            Student's interval of the fits' means
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from twinfold.benchmark.records import Record
from twinfold.benchmark.statistics import BOOTSTRAP, Estimate, Sample, interval

_MEAN = {"prediction": "rmse_mean", "return": "mean"}


def values_of(records: Sequence[Record]) -> Sample | None:
    """Return the values of an agent by fit; None if a record does not hold them."""
    found = [record["figures"].get("values") for record in records]
    if not found or not all(found):
        return None
    return [np.array([math.nan if x is None else x for x in values]) for values in found]


def mean_of(record: Record) -> float:
    """Return the error or the return of a record; NaN where it is not finite."""
    value = record["figures"][_MEAN[record["kind"]]]
    return math.nan if value is None else float(value)


def estimate(records: Sequence[Record]) -> Estimate | None:
    """Return the mean over the fits of a cell with its 95 % interval; None without a record.

    Where nothing is known of an interval, its ends are NaN.

    Args:
        records: of one agent, a record per fit.
    """
    if not records:
        return None
    means = [mean_of(record) for record in records]
    mean = statistics.fmean(means)
    figures = records[0]["figures"]
    low, high = figures.get("rmse_low"), figures.get("rmse_high")
    if len(records) == 1 and low is not None and high is not None:
        return Estimate(mean, low, high)
    sample = values_of(records)
    if sample is not None and (len(sample) > 1 or np.size(sample[0]) > 1):
        found = interval([sample])
        return Estimate(mean, found.low, found.high)
    if len(records) > 1:
        return _student(mean, statistics.stdev(means), len(means))
    n, spread = figures.get("n", 1), figures.get("std")
    if records[0]["kind"] == "prediction" or n < 2 or spread is None:
        return _unknown(mean)
    return _student(mean, spread * math.sqrt(n / (n - 1)), n)  # recorded of the population


def last_finite(records: Sequence[Record]) -> list[str]:
    """Return in words what the records that diverged say of before; older ones say nothing."""
    lines = []
    for record in records:
        if not diverged(record):
            continue
        last = record["figures"].get("last_finite") or {}
        if (error := last.get("rmse_mean")) is not None:
            lines.append(f"{error:.3g} over the first {last.get('steps')} steps")
        elif (mean := last.get("mean")) is not None:
            lines.append(f"{mean:.4g} over the {last.get('episodes')} episodes that are finite")
        elif last:
            lines.append("nothing finite")
    return lines


def diverged(record: Record) -> bool:
    """Return whether a cell was measured and its figure is not finite."""
    return record.get("error") is None and not math.isfinite(mean_of(record))


def _student(mean: float, deviation: float, n: int) -> Estimate:
    from scipy.special import stdtrit

    reach = float(stdtrit(n - 1, (1 + BOOTSTRAP.level) / 2)) * deviation / math.sqrt(n)
    return Estimate(mean, mean - reach, mean + reach)


def _unknown(mean: float) -> Estimate:
    return Estimate(mean, math.nan, math.nan)
