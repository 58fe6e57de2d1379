"""A picture of a table: lengths of trajectories, states and actions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twinfold.errors import UsageError, one_of
from twinfold.report.labels import literal
from twinfold.report.static_figures import drawn
from twinfold.utils.files import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from twinfold.data.panel import PanelDataset

SUFFIXES = (".png", ".pdf", ".svg")

_INK, _FILL, _GRID = "#2b2b2b", "#3b6ea5", "#e4e4e4"


def coverage_figure(dataset: PanelDataset, path: str | os.PathLike[str]) -> None:
    """Draw how much each agent was observed and which states and actions were visited.

    Args:
        dataset: the data.
        path: a file with one of ``SUFFIXES``.

    Raises:
        UsageError: the suffix is unknown or the place cannot be written to.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot draw to {os.fspath(path)!r}; {one_of(SUFFIXES)}")
    from matplotlib.figure import Figure

    data = dataset.transitions()
    names = dataset.roles.state
    pairs = {1: [], 2: [(0, 1)], 3: [(0, 1), (0, 2)]}.get(len(names), [(0, 1), (2, 3)])
    figure = Figure(figsize=(4.0 * (2 + max(1, len(pairs))), 3.8), layout="constrained")
    axes: list[Axes] = list(figure.subplots(1, 2 + max(1, len(pairs))))
    _draw_counts(axes[0], np.bincount(data.agent, minlength=dataset.n_agents))
    for axis, (i, j) in zip(axes[1:], pairs, strict=False):
        _draw_pair(figure, axis, dataset.state[:, [i, j]], names[i], names[j])
    if not pairs:
        _draw_values(axes[1], dataset.state[:, 0], names[0], "rows", "States")
    _draw_actions(axes[-1], dataset, data.action)
    transitions = f"{len(data):,} transition" + ("s" if len(data) != 1 else "")
    agents = f"{dataset.n_agents:,} agent" + ("s" if dataset.n_agents != 1 else "")
    figure.suptitle(f"{transitions} of {agents}", color=_INK, fontsize=12)
    atomic_write_bytes(path, drawn(figure, suffix[1:]))


def _style(axis: Axes, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize=10, color=_INK, loc="left")
    axis.set_xlabel(literal(x, 32), fontsize=9)
    axis.set_ylabel(literal(y, 32), fontsize=9)
    axis.tick_params(labelsize=8, color=_GRID)
    for side, spine in axis.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#9a9a9a")


def _whole_ticks(axis: Axes, which: str) -> None:
    from matplotlib.ticker import MaxNLocator

    getattr(axis, f"{which}axis").set_major_locator(MaxNLocator(integer=True, nbins=6))


def _draw_counts(axis: Axes, counts: NDArray[Any]) -> None:
    low, high = int(counts.min()), int(counts.max())
    width = max(1, -(-(high - low + 1) // 40))  # whole numbers per bar
    edges = np.arange(low, high + width + 1, width) - 0.5
    axis.hist(counts, bins=edges, color=_FILL)  # pyright: ignore[reportArgumentType]
    axis.set_xlim(min(edges[0], low - 2.5), max(edges[-1], high + 2.5))
    median = float(np.median(counts))
    axis.axvline(median, color=_INK, linewidth=1, linestyle="--")
    _style(axis, f"Transitions per agent (median {median:g}, dashed)", "transitions", "agents")
    _whole_ticks(axis, "x")
    _whole_ticks(axis, "y")


def _draw_pair(figure: Figure, axis: Axes, state: NDArray[Any], x: str, y: str) -> None:
    from matplotlib.colors import LogNorm

    counts, at_x, at_y = np.histogram2d(state[:, 0], state[:, 1], bins=60)
    shades = LogNorm(vmin=1, vmax=max(10.0, counts.max()))
    picture = axis.pcolormesh(at_x, at_y, counts.T, norm=shades, cmap="viridis", rasterized=True)
    bar = figure.colorbar(picture, ax=axis, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    bar.set_label("rows", fontsize=8)
    _style(axis, "States visited", x, y)


def _draw_values(axis: Axes, values: NDArray[Any], name: str, unit: str, title: str) -> None:
    axis.hist(values, bins=40, color=_FILL)
    _style(axis, title, name, unit)


def _draw_actions(axis: Axes, dataset: PanelDataset, action: NDArray[Any]) -> None:
    names, code = dataset.roles.action, dataset.action_code
    if dataset.roles.mixed:  # what was chosen, and not how much of it
        action = code.unpack(action)[0]
    if code.levels:
        counts = np.bincount(action, minlength=len(code.levels))
        axis.bar(np.arange(len(counts)), counts, color=_FILL)
        if len(counts) <= 12:
            labels = [literal(name, 16) for name in code.level_names]
            axis.set_xticks(np.arange(len(counts)), labels)
        _style(axis, "Actions taken", names[0] if len(names) == 1 else "", "transitions")
    elif not names:
        _style(axis, "No actions", "", "")
    elif len(names) == 1:
        _draw_values(axis, action[:, 0], names[0], "transitions", "Actions taken")
    else:  # several columns: the range of each
        lines: dict[str, Any] = {"color": _INK}
        axis.boxplot(
            list(action.T)[:12],
            orientation="horizontal",
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": _FILL, "edgecolor": _INK},
            medianprops=lines,
            whiskerprops=lines,
            capprops=lines,
        )
        axis.invert_yaxis()
        axis.set_yticks(range(1, 1 + len(names[:12])), [literal(name, 16) for name in names[:12]])
        _style(axis, "Actions taken (quartiles)", "value", "")
