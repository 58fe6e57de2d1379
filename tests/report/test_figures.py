from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.report import figures
from twinfold.report.curves import Curves

# Plotly's stubs know no attribute of a figure.
factor_map: Any = figures.factor_map
prediction_panels: Any = figures.prediction_panels
returns_figure: Any = figures.returns_figure
rollout_figure: Any = figures.rollout_figure
validation_curve: Any = figures.validation_curve

RNG = np.random.default_rng(0)
MARKUP = "<img src=x onerror=alert(1)>"


def curves(n_states: int = 2, n_members: int = 3) -> Curves:
    centre = RNG.normal(size=(6, n_states))
    members = centre + RNG.normal(size=(n_members, 6, n_states))
    return Curves(np.arange(6), centre, centre - 1.0, centre + 1.0, members, centre + 0.1)


def drawn(figure: Any) -> list[Any]:
    return [np.asarray(trace.y, dtype=float) for trace in figure.data]


def holds(figure: Any, values: Any) -> bool:
    return any(y.shape == values.shape and np.array_equal(y, values) for y in drawn(figure))


def test_a_rollout_draws_every_array_of_every_state() -> None:
    c = curves()
    figure = rollout_figure(c, ("x", "y"))
    for array in (
        c.centre,
        c.lower,
        c.upper,
        c.truth,
        *(c.members if c.members is not None else ()),
    ):
        assert array is not None
        for d in range(2):
            assert holds(figure, array[:, d])
    assert len(figure.data) == 2 * (1 + 2 + 1 + 3)


def test_a_rollout_without_band_members_and_truth_is_its_centre() -> None:
    c = Curves(np.arange(6), RNG.normal(size=(6, 5)))
    assert len(rollout_figure(c).data) == 5


def test_the_legend_names_each_kind_of_line_once() -> None:
    figure = prediction_panels({"a": curves(), "b": curves()}, ("x", "y"))
    named = sorted(t.name for t in figure.data if t.showlegend is not False)
    assert named == ["band", "members", "predicted", "true"]


def test_panels_are_agents_by_states() -> None:
    agents = {"a": curves(3), 7: curves(3), MARKUP: curves(3)}
    figure = prediction_panels(agents, ("x", "y", "z"))
    assert len({trace.yaxis for trace in figure.data}) == 9
    for c in agents.values():
        assert holds(figure, c.centre[:, 2])
    assert MARKUP not in figure.to_json()


def test_dates_stay_dates() -> None:
    times = np.arange("2026-01-01", "2026-01-07", dtype="datetime64[D]")
    figure = rollout_figure(Curves(times, np.zeros((6, 1))))
    assert "2026-01-03" in figure.to_json()


def test_the_map_colours_every_agent_by_every_covariate() -> None:
    factors, covariates = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 2))
    ids = [f"agent-{n}" for n in range(50)]
    figure = factor_map(ids, factors, covariates, ("force", "length"), highlight=["agent-7"])
    clouds: list[Any] = [trace for trace in figure.data if trace.mode == "markers"]
    for c, cloud in enumerate(clouds):
        np.testing.assert_array_equal(cloud.marker.color, covariates[:, c])
        assert "agent-7" in cloud.text[7]
    rings: list[Any] = [trace for trace in figure.data if trace.mode == "markers+text"]
    assert [ring.x[0] for ring in rings] == [clouds[0].x[7]] * 2


def test_the_map_works_without_covariates_and_escapes_ids() -> None:
    figure = factor_map([MARKUP, "b"], RNG.normal(size=(2, 1)))
    assert "&lt;img" in figure.data[0].text[0]
    assert MARKUP not in figure.to_json()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ids": ["a"]}, "do not fit 1 agents"),
        ({"covariates": np.zeros((3, 1))}, "covariates of shape"),
        ({"names": ("one", "two")}, "2 names for 1 covariates"),
        ({"highlight": ["z"]}, "'z'"),
    ],
)
def test_a_map_of_things_that_do_not_fit_is_refused(change, named) -> None:
    arguments = {"ids": ["a", "b"], "factors": np.eye(2), "covariates": np.eye(2)[:, :1]}
    with pytest.raises(UsageError, match=named):
        factor_map(**(arguments | change))


def test_returns_stand_beside_the_papers_where_it_has_them() -> None:
    records = [{"agent": 0, "mean": 199.0, "std": 2.0}, {"agent": 1, "mean": 150.0, "std": 3.0}]
    paper = {0: {"return_mean": 197.7, "return_std": 7.82}}
    figure = returns_figure(records, paper, best={0: 200.0, 1: 200.0})
    ours, theirs, best = drawn(figure)
    np.testing.assert_array_equal(ours, [199.0, 150.0])
    np.testing.assert_array_equal(theirs, [197.7, np.nan])
    np.testing.assert_array_equal(best, [200.0, 200.0])
    bars: list[Any] = list(figure.data[:2])
    np.testing.assert_array_equal(bars[0].error_y.array, [2.0, 3.0])
    np.testing.assert_array_equal(bars[1].error_y.array, [7.82, np.nan])
    assert len(returns_figure(records).data) == 1


def test_validation_marks_the_chosen_length() -> None:
    errors, by_step = np.array([1.0, 0.1, 0.01]), np.array([0.1, 0.2])
    figure = validation_curve([1, 2, 4], errors, chosen=2, by_step=by_step)
    assert holds(figure, errors)
    assert holds(figure, by_step)
    assert figure.layout.shapes[0].x0 == 2
    assert figure.layout.yaxis.type == "log"
    assert validation_curve([1, 2], [0.0, 1.0]).layout.yaxis.type is None
    with pytest.raises(UsageError, match="do not fit"):
        validation_curve([1, 2], errors)


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(UsageError, match="no agent"):
        prediction_panels({})
