"""Figures of the studies from their records, through Matplotlib. No JAX."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twinfold.benchmark.studies.cart_figure import draw_carts
from twinfold.benchmark.studies.study_records import Record, latest_records
from twinfold.benchmark.studies.study_settings import StudySettings
from twinfold.report.labels import literal
from twinfold.report.static_figures import drawn
from twinfold.report.tables import NOTHING
from twinfold.utils.files import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TASKS = {
    "mountain_car": "MountainCar",
    "cart_pole": "CartPole",
    "half_cheetah": "HalfCheetah",
    "unclipped_mountain_car": "MountainCar without clipping",
}
METHODS = {"persim": "twinfold", "cadm": "CaDM", "cadm-pets": "PE-TS CaDM"}
_LARGEST = 1e100  # beyond it the range of an axis is no number
OURS, TRUTH, GREY = "#3b78d8", "#e8710a", "#98a1ae"


def draw_study(
    name: str, settings: StudySettings, records: Sequence[Record], folder: Path
) -> list[Path]:
    """Draw the figures of a study and return where they are; none without a record.

    Args:
        name: of the study.
        settings: of the study, for its title.
        records: of the study, the oldest first.
        folder: for PNG files.
    """
    rows = latest_records(list(records))
    if not rows:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for suffix, part in _parts(name, rows).items():
        path = folder / f"study-{name}{suffix}.png"
        _DRAW[name](part, path, settings.title)
        found.append(path)
    return found


def _parts(name: str, rows: list[Record]) -> dict[str, list[Record]]:
    """Return the records of each figure, by the end of its name."""
    if name in ("map", "bands"):
        return {end: [row] for end, row in zip(endings(rows), rows, strict=True)}
    return {"": rows}


def endings(rows: Sequence[Record]) -> list[str]:
    """Return what tells the figures of a study's records apart, an end of a file name for each.

    Args:
        rows: the latest records of a study that has a figure for each.
    """
    tasks = [row["task"] for row in rows]
    return [
        f"-{row['task']}" if tasks.count(row["task"]) == 1 else f"-{row['task']}-{_plain(row)}"
        for row in rows
    ]


def _plain(row: Record) -> str:
    """Return the data of a record as a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(row["dataset"]))


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all.

    Args:
        figure: made without pyplot.
        path: of the file.
    """
    atomic_write_bytes(path, drawn(figure, "png"))


def _numbers(values: Any) -> Any:
    """Return values of a record as an array; what diverged, or is too large to draw, is none."""
    found = np.array(values, dtype=np.float64)
    return np.where(np.abs(found) < _LARGEST, found, np.nan)


def tidy(panel: Any, title: str = "") -> None:
    """Give a panel the look of all others.

    Args:
        panel: axes.
        title: on the left above it.
    """
    panel.grid(alpha=0.3, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    if title:
        panel.set_title(literal(title), loc="left", fontsize=10)


def draw_unseen(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw the error of unseen agents by what is known of them, a panel per task.

    Args:
        records: of the study.
        path: of the PNG file.
        title: above it.
    """
    from matplotlib.figure import Figure

    ways = [name for name in all_ways(records) if not name.startswith("covariates, prior, ")]
    size = (2.2 + 3.9 * len(records), 1.3 + 0.36 * len(ways))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    rng = np.random.default_rng(0)  # of what keeps dots apart
    for panel, record in zip(panels, records, strict=True):
        for place, way in enumerate(ways):
            if way not in record["ways"]:  # measured with other settings
                continue
            found = record["ways"][way]
            color = GREY if way == "nothing" else TRUTH if way == "trained" else OURS
            errors = _numbers(found["agents"])
            low, middle, high = _numbers([found[name] for name in ("low", "median", "high")])
            beside = place + rng.uniform(-0.25, 0.25, len(errors))
            panel.plot(errors, beside, ".", color=color, alpha=0.25, markersize=4)
            panel.plot([low, high], [place, place], color=color, linewidth=2)
            panel.plot(middle, place, "o", color=color, markersize=7)
        panel.set_xscale("log")
        panel.set_xlabel("RMSE of 50 steps in raw units")
        panel.set_yticks(range(len(ways)), [_way(name) for name in ways])
        panel.set_ylim(len(ways) - 0.5, -0.5)
        tidy(panel, f"{TASKS[record['task']]}, {record['dataset']}")
    figure.suptitle(
        literal(f"{title}: medians with 95 % intervals, and each agent"),
        x=0.01,
        ha="left",
        fontsize=11,
    )
    save(figure, path)


def all_ways(records: Sequence[Record]) -> list[str]:
    """Return the ways to know an agent that any record of the study has, in order."""
    return list(dict.fromkeys(way for record in records for way in record["ways"]))


def _way(name: str) -> str:
    """Return what a way to know an agent is called in a figure."""
    names = {
        "nothing": "nothing (average agent)",
        "covariates, learned": "covariates, learned map",
        "covariates, prior": "covariates, static columns",
        "1 transitions": "1 transition",
        "all transitions": "its whole trajectory",
        "trained": "trained on it",
    }
    return names.get(name, name)


def draw_map(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw both maps of a task's agents, coloured by each covariate.

    Args:
        records: one.
        path: of the PNG file.
        title: above it.
    """
    from matplotlib.figure import Figure

    (record,) = records
    names = list(record["covariates"])
    figure = Figure(figsize=(5.8, 0.5 + 1.75 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), 2, squeeze=False)
    share = record["explained_by_pca"]
    for row, name in zip(panels, names, strict=True):
        for panel, kind in zip(row, ("pca", "tsne"), strict=True):
            place = _numbers(record[kind])
            shade = _numbers(record["covariates"][name])
            dots = panel.scatter(place[:, 0], place[:, 1], c=shade, s=5, linewidths=0)
            read = record["r2"][f"{kind}_map"][name]
            label = "PCA" if kind == "pca" else "t-SNE"
            tidy(panel)
            panel.set_title(f"{label}: R² of {literal(name)} {_r2(read)}", loc="left", fontsize=9)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
            if kind == "pca":
                panel.set_xlabel(f"first, {_percent(share[0])} of variance", fontsize=8)
                panel.set_ylabel(f"second, {_percent(share[1])}", fontsize=8)
                _no_flat_axis(panel, place)
        smooth = record["r2"]["smooth"][name]
        bar = figure.colorbar(dots, ax=row, aspect=30, pad=0.01)
        bar.set_label(literal(f"{name}\nall responses: R² {_r2(smooth)}"), fontsize=7)
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
    heading = f"{title}: {TASKS[record['task']]}, {record['dataset']}, {len(place)} agents"
    figure.suptitle(literal(heading), x=0.01, ha="left", fontsize=10)
    save(figure, path)


def _percent(share: float) -> str:
    """Return a share in per cent, of what is next to nothing its bound."""
    return f"{100 * share:.3g} %" if share >= 1e-4 else "< 0.01 %"


def _no_flat_axis(panel: Any, place: Any, least: float = 0.15) -> None:
    """Keep a component in which agents hardly differ from being drawn as large as the first."""
    wide, high = np.ptp(place, axis=0)
    if high < least * wide:
        middle = (place[:, 1].min() + place[:, 1].max()) / 2
        panel.set_ylim(middle - least * wide / 2, middle + least * wide / 2)


def _r2(value: float | None) -> str:
    """Return an R2 with as many digits as tell it from one, at most five."""
    if value is None:
        return NOTHING
    for digits in (2, 3, 4):
        if round(value, digits) < 1:
            return f"{value:.{digits}f}"
    return f"{value:.5f}" if round(value, 5) < 1 else "> 0.99999"


def draw_bands(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw trajectories with bands, a row per agent and a column per state, and the errors below.

    Args:
        records: one.
        path: of the PNG file.
        title: above it.
    """
    from matplotlib.figure import Figure

    (record,) = records
    agents, columns = record["agents"], record["columns"]
    size = (1.0 + 3.1 * len(columns), 0.9 + 2.0 * len(agents))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(
        2 * len(agents),
        len(columns),
        sharex=True,
        squeeze=False,
        height_ratios=[5, 3] * len(agents),
    )
    for a, agent in enumerate(agents):
        for d, name in enumerate(columns):
            above, below = panels[2 * a, d], panels[2 * a + 1, d]
            _draw_state(above, below, agent, d)
            tidy(above, f"agent {agent['label']}: {name}" if d == 0 else name)
            tidy(below)
            if d == 0:
                below.set_ylabel("error", fontsize=8)
    for panel in panels[-1]:
        panel.set_xlabel("steps ahead")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    heading = f"{title}: {TASKS[record['task']]}, {record['dataset']}"
    figure.suptitle(literal(heading), x=0.01, ha="left", fontsize=11)
    save(figure, path)


def _draw_state(above: Any, below: Any, agent: Record, column: int) -> None:
    """Draw one state of one agent, and below what is left of it, on its own scale."""
    true, predicted, low, high = (
        _numbers(agent[name])[:, column] for name in ("true", "predicted", "low", "high")
    )
    steps = np.arange(len(true))
    band = {"color": OURS, "alpha": 0.2, "linewidth": 0}
    above.fill_between(steps[1:], low, high, **band, label="band")
    above.plot(steps[1:], predicted, color=OURS, linewidth=2, label="predicted")
    above.plot(steps, true, color=TRUTH, linestyle=":", linewidth=1.8, label="true")
    below.fill_between(steps[1:], low - predicted, high - predicted, **band)
    below.axhline(0, color=OURS, linewidth=1)
    below.plot(steps[1:], true[1:] - predicted, color=TRUTH, linestyle=":", linewidth=1.8)
    below.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    below.tick_params(labelsize=8)
    below.yaxis.get_offset_text().set_fontsize(8)


def draw_rank(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw errors by rank above, and singular values along the states below, a column per task.

    Args:
        records: of the study.
        path: of the PNG file.
        title: above it.
    """
    from matplotlib.figure import Figure

    runs = list(dict.fromkeys((record["task"], record["dataset"]) for record in records))
    tasks = [task for task, _ in runs]
    figure = Figure(figsize=(1.0 + 4.2 * len(runs), 6.2), layout="constrained")
    panels = figure.subplots(2, len(runs), squeeze=False)
    for (above, below), (task, dataset) in zip(panels.T, runs, strict=True):
        same = (r for r in records if (r["task"], r["dataset"]) == (task, dataset))
        rows = sorted(same, key=lambda r: r["rank"])
        ranks = [row["rank"] for row in rows]
        least = [row["least_error"] if row["least_error"] > 1e-10 else np.nan for row in rows]
        above.plot(ranks, least, "s:", color=GREY, label="least error that the rank allows")
        errors = _numbers([row["tensor_error"] for row in rows])
        above.plot(ranks, errors, "o-", color=OURS, label="learned")
        above.set_yscale("log")
        above.set_xticks(ranks)
        above.set_xlabel("rank r of the model")
        above.set_ylabel("relative error of one step")
        tidy(above, TASKS[task] + (f", {dataset}" if tasks.count(task) > 1 else ""))
        above.legend(frameon=False, fontsize=8)
        true = _numbers(rows[0]["true"]["states"]["values"])
        shades = np.linspace(0.25, 1.0, len(rows))
        for row, shade in zip(rows, shades, strict=True):
            # Beyond its rank a model has rounding alone.
            values = _numbers(row["learned"]["states"]["values"][: row["rank"]])
            places = np.arange(1, len(values) + 1)
            label = f"r = {row['rank']}"
            below.plot(places, values, ".-", color=OURS, alpha=shade, linewidth=1, label=label)
        shown = true > 1e-7
        places = np.arange(1, len(true) + 1)
        below.plot(places[shown], true[shown], "D", color=TRUTH, mfc="none", label="true")
        below.set_yscale("log")
        below.set_ylim(1e-6, 2)
        below.set_xticks(places)
        below.set_xlabel("singular value of the tensor, unfolded along states")
        below.set_ylabel("share of the largest")
        tidy(below)
        below.legend(frameon=False, fontsize=8, ncols=2)
    figure.suptitle(literal(title), x=0.01, ha="left", fontsize=11)
    save(figure, path)


_DRAW: dict[str, Callable[[Sequence[Record], Path, str], None]] = {
    "unseen": draw_unseen,
    "map": draw_map,
    "carts": draw_carts,
    "bands": draw_bands,
    "rank": draw_rank,
}
