"""Windows beside controls: against a loop over agents, and what the statistics mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twinfold import FittedModel, Simulator
from twinfold.adaptation.adapt import with_transitions
from twinfold.data.windows import split_ends
from twinfold.models.prior import no_walls
from twinfold.uncertainty.controls import CONTROLS
from twinfold.uncertainty.holdout_evaluation import as_known, evaluate_holdout
from twinfold.uncertainty.holdout_statistics import STATISTICS, _correlation, holdout_statistics
from twinfold.uncertainty.matched_agents import match_agents

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [{}, {"discrete": False, "features": "joint", "angles": (1,)}]


def ignore(line: str) -> None:
    pass


def without_walls(model: FittedModel) -> FittedModel:
    far = np.full(len(model.roles.state), np.inf)
    wide = model.ranges._replace(
        action_low=model.ranges.action_low - 1e3, action_high=model.ranges.action_high + 1e3
    )
    return replace(model, normalizer=replace(model.normalizer, low=-far, high=far), ranges=wide)


def newcomers(model: FittedModel, courses: Any, lengths: Any = (11, 6, 1, 9)) -> Any:
    factors = np.random.default_rng(3).normal(size=(len(lengths), 3))
    ids = [f"n{n}" for n in range(len(lengths))]
    return courses.panel(model, lengths, factors, ids=ids, seed=6)


def test_residuals_at_a_wall_are_in_units_of_the_noise_there(
    random_model: Build, courses: Any
) -> None:
    model = without_walls(random_model(posterior=True))
    posterior = model.posterior
    factors = np.random.default_rng(3).normal(size=(2, 3))
    panel = courses.panel(model, [11, 9], factors, ids=["u0", "u3"], seed=6)  # known as they are

    def examined(walls: Any) -> Any:
        prior = posterior.prior._replace(walls=walls, limit_noise=5 * posterior.prior.noise)
        return evaluate_holdout(replace(model, posterior=posterior._replace(prior=prior)), panel)

    walls, plain = no_walls(3), examined(no_walls(3))
    after = model.normalizer.encode_state(plain.ends.next_state)
    walls[1, 0] = np.sort(after[plain.ends.mask][:, 0])[-2]  # two of the steps end there
    there = plain.ends.mask & (after[..., 0] >= walls[1, 0])
    assert there.sum() == 2
    times = np.where(there, 1 / 5, 1.0)[..., None]
    np.testing.assert_allclose(examined(walls).residual, plain.residual * times, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_and_errors_are_those_of_simulators(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    model = without_walls(random_model(posterior=True, **kind))
    panel = newcomers(model, courses)
    data = courses.transitions(model, panel)
    found = evaluate_holdout(model, panel)
    assert [panel.agent_ids[n] for n in found.agent] == ["n0", "n1", "n3"]
    before, ends = split_ends(data)
    partly = with_transitions(model, panel.agent_ids, before)
    for s, n in enumerate(found.agent):
        length = int(ends.mask[s].sum())
        actions = ends.action[s, :length]
        if model.action_levels is not None:
            actions = model.action_levels[actions]
        simulator = Simulator(partly, panel.agent_ids[n])
        rollout = simulator.rollout(ends.state[s], actions, ignore)
        np.testing.assert_allclose(found.middle[s, :length], rollout.centre, rtol=1e-4, atol=1e-4)
        error = rollout.centre - ends.next_state[s, :length]
        for d in map(model.roles.state.index, model.roles.angle):
            error[:, d] = (error[:, d] + np.pi) % (2 * np.pi) - np.pi
        error = error / model.normalizer.state_scale
        rms = np.clip(np.sqrt((error**2).mean(axis=1)), 1e-9, 10.0)
        np.testing.assert_allclose(found.by_horizon["model"][s, :length], rms, rtol=1e-3)
        assert found.rmse[s] == pytest.approx(np.sqrt((rms**2).mean()), rel=1e-3)
        away = (ends.state[s] - ends.next_state[s, :length]) / model.normalizer.state_scale
        if not model.roles.angle:
            rms = np.sqrt(np.square(away).mean(axis=1))
            np.testing.assert_allclose(
                found.by_horizon["persistence"][s, :length], np.clip(rms, 1e-9, 10.0), rtol=1e-6
            )
    assert set(found.controls) == set(CONTROLS)
    assert found.statistics.shape == (3, len(STATISTICS))


def test_agents_of_the_model_are_known_as_they_are_or_anew(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    factors = courses.factors(model)[:3]
    panel = courses.panel(model, [10] * 3, factors, ids=["u2", "x", "u0"], seed=8)
    assert panel.agent_ids == ("u0", "u2", "x")
    before, _ = split_ends(courses.transitions(model, panel))
    kept = as_known(model, panel, match_agents(model, panel), before, refit_from_prefix=False)
    mine = np.asarray(model.members.agents)
    theirs = np.asarray(kept.members.agents)
    assert kept.agent_ids == panel.agent_ids
    np.testing.assert_array_equal(theirs[:, 0], mine[:, 0])
    np.testing.assert_array_equal(theirs[:, 1], mine[:, 2])
    assert kept.posterior.trained.tolist() == [True, True, False]
    assert kept.posterior.evidence.count.tolist() == [12, 12, 5]
    anew = as_known(model, panel, match_agents(model, panel), before, refit_from_prefix=True)
    assert anew.posterior.evidence.count.tolist() == [5, 5, 5]
    assert not anew.posterior.trained.any()
    np.testing.assert_allclose(np.asarray(anew.members.agents)[:, 2], theirs[:, 2], rtol=1e-6)


def test_the_end_that_is_predicted_is_not_looked_at(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    panel = newcomers(model, courses)
    table = panel.to_frame()
    late = table.groupby("unit")["t"].transform("max") == table["t"]
    table.loc[late, "s1"] += 3.0  # the last state of every agent
    found, other = (
        evaluate_holdout(model, data)
        for data in (panel, type(panel).from_frame(table, panel.roles))
    )
    np.testing.assert_array_equal(found.middle, other.middle)
    assert np.all(other.rmse > found.rmse)


def test_the_control_agent_is_always_another_one(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    panel = newcomers(model, courses, [8] * 6)
    found = [evaluate_holdout(model, panel, seed=seed) for seed in range(2)]
    for one in found:
        assert not np.any(np.isclose(one.controls["another agent"], one.rmse, rtol=1e-9))
    assert not np.array_equal(
        found[0].controls["other actions"], found[1].controls["other actions"]
    )
    again = evaluate_holdout(model, panel, seed=1)
    np.testing.assert_array_equal(again.statistics, found[1].statistics)


def test_a_linear_agent_is_what_the_linear_control_finds(random_model: Build, courses: Any) -> None:
    model = without_walls(random_model(posterior=True, discrete=False))
    panel = newcomers(model, courses, [40] * 4)
    table = panel.to_frame()
    rng = np.random.default_rng(0)
    for _, rows in table.groupby("unit"):
        turn = np.eye(3) + 0.1 * rng.normal(size=(3, 3))
        push = rng.normal(size=(3, 2))
        state = rng.normal(size=3)
        for index in rows.index:
            table.loc[index, ["s0", "s1", "s2"]] = state
            state = 0.8 * turn @ state + push @ table.loc[index, ["a0", "a1"]].to_numpy(float)
    found = evaluate_holdout(model, type(panel).from_frame(table, panel.roles))
    assert found.controls["own linear model"].max() < 0.05
    assert np.all(found.rmse > 10 * found.controls["own linear model"])


def test_no_ends_no_rows(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    found = evaluate_holdout(model, newcomers(model, courses, [1, 1]))
    assert found.statistics.shape == (0, len(STATISTICS))
    assert found.scores.shape[0] == 0


# The statistics, one by one


def statistics(residual: Any, **more: Any) -> dict[str, float]:
    """Of one agent, whose errors are 1 and whose controls are 1, if not said otherwise."""
    residual = np.asarray(residual, float)[None]
    mask = np.ones(residual.shape[:2], bool)
    given: dict[str, Any] = {
        "scores": np.ones(mask.shape),
        "rmse": np.ones(1),
        "controls": {name: np.ones(1) for name in CONTROLS},
    } | more
    values = holdout_statistics(
        residual,
        given["scores"],
        mask,
        given["rmse"],
        given["controls"],
        shortest=4,
        counted=given.get("counted"),
    )
    return dict(zip(STATISTICS, values[0], strict=True))


def test_statistics_of_plain_noise_are_near_zero_and_each_fault_raises_its_own() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 3))
    plain = statistics(noise)
    for name in (*STATISTICS[:3], *STATISTICS[4:]):
        assert abs(plain[name]) < 0.1, name
    assert plain["residual trend"] < 0.15
    larger = statistics(5 * noise)["residual scale"]
    assert larger == pytest.approx(np.log(5) + plain["residual scale"])
    memory = np.copy(noise)
    for t in range(1, 400):
        memory[t] = 0.8 * memory[t - 1] + 0.6 * noise[t]
    assert statistics(memory)["residual autocorrelation"] == pytest.approx(0.8, abs=0.1)
    drift = noise + np.linspace(-3, 3, 400)[:, None] * [0, 0, 1]
    assert statistics(drift)["residual trend"] > 0.8
    change = noise * np.where(np.arange(400) < 200, 1, 4)[:, None]
    assert statistics(change)["residual growth"] == pytest.approx(np.log(4), abs=0.1)
    controls = {name: np.ones(1) for name in CONTROLS}
    worse = statistics(noise, controls=controls | {"other actions": np.full(1, 0.5)})
    assert worse["action sensitivity"] == pytest.approx(np.log(2))
    worse = statistics(noise, controls=controls | {"average agent": np.full(1, 0.25)})
    assert worse["personalisation gain"] == pytest.approx(np.log(4))


def test_short_ends_have_no_memory() -> None:
    short = statistics(np.ones((3, 2)))
    assert [name for name, value in short.items() if np.isnan(value)] == [
        "residual autocorrelation",
        "residual trend",
        "residual growth",
    ]


@pytest.mark.parametrize("residual", [np.zeros((6, 2)), np.full((6, 2), np.nan), np.ones((6, 2))])
def test_what_does_not_vary_or_is_no_number_gives_numbers(residual: Any) -> None:
    values = statistics(residual, scores=np.full((1, 6), np.inf))
    assert np.isfinite(list(values.values())).all()


def test_the_correlation_is_pearson_s() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 9))
    assert _correlation(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert _correlation(np.ones(9), y) == 0


def test_statistics_of_observed_values_are_those_of_the_rest_left_out() -> None:
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(1, 300, 2))
    counted = rng.random(residual.shape) < 0.6
    hidden = np.where(counted, residual, 1e3)
    found = statistics(hidden[0], counted=counted)
    assert found["residual scale"] == pytest.approx(
        np.log(np.sqrt(np.mean(residual[counted] ** 2))), abs=1e-9
    )
    for name in STATISTICS[2:5]:
        assert abs(found[name]) < 0.2, name
    once = np.broadcast_to((np.arange(4) == 1)[:, None], (1, 4, 2))
    alone = statistics(hidden[0, :4], counted=once)
    assert np.isnan(alone["residual autocorrelation"])


def test_ends_with_holes_are_judged_by_what_was_observed(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    panel = newcomers(model, courses, (12, 8, 10))
    state = panel.state.copy()
    rng = np.random.default_rng(0)
    state[rng.random(state.shape) < 0.3] = np.nan
    found = evaluate_holdout(model, replace(panel, state=state))
    counted = found.ends.counted
    assert np.isfinite(found.rmse).all()
    assert np.isfinite(found.scores[found.ends.mask]).all()
    np.testing.assert_array_equal(np.isnan(found.error), found.ends.mask[..., None] & ~counted)
    assert np.isfinite(found.residual[counted]).all()
    squares = np.where(counted, found.error**2, 0).sum(axis=(1, 2))
    np.testing.assert_allclose(found.rmse, np.sqrt(squares / counted.sum(axis=(1, 2))), rtol=1e-6)
    for values in found.controls.values():
        assert np.isfinite(values).all()
