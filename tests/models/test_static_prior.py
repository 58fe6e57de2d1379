"""What static columns say of agents: against refitting without each agent, and end to end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.adaptation.adapt import adapt, forget
from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.adaptation.online import Tracker
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Posterior
from twinfold.models.static_prior import STATIC, OwnPrior, StaticPrior, fit_static
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout

Build = Callable[..., FittedModel]


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


# Within a model


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def columns_of(model: FittedModel) -> Any:
    """``(N, C)``."""
    assert known(model).values is not None
    return known(model).values


@pytest.fixture(scope="module")
def world(random_model: Build, courses: Any) -> Any:
    """A model of 30 agents whose two static columns tell much of their factors."""

    class World:
        model: FittedModel
        columns = ("size", "site")

        def static(self, factors: Any) -> Any:
            spread = 0.05 * np.random.default_rng(9).normal(size=(len(factors), 2))
            return factors[:, :2] + spread

        def panel(self, factors: Any, lengths: Any, ids: Any, **options: Any) -> PanelDataset:
            table = courses.table(self.model, lengths, factors, ids=ids, **options)
            for c, name in enumerate(self.columns):
                own = dict(zip(ids, self.static(factors)[:, c], strict=True))
                table[name] = table["unit"].map(own)
            return PanelDataset.from_frame(table, self.model.roles)

    made = World()
    plain = random_model(posterior=True, n_agents=30, lengths=(12,), members=1)
    made.model = replace(plain, roles=plain.roles.model_copy(update={"static": made.columns}))
    factors = courses.factors(plain)
    panel = made.panel(factors, [12] * 30, plain.agent_ids)
    rows = courses.transitions(plain, panel)
    posterior = trained_posterior(plain.members, plain.normalizer, rows, None, 30, panel.static)
    made.model = replace(made.model, posterior=posterior)
    return made


NEW = ["n0", "n1", "n2"]


def fresh_factors(model: FittedModel) -> Any:
    own = np.asarray(model.members.agents, np.float64)[0]
    return own.mean(axis=0) + own.std(axis=0) * np.random.default_rng(3).normal(size=(3, 3))


def test_data_and_columns_of_trained_agents_speak_together(world: Any) -> None:
    """One regression, of what the data says and of the columns' prior."""
    posterior = known(world.model)
    assert posterior.static is not None
    assert float(posterior.static.explained) > 0.2
    plain = posterior._replace(static=None, values=None)
    own, (mean, covariance) = posterior.own_prior, posterior.solve()
    assert own is not None
    for n in range(0, 30, 7):
        gram, moment = posterior.evidence.gram[0, n], posterior.evidence.moment[0, n]
        expected = np.linalg.solve(
            own.precision[0, n] + gram, moment + own.precision[0, n] @ own.shift[0, n]
        )
        np.testing.assert_allclose(mean[0, n] - posterior.prior.mean[0], expected, rtol=1e-6)
    tighter = covariance[0].trace(axis1=1, axis2=2) < plain.solve()[1][0].trace(axis1=1, axis2=2)
    assert tighter.mean() > 0.9


def test_agents_with_next_to_no_data_do_not_hide_what_columns_say(world: Any, courses: Any) -> None:
    """They sit at the mean of all, whatever their columns; they are not learned from."""
    model = world.model
    plain = known(model)._replace(static=None, values=None)
    factors = np.asarray(model.members.agents, np.float64)[0]
    panel = world.panel(factors, [60] * 25 + [1] * 5, model.agent_ids)
    rows = courses.transitions(model, panel)
    mean = plain.prior.mean[:, None]
    stack = eqx.tree_at(
        lambda m: m.agents,
        model.members,
        jnp.asarray(np.where(np.arange(30)[:, None] < 25, factors, mean), jnp.float32),
    )
    static = panel.static
    assert static is not None
    noise = np.full(3, 1.5)  # one transition says little, sixty say enough
    found = trained_posterior(stack, model.normalizer, rows, noise, 30, static).static
    blank = np.where(np.arange(30)[:, None] < 25, static, np.nan)
    alone = trained_posterior(stack, model.normalizer, rows, noise, 30, blank).static
    assert found is not None
    assert alone is not None
    np.testing.assert_allclose(found.weights, alone.weights)


def test_new_agents_begin_where_their_columns_say(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    posterior = known(model)
    panel = world.panel(factors, [3, 0, 5], NEW)
    assert panel.left_out == ("n1",)
    doubts: list[str] = []
    adapted = adapt(model, panel, warn=doubts.append)
    assert not [line for line in doubts if "no transition" in line]  # its columns say something
    assert posterior.static is not None
    own = posterior.static.own(posterior.prior.precision, world.static(factors)[[1]])
    index = adapted.agent_index("n1")
    got = np.asarray(adapted.members.agents, np.float64)[:, index]
    np.testing.assert_allclose(got, (posterior.prior.mean[:, None] + own.shift)[:, 0], rtol=1e-5)
    off = np.linalg.norm(got[0] - factors[1])
    assert off < 0.8 * np.linalg.norm(posterior.prior.mean[0] - factors[1])


def test_data_is_added_to_what_the_columns_say(world: Any) -> None:
    """Against one regression on all rows with the columns' prior as further rows."""
    model, factors = world.model, fresh_factors(world.model)
    adapted = adapt(model, world.panel(factors, [3, 4, 5], NEW), warn=lambda line: None)
    posterior = known(adapted)
    assert posterior.static is not None
    own = posterior.static.own(posterior.prior.precision, world.static(factors))
    for n, name in enumerate(NEW):
        index = adapted.agent_index(name)
        evidence = posterior.evidence.take(np.array([index]))
        for m in range(adapted.n_members):
            root = np.linalg.cholesky(own.precision[m, n]).T
            gram = evidence.gram[m, 0] + root.T @ root
            moment = evidence.moment[m, 0] + root.T @ (root @ own.shift[m, n])
            expected = posterior.prior.mean[m] + np.linalg.solve(gram, moment)
            got = np.asarray(adapted.members.agents)[m, index]
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_columns_can_come_later_and_order_does_not_matter(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    early, late = (world.panel(factors, [4, 4, 4], NEW, seed=seed) for seed in (5, 6))
    bare = replace(early, static=None, roles=early.roles.model_copy(update={"static": ()}))
    doubts: list[str] = []
    first = adapt(adapt(model, bare, warn=doubts.append), late, warn=lambda line: None)
    assert any("(the model's: 'size', 'site'): agents without them begin" in x for x in doubts)
    second = adapt(adapt(model, late, warn=lambda line: None), bare, warn=lambda line: None)
    np.testing.assert_allclose(first.members.agents, second.members.agents, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(columns_of(first), columns_of(second))
    unknown = np.isnan(columns_of(adapt(model, bare, warn=lambda line: None)))[-3:]
    assert unknown.all()


def test_doubtful_columns_are_named(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panel = world.panel(factors, [4, 4, 4], NEW)
    assert panel.static is not None
    static = panel.static.copy()
    static[1, 0], static[2, 1] = 1e6, np.nan
    doubts: list[str] = []
    adapt(model, replace(panel, static=static), warn=doubts.append)
    told = [line for line in doubts if "size" in line or "site" in line]
    assert len(told) == 2
    assert told[0].startswith("agent 'n1': 'size' is 1e+06, far outside the model's data (")
    assert told[1].startswith("agent 'n2': 'site' (static) is not known;")


def test_columns_too_far_to_compute_with_are_refused(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panel = world.panel(factors, [4, 4, 4], NEW)
    assert panel.static is not None
    static = panel.static.copy()
    static[1, 0] = static[2, 1] = 1e40
    with pytest.raises(InvalidDataError) as caught:
        adapt(model, replace(panel, static=static), warn=lambda line: None)
    first, second = caught.value.problems
    assert first.startswith("column 'size' (static), agent 'n1': 1e+40 is ")
    assert second.startswith("column 'site' (static), agent 'n2': 1e+40 is ")
    with pytest.raises(UsageError, match=r"static column 'size': 1e\+40 is .* too far"):
        Tracker(model, "new", {"size": 1e40})


def test_columns_are_matched_by_name(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panel = world.panel(factors, [4, 4, 4], NEW)
    assert panel.static is not None
    turned = replace(
        panel,
        roles=panel.roles.model_copy(update={"static": ("other", "site", "size")}),
        static=np.column_stack([np.zeros(3), panel.static[:, ::-1]]),
    )
    one, other = (adapt(model, x, warn=lambda line: None) for x in (panel, turned))
    np.testing.assert_array_equal(one.members.agents, other.members.agents)


def test_a_tracker_goes_on_from_the_columns(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    early = world.panel(factors, [0, 4, 4], NEW)
    adapted = adapt(model, early, warn=lambda line: None)
    tracker = Tracker(adapted, "n0")
    np.testing.assert_allclose(
        tracker.factors, np.asarray(adapted.members.agents)[:, adapted.agent_index("n0")], rtol=1e-5
    )
    more = world.panel(factors, [4, 1, 1], NEW)
    rows, levels = more.transitions(), more.action_levels
    assert levels is not None
    for k in np.flatnonzero(rows.agent == more.agent_index(["n0"])[0]):
        tracker.observe(rows.state[k], levels[rows.action[k]], rows.next_state[k])
    whole = adapt(model, more, warn=lambda line: None)
    np.testing.assert_allclose(
        tracker.factors,
        np.asarray(whole.members.agents)[:, whole.agent_index("n0")],
        rtol=1e-4,
        atol=1e-5,
    )
    updated = tracker.updated()
    np.testing.assert_allclose(
        np.asarray(updated.members.agents)[:, updated.agent_index("n0")],
        tracker.factors,
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_tracker_of_a_new_agent_can_be_given_its_columns(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    size, site = world.static(factors)[1]
    adapted = adapt(model, world.panel(factors, [3, 0, 5], NEW), warn=lambda line: None)
    tracker = Tracker(model, "n1", {"size": size, "site": site})
    index = adapted.agent_index("n1")
    np.testing.assert_allclose(
        tracker.factors, np.asarray(adapted.members.agents)[:, index], rtol=1e-5
    )
    updated = tracker.updated()
    np.testing.assert_allclose(columns_of(updated)[-1], [size, site])
    np.testing.assert_allclose(
        np.asarray(updated.members.agents)[:, -1], tracker.factors, rtol=1e-5, atol=1e-6
    )
    half, posterior = Tracker(model, "n1", {"size": size}), known(model)
    assert posterior.static is not None
    own = posterior.static.own(posterior.prior.precision, np.array([[size, np.nan]]))
    np.testing.assert_allclose(half.factors, posterior.prior.mean + own.shift[:, 0])
    np.testing.assert_allclose(Tracker(model, "n1").factors, posterior.prior.mean)
    with pytest.raises(UsageError, match=r"no static column 'sise'; valid: size, site"):
        Tracker(model, "n1", {"sise": 1.0})
    for value in (np.inf, np.nan):
        with pytest.raises(UsageError, match="'size' needs a finite number, not"):
            Tracker(model, "n1", {"size": value})


def test_columns_may_come_one_by_one_and_what_changes_is_told(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panels = [world.panel(factors, [4, 4, 4], NEW, seed=seed) for seed in (5, 6)]
    one, other = (
        replace(panel, static=np.where(np.arange(2) == c, panel.static, np.nan))
        for c, panel in enumerate(panels)
    )
    doubts: list[str] = []
    first = adapt(model, one, warn=doubts.append)
    assert any("'site' (static) is not known" in line for line in doubts)
    doubts.clear()
    both = adapt(first, other, warn=doubts.append)
    assert not [line for line in doubts if "static" in line]
    np.testing.assert_allclose(columns_of(both)[-3:], world.static(factors))
    third = world.panel(factors, [4, 4, 4], NEW, seed=7)
    assert third.static is not None
    moved = replace(third, static=third.static + np.array([[0.01, 0], [0, 0], [0, 0]]))
    last = adapt(both, moved, warn=doubts.append)
    assert [line for line in doubts if "static" in line] == [
        f"agent 'n0': 'size' (static) was {world.static(factors)[0, 0]:g} and is "
        f"{world.static(factors)[0, 0] + 0.01:g} now; the new value counts"
    ]
    assert columns_of(last)[-3, 0] == moved.static[0, 0]


def test_the_same_rows_with_columns_added_are_refused(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panel = world.panel(factors, [4, 4, 4], NEW)
    bare = replace(panel, static=None, roles=panel.roles.model_copy(update={"static": ()}))
    adapted = adapt(model, bare, warn=lambda line: None)
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(adapted, panel, warn=lambda line: None)


def test_ends_are_predicted_from_the_columns_and_what_comes_before(world: Any) -> None:
    model, factors = world.model, fresh_factors(world.model)
    panel = world.panel(factors, [8, 8, 8], NEW)
    found = evaluate_holdout(model, panel)
    values = columns_of(found.model)
    np.testing.assert_allclose(values, world.static(factors))
    own = known(found.model).own_prior
    assert isinstance(own, OwnPrior)
    assert (own.shift != 0).all()
    # Agents that the model knows need not bring their columns again.
    ids = model.agent_ids[:3]
    again = world.panel(np.asarray(model.members.agents)[0, :3], [8, 8, 8], ids)
    bare = replace(again, static=None, roles=again.roles.model_copy(update={"static": ()}))
    values = columns_of(evaluate_holdout(model, bare).model)
    np.testing.assert_array_equal(values, columns_of(model)[:3])
    # And are examined as they are known, whatever the table says of them.
    assert again.static is not None
    odd = evaluate_holdout(model, replace(again, static=again.static + 1.0)).model
    np.testing.assert_array_equal(columns_of(odd), columns_of(model)[:3])


def test_a_run_keeps_them(world: Any, tmp_path: Path) -> None:
    model = adapt(
        world.model,
        world.panel(fresh_factors(world.model), [4, 4, 4], NEW),
        warn=lambda line: None,
    )
    save_run(model, tmp_path / "run")
    read = load_run(tmp_path / "run")
    one, other = (known(x).static for x in (read, model))
    assert one is not None
    assert other is not None
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(columns_of(read), columns_of(model))
    assert read.roles == model.roles
    for a, b in zip(known(read).solve(), known(model).solve(), strict=True):
        np.testing.assert_array_equal(a, b)
    left = forget(read, ["n1"])
    assert len(columns_of(left)) == len(left.agent_ids)


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
    assert known(model).values is not None
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
