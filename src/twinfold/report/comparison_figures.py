"""Plotly figures of a comparison of methods: dots with intervals, curves over sizes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from twinfold.report.figures import PAPER, styled
from twinfold.report.labels import markup
from twinfold.report.palette import method_colors

_ROW = 26  # pixels of a line
_CURVES = 420  # pixels of a figure of curves


@dataclass(frozen=True)
class Dot:
    """A measured figure of one method.

    Attributes:
        line: what it is of, the label of its line.
        value: the figure.
        low: lower end of its interval, or None.
        high: upper end.
    """

    line: str
    value: float
    low: float | None = None
    high: float | None = None


def comparison_figure(
    methods: Mapping[str, Sequence[Dot]], paper: Sequence[Dot], axis: str, *, log: bool
) -> go.Figure:
    """Draw the figures of methods with their intervals, a line per data set and agent.

    Args:
        methods: finite figures by the title of the method.
        paper: the paper's figures of our method.
        axis: what is measured.
        log: whether the axis is logarithmic.
    """
    figure = go.Figure()
    if paper:
        figure.add_scatter(
            x=[dot.value for dot in paper],
            y=[markup(dot.line) for dot in paper],
            mode="markers",
            name="PerSim in the paper",
            marker={"symbol": "diamond-open", "color": PAPER, "size": 9},
        )
    for colour, (title, dots) in zip(method_colors(len(methods)), methods.items(), strict=True):
        figure.add_scatter(
            x=[dot.value for dot in dots],
            y=[markup(dot.line) for dot in dots],
            mode="markers",
            name=markup(title),
            marker={"color": colour, "size": 8},
            error_x=_reach(dots),
        )
    lines = dict.fromkeys(dot.line for dots in (paper, *methods.values()) for dot in dots)
    figure.update_xaxes(title_text=markup(axis), type="log" if log else "linear")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return styled(figure, 130 + _ROW * len(lines))


def size_figure(
    methods: Mapping[str, Mapping[int, Dot]],
    axis: str,
    *,
    log: bool,
    constant: Collection[str] = (),
) -> go.Figure:
    """Draw figures with their intervals over the number of training agents, a curve per method.

    Args:
        methods: by the title of the method, finite figures by the number of agents.
        axis: what is measured.
        log: whether the vertical axis is logarithmic.
        constant: titles of methods whose figure is the same for every number of agents.
    """
    figure = go.Figure()
    known = sorted({size for points in methods.values() for size in points})
    for colour, (title, points) in zip(method_colors(len(methods)), methods.items(), strict=True):
        flat = title in constant and len(points) == 1
        every = dict.fromkeys(known, *points.values()) if flat else points
        shown = [every.get(size, Dot("", math.nan)) for size in known]  # a gap where it has none
        figure.add_scatter(
            x=known,
            y=[None if math.isnan(dot.value) else dot.value for dot in shown],
            mode="lines" if flat else "lines+markers",
            name=markup(title),
            marker={"color": colour, "size": 7},
            line={"color": colour, "dash": "dot" if flat else "solid"},
            error_y=None if flat else _reach(shown),
        )
    figure.update_xaxes(
        title_text="training agents, one trajectory each", type="log", tickvals=known
    )
    figure.update_yaxes(title_text=markup(axis), type="log" if log else "linear")
    return styled(figure, _CURVES)


def _reach(dots: Sequence[Dot]) -> dict[str, object]:
    """Return error bars from the intervals of dots; none where an end is not known."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [0.0 if d.high is None else max(0.0, d.high - d.value) for d in dots],
        "arrayminus": [0.0 if d.low is None else max(0.0, d.value - d.low) for d in dots],
        "thickness": 1.2,
        "width": 3,
    }
