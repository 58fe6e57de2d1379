"""Plotly figures for a page. They take records and NumPy arrays and return a ``Figure``.

Backgrounds are transparent and text has no colour of its own: the page sets it for light and dark.
Text that users gave is escaped, since Plotly reads markup in every label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from twinfold.errors import UsageError
from twinfold.metrics import principal_components
from twinfold.report.agent_map import explained, matched
from twinfold.report.curves import Curves, grid, state_names
from twinfold.report.labels import markup
from twinfold.report.tables import label_of, number

OURS = "#3b78d8"
BAND = "rgba(59, 120, 216, 0.22)"
MEMBER = "rgba(59, 120, 216, 0.45)"
TRUTH = "#e8710a"
PAPER = "#98a1ae"
BEST = "#1d9a6c"
LINES = "rgba(128, 134, 145, 0.28)"

Record = Mapping[str, Any]
Figures = Mapping[Any, Mapping[str, float]]


def factor_map(
    ids: Sequence[object],
    factors: npt.ArrayLike,
    covariates: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    highlight: Sequence[object] = (),
) -> go.Figure:
    """Draw every agent as a point: the first two principal components of its factors.

    One panel per covariate, coloured by it; its title says how much of the covariate a linear
    function of all factors explains. Without covariates, one panel.

    Args:
        ids: N agent ids, shown when the pointer is on a point.
        factors: ``(N, r)``; or predictions at common inputs, see ``principal_components``.
        covariates: ``(N, C)`` or None. Known in benchmarks only.
        names: the C names of the covariates.
        highlight: ids of agents that get a ring and their id beside it.

    Raises:
        UsageError: shapes, names or ids that do not fit.
    """
    factors = matched("factors", factors, ids)
    points, shares = principal_components(factors)
    columns = np.zeros((len(ids), 0))
    if covariates is not None:
        columns = matched("covariates", covariates, ids)
        names = tuple(names) or tuple(f"covariate {c + 1}" for c in range(columns.shape[1]))
    titles = _map_titles(factors, columns, names) if covariates is not None else [""]
    position = {agent: place for place, agent in enumerate(ids)}
    missing = [agent for agent in highlight if agent not in position]
    if missing:
        raise UsageError(f"no agent {missing[0]!r} on the map to highlight")
    rings = np.array([points[position[agent]] for agent in highlight]).reshape(-1, 2)
    hover = [_hover(agent, names, row) for agent, row in zip(ids, columns, strict=True)]
    n_panels = len(titles)
    gap = 0.32 / n_panels
    width = (1.0 - gap * (n_panels - 1)) / n_panels
    figure = make_subplots(1, n_panels, subplot_titles=titles, horizontal_spacing=gap)
    for panel in range(n_panels):
        marker: dict[str, Any] = {"size": 7, "line": {"width": 0.5, "color": LINES}}
        if columns.shape[1]:
            right = panel * (width + gap) + width
            bar = {"x": right + 0.005, "thickness": 10, "outlinewidth": 0, "len": 0.9}
            marker |= {"color": columns[:, panel], "colorscale": "Viridis", "colorbar": bar}
        else:
            marker |= {"color": OURS}
        _map_panel(figure, panel, points, marker, hover, rings, highlight)
    axis = "{} component · {:.0%} of the variance"
    figure.update_xaxes(title_text=axis.format("first", shares[0]))
    figure.update_yaxes(title_text=axis.format("second", shares[1]), col=1)
    return styled(figure, height=430, legend=False)


def _map_titles(
    factors: npt.NDArray[np.float64], columns: npt.NDArray[np.float64], names: Sequence[str]
) -> list[str]:
    """Return the name of each covariate with how much of it the factors explain.

    Raises:
        UsageError: a different number of names than covariates.
    """
    if len(names) != columns.shape[1]:
        raise UsageError(f"{len(names)} names for {columns.shape[1]} covariates")
    return [
        markup(name) + ("" if np.isnan(fit) else f" · linear R² {fit:.2f}")
        for name, fit in zip(names, explained(factors, columns), strict=True)
    ]


def _map_panel(
    figure: go.Figure,
    panel: int,
    points: npt.NDArray[np.float64],
    marker: dict[str, Any],
    hover: Sequence[str],
    rings: npt.NDArray[np.float64],
    highlight: Sequence[object],
) -> None:
    """Draw all agents in one panel of the map, with rings around some."""
    figure.add_scatter(
        x=points[:, 0],
        y=points[:, 1],
        mode="markers",
        marker=marker,
        text=hover,
        hovertemplate="%{text}<extra></extra>",
        row=1,
        col=panel + 1,
    )
    figure.add_scatter(
        x=rings[:, 0],
        y=rings[:, 1],
        mode="markers+text",
        marker={"size": 14, "symbol": "circle-open", "line": {"width": 2}, "color": TRUTH},
        text=[markup(str(agent)) for agent in highlight],
        textposition="top center",
        hoverinfo="skip",
        row=1,
        col=panel + 1,
    )


def rollout_figure(curves: Curves, names: Sequence[str] = ()) -> go.Figure:
    """Draw one predicted trajectory, one panel per state: centre, band, members and truth.

    Args:
        curves: the trajectory.
        names: the D names of the states.

    Raises:
        UsageError: a different number of names than states.
    """
    names = state_names(curves, names)
    rows, columns = grid(len(names))
    figure = make_subplots(
        rows,
        columns,
        shared_xaxes=True,
        subplot_titles=[markup(name) for name in names],
        vertical_spacing=0.22 / rows,
        horizontal_spacing=0.08,
    )
    for d in range(len(names)):
        _draw(figure, curves, d, d // columns + 1, d % columns + 1, legend=d == 0)
    figure.update_xaxes(title_text="time", row=rows)
    return styled(figure, height=110 + 190 * rows)


def prediction_panels(agents: Mapping[Any, Curves], names: Sequence[str] = ()) -> go.Figure:
    """Draw predicted against true trajectories: one row per agent, one column per state.

    Args:
        agents: the row's title to the agent's trajectory; all with the same D states.
        names: the D names of the states.

    Raises:
        UsageError: no agent, or numbers of states that differ.
    """
    if not agents:
        raise UsageError("predictions of no agent: there is nothing to draw")
    names = state_names(next(iter(agents.values())), names)
    rows = len(agents)
    figure = make_subplots(
        rows,
        len(names),
        column_titles=[markup(name) for name in names],
        row_titles=[markup(str(title)) for title in agents],
        shared_xaxes=True,
        vertical_spacing=0.16 / rows,
        horizontal_spacing=0.05,
    )
    for row, curves in enumerate(agents.values()):
        state_names(curves, names)
        for d in range(len(names)):
            _draw(figure, curves, d, row + 1, d + 1, legend=row == 0 and d == 0)
    figure.update_xaxes(title_text="time", row=rows)
    return styled(figure, height=110 + 150 * rows)


def returns_figure(
    records: Sequence[Record], paper: Figures | None = None, best: Mapping[Any, float] | None = None
) -> go.Figure:
    """Draw the returns of each agent beside the paper's: means as bars, deviations as whiskers.

    Args:
        records: one per agent: ``agent``, ``mean``, ``std``, optional ``label``, ``iqm``, ``low``
            and ``high``.
        paper: agent to ``return_mean`` and ``return_std``; agents may be missing.
        best: agent to the best possible return, if known.
    """
    labels = [markup(label_of(record)) for record in records]
    figure = go.Figure()
    figure.add_bar(
        x=labels,
        y=[record["mean"] for record in records],
        error_y=_whiskers([record.get("std", np.nan) for record in records]),
        marker_color=OURS,
        name="twinfold",
        text=[number(record["mean"]) for record in records],
        textposition="inside",
        insidetextanchor="middle",
        insidetextfont={"color": "white"},
        customdata=[_interval(record) for record in records],
        hovertemplate="twinfold: mean %{y:.4g}%{customdata}<extra></extra>",
    )
    if paper:
        means = [paper.get(r["agent"], {}).get("return_mean", np.nan) for r in records]
        figure.add_bar(
            x=labels,
            y=means,
            error_y=_whiskers(
                [paper.get(r["agent"], {}).get("return_std", np.nan) for r in records]
            ),
            marker_color=PAPER,
            name="paper",
            text=["" if np.isnan(mean) else number(mean) for mean in means],
            textposition="inside",
            insidetextanchor="middle",
            insidetextfont={"color": "white"},
            hovertemplate="paper: mean %{y:.4g}<extra></extra>",
        )
    if best:
        figure.add_scatter(
            x=labels,
            y=[best.get(record["agent"], np.nan) for record in records],
            mode="markers",
            marker={"symbol": "line-ew", "size": 46, "line": {"width": 3, "color": BEST}},
            name="best possible",
            hovertemplate="best possible: %{y:.4g}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3, bargroupgap=0.06)
    figure.update_xaxes(title_text="agent", type="category", showgrid=False)
    figure.update_yaxes(title_text="return per episode")
    return styled(figure, height=380)


def validation_curve(
    lengths: npt.ArrayLike,
    errors: npt.ArrayLike,
    chosen: float | None = None,
    by_step: npt.ArrayLike | None = None,
    length_name: str = "epochs",
) -> go.Figure:
    """Draw the error on held-out windows, by length of training and by steps ahead.

    Args:
        lengths: ``(K,)``, how long training had gone on.
        errors: ``(K,)``, the multi-step error then.
        chosen: the length that was chosen, marked by a vertical line.
        by_step: ``(H,)``, the chosen model's error 1 .. H steps ahead.
        length_name: the unit of ``lengths``.

    Raises:
        UsageError: ``lengths`` and ``errors`` differ in shape.
    """
    x, y = np.asarray(lengths, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise UsageError(f"lengths of shape {x.shape} do not fit errors of shape {y.shape}")
    columns = 1 if by_step is None else 2
    titles = ("by length of training", "by steps ahead")[:columns]
    figure = make_subplots(1, columns, subplot_titles=titles, horizontal_spacing=0.1)
    line = {"color": OURS, "width": 2}
    figure.add_scatter(x=x, y=y, mode="lines+markers", line=line, row=1, col=1)
    figure.update_xaxes(title_text=markup(length_name), col=1)
    if chosen is not None:
        figure.add_vline(
            x=chosen,
            line={"color": TRUTH, "dash": "dash", "width": 1.5},
            annotation_text=f"chosen: {number(chosen)}",
            row=1,  # pyright: ignore[reportArgumentType] - a number is documented
            col=1,  # pyright: ignore[reportArgumentType]
        )
    if by_step is not None:
        steps = np.asarray(by_step, dtype=np.float64)
        ahead = np.arange(1, steps.size + 1)
        figure.add_scatter(x=ahead, y=steps, mode="lines", line=line, row=1, col=2)
        figure.update_xaxes(title_text="steps ahead", col=2)
    figure.update_yaxes(title_text="held-out error", col=1)
    if np.isfinite(y).all() and (y > 0.0).all() and y.max() > 10.0 * y.min():
        figure.update_yaxes(type="log", dtick="D2", tickformat=".1~g", col=1)
    return styled(figure, height=330, legend=False)


def _draw(figure: go.Figure, curves: Curves, d: int, row: int, col: int, *, legend: bool) -> None:
    """Draw state ``d`` of a trajectory in one panel; the legend is shared by all panels."""
    place = {"row": row, "col": col}

    def line(y: npt.NDArray[Any], name: str, style: dict[str, Any], **more: Any) -> None:
        figure.add_scatter(
            x=curves.times,
            y=y,
            mode="lines",
            line=style,
            name=name,
            legendgroup=name,
            **{"showlegend": legend, "hoverinfo": "skip", **more, **place},
        )

    if curves.lower is not None and curves.upper is not None:
        line(curves.lower[:, d], "band", {"width": 0}, showlegend=False)
        line(curves.upper[:, d], "band", {"width": 0}, fill="tonexty", fillcolor=BAND)
    if curves.members is not None:
        for m, member in enumerate(curves.members):
            thin = {"width": 1, "color": MEMBER}
            line(member[:, d], "members", thin, showlegend=legend and m == 0)
    line(
        curves.centre[:, d],
        "predicted",
        {"width": 2.5, "color": OURS},
        hoverinfo=None,
        hovertemplate="%{y:.4g}<extra>predicted</extra>",
    )
    if curves.truth is not None:
        line(
            curves.truth[:, d],
            "true",
            {"width": 2, "color": TRUTH, "dash": "dot"},
            hoverinfo=None,
            hovertemplate="%{y:.4g}<extra>true</extra>",
        )


def styled(figure: go.Figure, height: int, *, legend: bool = True) -> go.Figure:
    """Give a figure the look that all figures share."""
    clear = "rgba(0, 0, 0, 0)"
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        autosize=True,
        font={"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13},
        paper_bgcolor=clear,
        plot_bgcolor=clear,
        margin={"l": 60, "r": 40, "t": 60, "b": 50},
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "y": 1, "yref": "container", "yanchor": "top"},
        hovermode="closest",
        modebar={  # beside the figure, not above its legend
            "orientation": "v",
            "bgcolor": clear,
            "color": LINES,
            "activecolor": OURS,
        },
    )
    axis = {"gridcolor": LINES, "zeroline": False, "linecolor": LINES, "automargin": True}
    figure.update_xaxes(showline=True, **axis)
    figure.update_yaxes(**axis)
    figure.update_annotations(font_size=13)
    return figure


def _hover(agent: object, names: Sequence[str], row: npt.NDArray[np.float64]) -> str:
    values = [
        f"{markup(name)} {number(value)}" for name, value in zip(names, row, strict=len(row) > 0)
    ]
    return "<br>".join([f"<b>{markup(str(agent))}</b>", *values])


def _whiskers(spread: Sequence[float]) -> dict[str, Any]:
    return {"type": "data", "array": spread, "thickness": 1.5, "color": "rgba(128,134,145,0.9)"}


def _interval(record: Record) -> str:
    text = f" ± {number(record['std'])}" if "std" in record else ""
    if "iqm" in record:
        text += f"<br>interquartile mean {number(record['iqm'])}"
    if "low" in record and "high" in record:
        text += f" [{number(record['low'])}, {number(record['high'])}]"
    return text
