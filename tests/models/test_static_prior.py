"""What static columns say of agents: against refitting without each agent, and end to end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.adaptation.adapt import adapt
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.static_prior import STATIC, StaticPrior, fit_static
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit


def drawn(seed: int, n_agents: int = 40, noise: float = 0.3, columns: int = 2) -> Any:
    """Prior means, factors that depend on static columns, a metric, and the columns."""
    rng = np.random.default_rng(seed)
    members, rank = 2, 3
    values = rng.normal(size=(n_agents, columns)) * [7.0, 0.1, 1.0][:columns] + 50
    x = (values - values.mean(axis=0)) / values.std(axis=0)
    factors = 1.5 + np.stack([x @ rng.normal(size=(columns, rank)) for _ in range(members)])
    factors += noise * rng.normal(size=factors.shape)
    root = rng.normal(size=(members, rank, rank))
    return factors.mean(axis=1), factors, root @ np.swapaxes(root, 1, 2), values


def fitted(*given: Any) -> StaticPrior:
    found = fit_static(*given)
    assert found is not None
    return found


def test_what_an_agent_left_out_is_told_by_the_others() -> None:
    mean, factors, metric, values = drawn(0, n_agents=15, noise=0.8)
    found = fitted(mean, factors, metric, values)
    # Once more with every agent left out in turn, for every strength of the ridge, by hand.
    shares = []
    x = (values - values.mean(axis=0)) / values.std(axis=0)
    for ridge in np.logspace(-4, 3, 15):
        errors, whole = np.zeros(2), np.zeros(2)
        for n in range(15):
            kept = np.arange(15) != n
            design = np.column_stack([x[kept], np.ones(14)])
            penalty = 15 * ridge * np.diag([1.0, 1.0, 0.0])
            for m in range(2):
                solved = np.linalg.solve(design.T @ design + penalty, design.T @ factors[m, kept])
                off = factors[m, n] - np.r_[x[n], 1.0] @ solved
                plain = factors[m, n] - factors[m, kept].mean(axis=0)
                errors[m] += off @ metric[m] @ off
                whole[m] += plain @ metric[m] @ plain
        shares.append((errors / whole).mean())
    assert float(found.explained) == pytest.approx(1 - min(shares), rel=1e-9)
    assert 0.2 < float(found.explained) < 0.99


def test_columns_that_determine_agents_leave_nothing_open() -> None:
    mean, factors, metric, values = drawn(1, noise=0.0)
    found = fitted(mean, factors, metric, values)
    assert float(found.explained) > 0.999
    own = found.own(np.stack([np.eye(3)] * 2), values)
    np.testing.assert_allclose(mean[:, None] + own.shift, factors, atol=0.01)
    assert (np.linalg.inv(found.precision).diagonal(axis1=1, axis2=2) < 1e-3).all()


@pytest.mark.parametrize("columns", [1, 9, 60])
def test_columns_of_noise_are_left_aside(columns: int) -> None:
    kept = 0
    for seed in range(50):
        mean, factors, metric, _ = drawn(seed)
        noise = np.random.default_rng((seed, 1)).normal(size=(40, columns))
        found = fit_static(mean, factors, metric, noise)
        kept += found is not None
        if found is not None:
            assert float(found.explained) < 0.3
    assert kept <= 6  # two standard errors: 2 % of the time, the best of some ridges more often


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_neither_units_nor_the_basis_of_factors_matter(seed: int) -> None:
    mean, factors, metric, values = drawn(seed)
    basis = np.random.default_rng(seed).normal(size=(3, 3)) + 3 * np.eye(3)
    turned = np.linalg.inv(basis)
    one = fitted(mean, factors, metric, values)
    other = fitted(
        mean @ basis, factors @ basis, turned @ metric @ turned.T, values * [1e3, -2.0] + 5
    )
    assert float(one.explained) == pytest.approx(float(other.explained), rel=1e-6)
    wide = np.stack([np.eye(3)] * 2)
    shifts = [
        found.own(wide, x).shift for found, x in ((one, values), (other, values * [1e3, -2.0] + 5))
    ]
    np.testing.assert_allclose(shifts[0] @ basis, shifts[1], rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999))
def test_an_agent_without_some_columns_has_the_conditional_prior(seed: int) -> None:
    """Against conditioning the joint normal of columns and factors on what is known."""
    mean, factors, metric, values = drawn(seed, columns=3)
    values[:, 2] += 5 * values[:, 1]  # one tells of another
    found = fitted(mean, factors, metric, values)
    assert found.covariance is not None
    rng = np.random.default_rng(seed)
    asked = np.where(rng.random((12, 3)) < 0.5, np.nan, values[:12])
    asked[0], asked[1] = values[0], np.nan
    wide = np.stack([2 * np.eye(3)] * 2)
    own = found.own(wide, asked)
    for m in range(2):
        weights, rest = found.weights[m], np.linalg.inv(found.precision[m])
        cross = found.covariance @ weights  # of columns and factors
        whole = rest + weights.T @ cross
        for n, there in enumerate(~np.isnan(asked)):
            if not there.any():
                np.testing.assert_array_equal(own.shift[m, n], 0.0)
                np.testing.assert_array_equal(own.precision[m, n], wide[m])
                continue
            x = found.standard(asked[[n]])[0, there]
            slope = np.linalg.solve(found.covariance[np.ix_(there, there)], cross[there]).T
            np.testing.assert_allclose(own.shift[m, n], found.shift[m] + slope @ x, atol=1e-9)
            spread = np.linalg.inv(own.precision[m, n])
            np.testing.assert_allclose(spread, whole - slope @ cross[there], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(own.precision[:, 0], found.precision)
    before = found._replace(covariance=None).own(wide, asked)  # a run of an earlier version
    some = np.isnan(asked).any(axis=1)
    np.testing.assert_array_equal(before.shift[:, some], 0.0)
    np.testing.assert_array_equal(before.precision[:, some], wide[:, None][:, [0] * some.sum()])


def test_columns_with_missing_values_tell_nearly_as_much() -> None:
    """40 % of each of three columns missing, of which two go together: new agents, drawn alike."""
    rng, slope = np.random.default_rng(0), np.array([[1.0, 0.3], [0.5, -1.0], [0.0, 0.8]])
    root = np.array([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [0.0, 0.0, 1.0]])

    def agents(count: int) -> tuple[Any, Any, Any]:
        x = rng.normal(size=(count, 3)) @ root.T
        holes = np.where(rng.random(x.shape) < 0.4, np.nan, x)
        return (x @ slope + 0.3 * rng.normal(size=(count, 2)))[None], x, holes

    factors, x, holes = agents(200)
    mean, metric = factors.mean(axis=1), np.eye(2)[None]
    whole, gaps = fitted(mean, factors, metric, x), fitted(mean, factors, metric, holes)
    np.testing.assert_allclose(gaps.centre, 0.0, atol=0.25)
    np.testing.assert_allclose(
        gaps.weights / gaps.scale[:, None], whole.weights / whole.scale[:, None], atol=0.25
    )
    new, _, seen = agents(2000)
    own = gaps.own(np.linalg.inv(np.cov(factors[0].T))[None], seen)
    off = new - mean[:, None] - own.shift
    within = np.einsum("mnr,mnrs,mns->n", off, own.precision, off) / 2
    partly = np.isnan(seen).any(axis=1) & ~np.isnan(seen).all(axis=1)
    # As sure as it is right, and righter than the average agent.
    assert within[partly].mean() == pytest.approx(1.0, abs=0.3)
    plain = np.square(new - mean[:, None])[:, partly].mean()
    assert np.square(off[:, partly]).mean() < 0.55 * plain
    assert not np.isnan(gaps.explained)
    empty = fitted(mean, factors, metric, np.column_stack([x, np.full(200, np.nan)]))
    assert float(empty.explained) == pytest.approx(float(whole.explained), rel=1e-9)


def test_what_cannot_be_learned_from_is_left_aside() -> None:
    mean, factors, metric, values = drawn(3)
    some = values.copy()
    some[STATIC.fewest - 1 :] = np.nan
    assert fit_static(mean, factors, metric, some) is None
    assert fit_static(mean, factors, metric, np.full((40, 1), 7.3)) is None  # tells none apart
    broken = factors.copy()
    broken[0, 4] = np.nan
    assert float(fitted(mean, broken, metric, values).explained) > 0.5  # by the other member
    assert fit_static(mean, np.full_like(factors, np.nan), metric, values) is None
    both = fitted(mean, factors, metric, np.column_stack([values, np.full(40, 7.3)]))
    alone = fitted(mean, factors, metric, values)
    assert float(both.explained) == pytest.approx(float(alone.explained), rel=1e-9)


# In a fit


def test_a_fit_learns_what_they_say() -> None:
    """Springs whose stiffness one column tells, up to noise, and another one does not."""
    rng = np.random.default_rng(0)
    stiff = rng.uniform(0.2, 1.0, 40)
    states, rows = rng.normal(size=40), []
    for t in range(13):
        action = rng.integers(0, 2, 40)
        for n in range(40):
            rows.append((f"u{n}", t, states[n], action[n] if t < 12 else None, 3 * stiff[n], n % 2))
        states = states - stiff * states + 0.5 * action
    frame = pd.DataFrame(rows, columns=["unit", "t", "x", "a", "tag", "odd"])
    roles = {
        "agent": "unit",
        "time": "t",
        "state": ["x"],
        "action": ["a"],
        "action_type": "discrete",
        "static": ["tag", "odd"],
    }
    config = FitConfig(
        effort="quick",
        linear="none",
        members=2,
        steps=2000,
        rank=2,
        state_net=(16,),
        schedules=(1.0,),
        shrinkages=(0.01,),
    )
    lines: list[str] = []
    model = fit(PanelDataset.from_frame(frame, roles), config, log=lines.append)
    assert (model.info.static_explained or 0) > 0.8
    assert any("the static columns ('tag', 'odd') explain" in line for line in lines)
    assert model.posterior.values is not None
    # Agents of a single row: what they do follows from the column alone.
    lone: Any = frame[frame["unit"].isin(["u0", "u1", "u2"])].copy()
    lone["tag"] = lone["unit"].map({"u0": 0.75, "u1": 2.85, "u2": 3 * stiff[2]})
    lone["unit"] = "new " + lone["unit"]
    lone = lone[(lone["t"] == 0) | (lone["unit"] == "new u2")]
    adapted = adapt(model, PanelDataset.from_frame(lone, roles), warn=lambda line: None)

    def after(agent: str) -> float:
        return float(Simulator(adapted, agent).rollout([1.0], [0]).to_frame()["x"].iloc[-1])

    assert after("new u0") == pytest.approx(0.75, abs=0.1)
    assert after("new u1") == pytest.approx(0.05, abs=0.1)
    lot: Any = dict(zip(frame["unit"].unique(), rng.permutation(40), strict=True))
    noise = PanelDataset.from_frame(frame.assign(tag=pd.Series(frame["unit"]).map(lot)), roles)
    assert (fit(noise, config).info.static_explained or 0) < 0.3


def test_words_are_told_as_words() -> None:
    rng, rows = np.random.default_rng(0), []
    for who in range(20):
        level = 0.0
        for t in range(8):
            dose = 3 * rng.normal()
            rows.append((who, t, level, "north" if who % 2 else "south", dose))
            level = 0.5 * level + 3 * (who % 2) + dose + rng.normal()
    past = pd.DataFrame(rows, columns=["room", "t", "level", "site", "dose"])
    roles = {"agent": "room", "time": "t", "state": "level", "action": "dose", "static": "site"}
    roles["action_type"] = "continuous"
    config = FitConfig(linear="levels", rank=0, behaviour_steps=0)
    model = fit(PanelDataset.from_frame(past, roles), config, reserve=0)
    new = past[past.room < 4].assign(t=lambda df: df.t + 100)
    new["site"] = new["room"].replace({0: "north", 1: "north", 2: "south", 3: "east"})
    new["room"] = new["room"].replace({3: 103})
    lines: list[str] = []
    adapt(model, PanelDataset.from_frame(new, roles), warn=lines.append)
    assert [line for line in lines if "(static)" in line] == [
        "agent 0: 'site' (static) was 'south' and is 'north' now; the new value counts",
        "agent 103: 'site' (static) is not known; an agent begins where its other static columns "
        "put it, without any as the average one",
    ]
