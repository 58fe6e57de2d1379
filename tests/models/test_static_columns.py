"""Static columns within a model: new agents begin where they say, and data is added to that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.adaptation.adapt import adapt, forget
from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.adaptation.online import Tracker
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.static_prior import OwnPrior
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout

Build = Callable[..., FittedModel]


def columns_of(model: FittedModel) -> Any:
    """``(N, C)``."""
    assert model.posterior.values is not None
    return model.posterior.values


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
    posterior = world.model.posterior
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
    plain = model.posterior._replace(static=None, values=None)
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
    posterior = model.posterior
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
    posterior = adapted.posterior
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
    half, posterior = Tracker(model, "n1", {"size": size}), model.posterior
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
    own = found.model.posterior.own_prior
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
    one, other = (x.posterior.static for x in (read, model))
    assert one is not None
    assert other is not None
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(columns_of(read), columns_of(model))
    assert read.roles == model.roles
    for a, b in zip(read.posterior.solve(), model.posterior.solve(), strict=True):
        np.testing.assert_array_equal(a, b)
    left = forget(read, ["n1"])
    assert len(columns_of(left)) == len(left.agent_ids)
