"""CartPole as it looks: true carts opaque, predicted ones translucent (the paper's Figure 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.benchmark.studies.study_records import Record
from twinfold.report.labels import literal
from twinfold.report.static_figures import drawn
from twinfold.utils.files import atomic_write_bytes

# Sizes in metres, as Gymnasium draws them; the pole has the agent's own length.
_CART_WIDTH, _CART_HEIGHT, _POLE_WIDTH = 0.40, 0.24, 0.08
_WINDOW = 1.4  # to either side
_NAMES = {"persim": "twinfold", "cadm": "CaDM", "cadm-pets": "PE-TS CaDM"}
# Of the cart and of its pole.
_TRUE, _PREDICTED = ("#2b2f36", "#b9783f"), ("#3b78d8", "#3b78d8")


def draw_carts(records: Sequence[Record], path: Path, title: str) -> None:
    """Draw true and predicted carts: a row per agent and method, a column per horizon.

    Args:
        records: one per agent.
        path: of the PNG file.
        title: above it.
    """
    from matplotlib.figure import Figure

    # Of records with other settings only those that look as far ahead as the latest are drawn.
    records = [record for record in records if record["horizons"] == records[-1]["horizons"]]
    rows = [(record, method) for record in records for method in record["predicted"]]
    horizons = records[0]["horizons"]
    size = (1.4 + 1.7 * len(horizons), 0.7 + 1.2 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), len(horizons), squeeze=False)
    for k, ((record, method), line) in enumerate(zip(rows, panels, strict=True)):
        for h, panel in enumerate(line):
            _draw_pair(panel, record, method, h)
            if k == 0:
                steps = horizons[h]
                panel.set_title(f"{steps} step{'s' if steps > 1 else ''} ahead", fontsize=10)
        error = record["rmse_shown"][method]
        name = f"{_NAMES[method]}\n" + ("diverged" if error is None else f"RMSE {error:.2g}")
        line[0].set_ylabel(literal(name), fontsize=9, rotation=0, ha="right", va="center", y=0.3)
        if method == next(iter(record["predicted"])):
            force, length = record["label"].split("/")
            line[0].annotate(
                literal(f"force {force} N\nhalf pole {length} m"),
                (-0.04, 1.0),
                xycoords="axes fraction",
                ha="right",
                va="top",
                fontsize=9,
                fontweight="bold",
            )
    heading = f"{title}: true cart dark, predicted cart blue"
    figure.suptitle(literal(heading), x=0.01, ha="left", fontsize=11)
    atomic_write_bytes(path, drawn(figure, "png"))


def _draw_pair(panel: Any, record: Record, method: str, horizon: int) -> None:
    """Draw the true and the predicted cart of a horizon."""
    place, angle = record["states"].index("x"), record["states"].index("theta")
    half = record["covariates"]["length"]
    true = record["true"][horizon]
    predicted = record["predicted"][method][horizon]
    # All methods of an agent share a window, and so do all agents a scale. What is farther from the
    # true cart than the window is wide, or diverged, is not seen.
    ends = [states[horizon][place] for states in record["predicted"].values()]
    near = [x for x in ends if x is not None and abs(x - true[place]) < _WINDOW]
    middle = (min([true[place], *near]) + max([true[place], *near])) / 2
    panel.plot([middle - 9, middle + 9], [0, 0], color="#98a1ae", linewidth=1, zorder=0)
    _draw_cart(panel, true[place], true[angle], half, _TRUE, 1.0, 1)
    if None not in (predicted[place], predicted[angle]):
        _draw_cart(panel, predicted[place], predicted[angle], half, _PREDICTED, 0.5, 2)
    panel.set_xlim(middle - _WINDOW, middle + _WINDOW)
    panel.set_ylim(-0.25, 1.95)
    panel.set_aspect("equal")
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color("#d5d9df")


def _draw_cart(
    panel: Any,
    place: float,
    angle: float,
    half: float,
    colors: tuple[str, str],
    alpha: float,
    order: int,
) -> None:
    """Draw one cart and its pole, which leans to the right for a positive angle."""
    from matplotlib.patches import Polygon, Rectangle

    body, pole = colors
    corner = (place - _CART_WIDTH / 2, -_CART_HEIGHT / 2)
    panel.add_patch(
        Rectangle(corner, _CART_WIDTH, _CART_HEIGHT, color=body, alpha=alpha, lw=0, zorder=order)
    )
    along = np.array([math.sin(angle), math.cos(angle)])
    across = np.array([along[1], -along[0]]) * _POLE_WIDTH / 2
    foot = np.array([place, 0.0])
    top = foot + 2 * half * along
    corners = [foot - across, foot + across, top + across, top - across]
    panel.add_patch(Polygon(corners, color=pole, alpha=alpha, lw=0, zorder=order + 0.5))
