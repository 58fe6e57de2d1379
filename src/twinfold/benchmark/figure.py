"""A suite's entries beside the paper's as a picture, through Matplotlib. No JAX."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.benchmark.comparison import Entry
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.row_names import TITLES, method_name
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.training_sizes import UNKNOWN, SizeCurve, by_data, size_curves
from twinfold.errors import UsageError, one_of
from twinfold.report.labels import literal
from twinfold.report.palette import method_colors
from twinfold.utils.files import atomic_write_bytes

# The field of a file that holds when or by what it was made; without it, equal records give
# equal bytes.
_MADE = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}
SUFFIXES = tuple(f".{name}" for name in _MADE)

_OURS, _PAPER, _BEST = "#3b78d8", "#98a1ae", "#1d9a6c"


def save_picture(path: str | os.PathLike[str], suite: Suite, entries: Sequence[Entry]) -> None:
    """Draw ours beside the paper's, a panel per task and a line per row and agent.

    Errors are on a logarithmic axis. What was not run shows the paper's figure alone. A suite with
    several numbers of training agents has a panel per task and data set instead, with a curve per
    method over these numbers.

    Args:
        path: where; the suffix chooses the format, one of ``SUFFIXES``.
        suite: gives tasks and kind.
        entries: of the suite.

    Raises:
        UsageError: another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot draw into {Path(path).name!r} by its suffix; {one_of(SUFFIXES)}")
    # Figures made without pyplot need no display and leave nothing behind.
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    errors = suite.kind == "prediction"
    if groups := by_data(size_curves(entries)):
        panels = _draw_sizes(figure, groups, errors)
    else:
        by_task = {task: [e for e in entries if e.row.task == task] for task in suite.tasks}
        longest = max(len(mine) for mine in by_task.values())
        figure.set_size_inches(1.2 + 4.2 * len(by_task), 1.8 + 0.2 * longest)
        panels = figure.subplots(1, len(by_task), squeeze=False)[0]
        for panel, (task, mine) in zip(panels, by_task.items(), strict=True):
            _draw(panel, mine, errors)
            panel.set_title(TITLES[task], loc="left", fontsize=11)
    found: dict[str, Any] = {}
    for panel in panels:
        found |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(
        found.values(),
        found,
        loc="outside lower center",
        ncols=max(1, min(4, len(found))),
        frameon=False,
    )
    buffer = io.BytesIO()
    form = suffix.removeprefix(".")
    figure.savefig(buffer, format=form, dpi=150, metadata={_MADE[form]: None})
    atomic_write_bytes(path, buffer.getvalue())


def _draw(panel: Any, entries: Sequence[Entry], errors: bool) -> None:
    names, places = [], []
    place, row = 0.0, None
    for entry in entries:
        if row is not None and entry.row != row:
            place += 0.7  # a gap between rows of the table
        row = entry.row
        data, method = entry.row.dataset, method_name(entry.row)
        name = (
            data
            if data and entry.row.n_agents is None and get_method(entry.row.method).role == "ours"
            else ", ".join(filter(None, (data, method)))
        )
        names.append(literal(f"{name} · {entry.label}"))
        places.append(place)
        place += 1.0
    for figure, color, mark, label, size in (
        ("best_possible", _BEST, "|", "best possible", 9),
        ("paper", _PAPER, "D", "paper", 5),
        ("ours", _OURS, "o", "twinfold", 5),
    ):
        values = [getattr(entry, figure) for entry in entries]
        known = [k for k, value in enumerate(values) if value is not None and math.isfinite(value)]
        if known:
            panel.errorbar(
                [values[k] for k in known],
                [places[k] for k in known],
                xerr=[*zip(*(_whiskers(entries[k], figure) for k in known), strict=True)],
                fmt=mark,
                color=color,
                markersize=size,
                markeredgewidth=2 if mark == "|" else None,
                elinewidth=1.2,
                label=label,
            )
    if errors:
        panel.set_xscale("log")
        panel.set_xlabel("RMSE in raw units, smaller is better")
    else:
        panel.set_xlabel("return per episode, larger is better")
    panel.set_yticks(places, names, fontsize=7)
    panel.set_ylim(place - 0.3, -0.7)
    panel.grid(axis="x", alpha=0.3, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)


def _draw_sizes(figure: Any, groups: Mapping[str, Sequence[SizeCurve]], errors: bool) -> list[Any]:
    """Draw curves over the number of training agents, a panel per task and data set.

    One of which nothing is known over all agents has an empty panel.
    """
    figure.set_size_inches(1.0 + 4.2 * len(groups), 4.4)
    panels = list(figure.subplots(1, len(groups), squeeze=False)[0])
    for panel, (name, curves) in zip(panels, groups.items(), strict=True):
        panel.set_title(literal(name), loc="left", fontsize=11)
        panel.spines[["top", "right"]].set_visible(False)
        if not any(curve.points for curve in curves):
            continue
        ticks = sorted({size for curve in curves for size in (*curve.points, *curve.missing)})
        for color, curve in zip(method_colors(len(curves)), curves, strict=True):
            points, flat = curve.points, curve.constant
            if flat and points:
                points = dict.fromkeys(ticks, next(iter(points.values())))
            found = [points.get(size, UNKNOWN) for size in ticks]  # a gap where nothing is known
            values = np.array([(point.value, point.low, point.high) for point in found])
            reach = np.abs(np.nan_to_num(values[:, 1:].T - values[:, 0]))
            panel.errorbar(
                ticks,
                values[:, 0],
                yerr=None if flat else reach,
                fmt=":" if flat else "o-",
                color=color,
                markersize=4,
                elinewidth=1.2,
                label=curve.title,
            )
        panel.set_xscale("log")
        panel.set_xticks(ticks, [str(size) for size in ticks])
        panel.minorticks_off()
        panel.set_xlabel("training agents, one trajectory each")
        if errors:
            panel.set_yscale("log")
        what = "RMSE in raw units\ngeometric mean" if errors else "return per episode\nmean"
        panel.set_ylabel(f"{what} over agents")
        panel.grid(alpha=0.3, linewidth=0.6)
    return panels


def _whiskers(entry: Entry, figure: str) -> tuple[float, float]:
    """Return the reach of the interval to the left and to the right."""
    if figure == "paper":
        spread = entry.paper_spread or 0.0
    elif figure == "ours" and entry.ours is not None:
        if entry.spread is None and entry.low is not None and entry.high is not None:
            return max(0.0, entry.ours - entry.low), max(0.0, entry.high - entry.ours)
        spread = entry.spread or 0.0
    else:
        spread = 0.0
    # A logarithmic axis ends above zero.
    left = min(spread, 0.99 * entry.ours) if entry.lower_is_better and entry.ours else spread
    return left, spread
