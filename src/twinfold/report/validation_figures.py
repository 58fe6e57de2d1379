"""Pictures of a validation record: errors, calibration, support, agents, statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from twinfold.report.curves import Curves
from twinfold.report.figures import BAND, BEST, LINES, OURS, PAPER, TRUTH, prediction_panels, styled
from twinfold.report.labels import markup
from twinfold.report.tables import number
from twinfold.utils.text import shortened

Record = Mapping[str, Any]

_COLUMNS = 4  # state columns that a picture of trajectories has room for
_CONTROLS = {
    "model": {"color": OURS, "width": 3},
    "persistence": {"color": PAPER, "width": 2, "dash": "dash"},
    "own mean": {"color": PAPER, "width": 1.5, "dash": "dot"},
    "average agent": {"color": TRUTH, "width": 2},
    "another agent": {"color": "#a142b8", "width": 2, "dash": "dot"},
    "pooled linear model": {"color": BEST, "width": 2, "dash": "dash"},
    "own linear model": {"color": BEST, "width": 2, "dash": "dashdot"},
}
_BEST_SIMPLE = {"color": BEST, "width": 2, "dash": "dot"}  # one that has no line of its own
_NAMES = {"model": "the agent's simulator", "persistence": "no change"}
_BASIS = {"own data": OURS, "borrowed": "#9dbdf0", "unsupported": TRUTH}


def error_by_horizon(
    by_horizon: Mapping[str, Sequence[float]], best: str | None = None
) -> go.Figure:
    """Draw the median error over agents by steps ahead, beside the controls; a logarithmic axis.

    Args:
        by_horizon: name to one error per step, in standard deviations of the state.
        best: the best simple control, drawn in any case.
    """
    figure = go.Figure()
    lines = _CONTROLS if best is None else _CONTROLS | {best: _CONTROLS.get(best, _BEST_SIMPLE)}
    for name, line in lines.items():
        if name in by_horizon:
            values = _floats(by_horizon[name])
            figure.add_scatter(
                x=np.arange(1, len(values) + 1),
                y=values,
                mode="lines+markers" if len(values) < 3 else "lines",
                line=line,
                name=_NAMES.get(name, name),
            )
    figure.update_xaxes(title_text="steps ahead")
    figure.update_yaxes(
        title_text="median error, standard deviations", type="log", dtick="D2", tickformat="~g"
    )
    return styled(figure, height=400)


def calibration_curve(calibration: Record, band: float | None = None) -> go.Figure:
    """Draw the coverage that was observed against the one that was meant, with the diagonal.

    Args:
        calibration: ``nominal`` and ``observed`` shares of whole courses.
        band: nominal coverage of the band, marked.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": PAPER, "dash": "dash", "width": 1.5},
        name="as promised",
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=calibration["nominal"],
        y=calibration["observed"],
        mode="lines+markers",
        line={"color": OURS, "width": 2.5},
        name="observed",
        hovertemplate="meant %{x:.0%}, observed %{y:.0%}<extra></extra>",
    )
    if band is not None:
        figure.add_vline(x=band, line={"color": TRUTH, "dash": "dot", "width": 1.5})
        figure.add_annotation(
            x=band,
            y=1,
            yref="paper",
            yanchor="bottom",
            text=f"the band: {band:.0%}",
            showarrow=False,
        )
    axis: dict[str, Any] = {"range": [0, 1.02], "tickformat": ".0%"}
    figure.update_xaxes(title_text="coverage that is meant", **axis)
    figure.update_yaxes(title_text="whole trajectories within the band", **axis)
    return styled(figure, height=400)


def worst_panels(worst: Sequence[Record]) -> go.Figure:
    """Draw the trajectories that leave the band furthest, at most four of their columns.

    Args:
        worst: ``agent``, ``score``, ``columns``, and by step ``truth``, ``predicted``, ``lower``
            and ``upper``.
    """
    names = list(worst[0]["columns"])
    chosen = _furthest(worst)[:_COLUMNS]
    panels = {}
    for row in worst:
        predicted, lower, upper, truth = (
            _floats(row[key])[:, chosen] for key in ("predicted", "lower", "upper", "truth")
        )
        score = row.get("score")
        short = shortened(str(row["agent"]), 16)
        title = short if score is None else f"{short} ({number(score, 2)} ×)"
        while title in panels:
            title += " "
        steps = np.arange(1, len(predicted) + 1)
        panels[title] = Curves(steps, predicted, lower, upper, truth=truth)
    figure = prediction_panels(panels, [names[d] for d in chosen])
    figure.for_each_xaxis(
        lambda axis: axis.update(title_text="steps" if axis.title.text == "time" else None)
    )
    return figure


def support_map(support: Mapping[str, Sequence[float]]) -> go.Figure:
    """Draw what predictions rest on, by steps ahead: shares of agents, stacked to one."""
    figure = go.Figure()
    for name, colour in _BASIS.items():
        values = _floats(support[name])
        figure.add_bar(
            x=np.arange(1, len(values) + 1),
            y=values,
            marker={"color": colour, "line": {"width": 0}},
            name=name,
            hovertemplate=f"step %{{x}}: %{{y:.0%}} {name}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.06)
    figure.update_xaxes(title_text="steps ahead", showgrid=False)
    figure.update_yaxes(title_text="share of agents", range=[0, 1], tickformat=".0%")
    return styled(figure, height=320)


def agent_plane(factors: Record, worst: Sequence[object] = ()) -> go.Figure:
    """Draw agents on a plane by how they respond; the pointer shows ids.

    Args:
        factors: ``ids``, ``x``, ``y``, ``trained`` and ``transitions``.
        worst: ids of agents that get a ring.
    """
    ids = list(factors["ids"])
    x, y = _floats(factors["x"]), _floats(factors["y"])
    trained = np.asarray(factors["trained"], bool)
    hover = [
        f"<b>{markup(str(agent))}</b><br>{count} transitions"
        for agent, count in zip(ids, factors["transitions"], strict=True)
    ]
    figure = go.Figure()
    kinds = (
        (trained, "the nets were trained on", OURS, "circle"),
        (~trained, "reserved or added later", TRUTH, "diamond"),
    )
    for rows, name, colour, symbol in kinds:
        if rows.any():
            figure.add_scatter(
                x=x[rows],
                y=y[rows],
                mode="markers",
                marker={
                    "size": 8,
                    "color": colour,
                    "symbol": symbol,
                    "line": {"width": 0.5, "color": LINES},
                },
                text=[hover[n] for n in np.flatnonzero(rows)],
                hovertemplate="%{text}<extra></extra>",
                name=name,
            )
    ringed = [n for n, agent in enumerate(ids) if agent in set(worst)]
    if ringed:
        figure.add_scatter(
            x=x[ringed],
            y=y[ringed],
            mode="markers",
            marker={"size": 15, "symbol": "circle-open", "line": {"width": 2}, "color": "#b3261e"},
            hoverinfo="skip",
            name="fits badly",
        )
    figure.update_xaxes(title_text="first component of the predicted changes")
    figure.update_yaxes(title_text="second component")
    return styled(figure, height=430)


def statistics_panels(statistics: Mapping[str, Record]) -> go.Figure:
    """Draw each statistic of the agents beside that of the reserved ones; the larger, the worse."""
    names = list(statistics)
    columns = 4
    rows = -(-len(names) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[markup(name) for name in names],
        horizontal_spacing=0.07,
        vertical_spacing=0.2,
    )
    kinds = (("agents", "these agents", OURS, BAND), ("reference", "reserved agents", PAPER, LINES))
    for place, name in enumerate(names):
        for key, label, colour, fill in kinds:
            figure.add_box(
                y=_floats(statistics[name][key]),
                name=label,
                legendgroup=label,
                showlegend=place == 0,
                marker={"color": colour, "size": 4},
                fillcolor=fill,
                line={"width": 1.5},
                hoverinfo="y",
                row=place // columns + 1,
                col=place % columns + 1,
            )
    figure.update_xaxes(showticklabels=False)
    return styled(figure, height=90 + 230 * rows)


def _furthest(worst: Sequence[Record]) -> list[int]:
    """Return the state columns, those whose truth leaves the band furthest first."""
    reach = []
    for row in worst:
        predicted, upper, lower, truth = (
            _floats(row[key]) for key in ("predicted", "upper", "lower", "truth")
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(truth - predicted) / np.maximum((upper - lower) / 2, 1e-300)
        reach.append(np.nan_to_num(ratio, nan=np.inf).max(axis=0))
    chosen = np.argsort(-np.max(reach, axis=0), kind="stable")[:_COLUMNS]
    return sorted(int(d) for d in chosen)


def _floats(values: Any) -> np.ndarray:
    """Return an array in which None is NaN."""
    return np.asarray(values, dtype=np.float64)
