"""New agents and more data of known ones: what changes and what must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
import pytest

from twinfold.adaptation.adapt import adapt, forget
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import solve
from twinfold.models.rollout import rollout_members
from twinfold.uncertainty.conformal import calibrate

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False, "features": "joint", "angles": (1,), "members": 2},
]


def ignore(line: str) -> None:
    pass


def assert_close_agents(got: FittedModel, expected: FittedModel, agents: Any) -> None:
    """The same to the rounding of float32 features."""
    for model in (got, expected):
        assert set(agents) <= set(model.agent_ids)
    mine, theirs = (np.array([m.agent_index(a) for a in agents]) for m in (got, expected))
    np.testing.assert_allclose(
        np.asarray(got.members.agents)[:, mine],
        np.asarray(expected.members.agents)[:, theirs],
        rtol=1e-3,
        atol=1e-3,
    )
    a, b = (
        solve(m.posterior.prior, m.posterior.evidence)[1][:, index]
        for m, index in ((got, mine), (expected, theirs))
    )
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3 * np.abs(b).max())
    counts = got.posterior.evidence.count[mine], expected.posterior.evidence.count[theirs]
    np.testing.assert_array_equal(counts[0], counts[1])


# What is learned


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_agent_is_found_from_a_few_transitions(
    random_model: Build, courses: Any, kind: dict[str, Any], fresh: Any, newcomers: Any
) -> None:
    """By the first member, which made the courses; the average agent is far away."""
    model = random_model(posterior=True, **kind)
    true = fresh(model, 2)
    adapted = adapt(model, newcomers(model, courses, [15, 15], noise=0.01), warn=ignore)
    assert adapted.agent_ids == (*model.agent_ids, "new 0", "new 1")
    found = np.asarray(adapted.members.agents)[0, 5:]
    mean = model.posterior.prior.mean[0]
    assert np.abs(found - true).max() < 0.2 < 0.5 < np.abs(mean - true).max()
    assert adapted.posterior.trained.tolist() == [True] * 5 + [False] * 2
    entry = adapted.info.adapted[-1]
    assert (entry.agents, entry.new_agents, entry.transitions) == (2, 2, 30)
    assert model.info.adapted == ()  # nobody's record was changed
    assert model.agent_ids == tuple(f"u{n}" for n in range(5))


def test_more_data_of_a_known_agent_joins_what_is_known(
    random_model: Build, courses: Any, covariance: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True)
    more = courses.panel(model, [9], courses.factors(model)[[2]], ids=["u2"], seed=8)
    adapted = adapt(model, more, warn=ignore)
    assert adapted.agent_ids == model.agent_ids
    assert adapted.posterior.evidence.count.tolist() == [12, 12, 21, 12, 12]
    assert adapted.posterior.trained.all()
    assert adapted.info.adapted[-1].new_agents == 0
    one, other = covariance(adapted)[0, 2], covariance(model)[0, 2]
    assert np.trace(one) < np.trace(other)
    assert_same_agents(adapted, model, ["u0", "u1", "u3", "u4"])
    assert not np.array_equal(adapted.members.agents[:, 2], model.members.agents[:, 2])


def test_agents_without_new_data_are_not_solved_again(
    random_model: Build, courses: Any, newcomers: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True)
    moved = model.members.agents + 0.01  # off the mean of their posterior
    model = replace(model, members=eqx.tree_at(lambda m: m.agents, model.members, moved))
    adapted = adapt(model, newcomers(model, courses, [9, 4], ids=["new", "u2"]), warn=ignore)
    assert_same_agents(adapted, model, ["u0", "u1", "u3", "u4"])


def test_a_fitted_ensemble_takes_in_cart_poles_it_never_saw(small_cart_pole: FittedModel) -> None:
    from twinfold.benchmark.collect import collect
    from twinfold.tasks.registry import get_task

    panel = collect(get_task("cart_pole"), "random", 75, 3)
    panel = panel.select_agents(panel.agent_ids[60:])  # none of the 60 of the fit
    data = panel.transitions()
    model = adapt(small_cart_pole, panel, warn=ignore)
    index = np.array([model.agent_index(n) for n in panel.agent_ids])[data.agent]
    question = data.state, data.action[:, None]

    def error(agents: Any, factors: Any = None) -> float:
        paths = rollout_members(model.members, model.normalizer, agents, *question)
        away = (trimmed_mean(paths)[:, 0] - data.next_state) / model.normalizer.target_scale
        return float(np.median(np.abs(away)))

    own = error(index)
    assert own < 0.5 * error(np.roll(index, len(index) // 2))  # ids and factors belong together
    assert own < 0.5 * error(np.zeros_like(index))


# The order and the parts of the data


@pytest.mark.parametrize("kind", KINDS)
def test_two_parts_are_as_good_as_one(
    random_model: Build, courses: Any, kind: dict[str, Any], fresh: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True, **kind)
    frame = courses.table(
        model, [9, 4, 2], fresh(model, 3), ids=["a", "u1", "c"], seed=5, noise=0.02
    )
    time, action = model.roles.time, list(model.roles.action)
    one = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)
    first = frame[frame[time] <= 3].copy()  # the row between is the end and the start of a part
    first.loc[first[time] == 3, action] = None
    second = frame[(frame[time] >= 3) & (frame["unit"] != "c")]
    halves = [PanelDataset.from_frame(part, model.roles) for part in (first, second)]
    forward = adapt(adapt(model, halves[0], warn=ignore), halves[1], warn=ignore)
    backward = adapt(adapt(model, halves[1], warn=ignore), halves[0], warn=ignore)
    for other in (forward, backward):
        assert_close_agents(other, one, ["a", "u1", "c"])
        assert_same_agents(other, one, ["u0", "u2", "u3", "u4"])
    assert len(forward.info.adapted) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_rows_does_not_matter_by_a_bit(
    random_model: Build, courses: Any, kind: dict[str, Any], fresh: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True, **kind)
    frame = courses.table(model, [9, 4, 2], fresh(model, 3), ids=["c", "a", "u1"], seed=5)
    turned = frame.sample(frac=1, random_state=0)
    one, other = (
        adapt(model, PanelDataset.from_frame(rows, model.roles), warn=ignore)
        for rows in (frame, turned)
    )
    assert other.agent_ids == one.agent_ids == (*model.agent_ids, "a", "c")
    assert_same_agents(other, one, one.agent_ids)


def test_a_permuted_model_adapts_to_the_permuted_result(
    random_model: Build, courses: Any, newcomers: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True)
    order = np.array([3, 0, 4, 1, 2])
    turned = replace(
        model,
        members=eqx.tree_at(lambda m: m.agents, model.members, model.members.agents[:, order]),
        agent_ids=tuple(model.agent_ids[n] for n in order),
        posterior=model.posterior.take(order),
    )
    panel = newcomers(model, courses, [6, 3], ids=["u4", "new"])
    one, other = (adapt(m, panel, warn=ignore) for m in (model, turned))
    assert other.agent_ids == ("u3", "u0", "u4", "u1", "u2", "new")
    assert_same_agents(other, one, one.agent_ids)


def test_progress_counts_the_rows(random_model: Build, courses: Any, newcomers: Any) -> None:
    seen: list[Any] = []
    model = random_model(posterior=True)
    adapt(model, newcomers(model, courses, [9, 4]), warn=ignore, progress=lambda *r: seen.append(r))
    assert seen[-1] == ("adapting", 13, 13)


# Forgetting


@pytest.mark.parametrize("kind", KINDS)
def test_to_forget_a_newcomer_gives_back_the_model_before(
    random_model: Build, courses: Any, kind: dict[str, Any], newcomers: Any, assert_same_agents: Any
) -> None:
    model = random_model(posterior=True, **kind)
    adapted = adapt(model, newcomers(model, courses, [9, 4]), warn=ignore)
    assert_same_agents(adapted, model, model.agent_ids)
    left = forget(adapted, ["new 1", "new 0"])
    assert left.agent_ids == model.agent_ids
    assert_same_agents(left, model, model.agent_ids)
    pairs = zip((*left.sample, *left.sums[:3]), (*model.sample, *model.sums[:3]), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)
    some = forget(adapted, ["new 0", "u2"])
    assert some.agent_ids == ("u0", "u1", "u3", "u4", "new 1")
    assert_same_agents(some, adapted, some.agent_ids)


def test_scores_of_a_forgotten_reserved_agent_are_gone(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    factors = np.random.default_rng(0).normal(size=(4, 3))
    panel = courses.panel(model, [8, 1, 6, 7], factors, ids=["a", "b", "c", "d"], seed=7)
    model = calibrate(model, panel)
    assert model.calibration is not None
    scores, statistics, scored, _ = model.calibration
    # One transition leaves nothing to predict from: three of the four have a score.
    assert [model.agent_ids[n] for n in scored] == ["a", "c", "d"]
    left = forget(model, ["c", "u1"])
    assert left.calibration is not None
    assert [left.agent_ids[n] for n in left.calibration.agent] == ["a", "d"]
    np.testing.assert_array_equal(left.calibration.scores, scores[[0, 2]])
    np.testing.assert_array_equal(left.calibration.statistics, statistics[[0, 2]])
    assert forget(model, ["a", "c", "d"]).calibration is None


def test_states_of_a_forgotten_agent_are_gone(random_model: Build) -> None:
    model = random_model(posterior=True)
    left = forget(model, ["u1", "u3", "u1"])
    for n, name in enumerate(left.agent_ids):
        rows = model.sample.state[model.sample.agent == model.agent_index(name)]
        np.testing.assert_array_equal(left.sample.state[left.sample.agent == n], rows)
    assert len(left.sample.state) == 36


def test_states_do_not_pass_to_other_agents_when_those_they_are_of_are_gone(
    random_model: Build, courses: Any, newcomers: Any
) -> None:
    model = random_model(posterior=True)
    adapted = adapt(model, newcomers(model, courses, [9, 4]), warn=ignore)
    left = forget(adapted, model.agent_ids)
    assert left.agent_ids == ("new 0", "new 1")
    assert np.all(left.sample.agent == -1)  # nobody knows whose they were
    assert len(forget(left, ["new 0"]).sample.state) == len(left.sample.state) > 0


def test_what_cannot_be_forgotten_is_named(random_model: Build) -> None:
    model = random_model(posterior=True)
    with pytest.raises(UsageError, match=r"unknown agent 'u9'.* 'u0', 'u1'"):
        forget(model, ["u1", "u9"])
    with pytest.raises(UsageError, match="no agent would be left"):
        forget(model, model.agent_ids)


# Values beyond reach


@pytest.mark.parametrize("size", [1e8, 1e11])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gross_error_in_a_short_trajectory_leaves_numbers(
    random_model: Build,
    courses: Any,
    kind: dict[str, Any],
    size: float,
    fresh: Any,
    covariance: Any,
    predictions: Any,
    assert_same_agents: Any,
) -> None:
    model = random_model(posterior=True, **kind)
    frame = courses.table(model, [4, 4], fresh(model, 2), ids=["a", "b"], seed=5)
    heard: list[str] = []
    plain = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    frame.loc[(frame["unit"] == "a") & (frame["t"] == 2), "s0"] = size
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    assert any("agent 'a', step 2" in line and f"'s0' is {size:g}" in line for line in heard)
    assert_same_agents(adapted, plain, [*model.agent_ids, "b"])
    assert np.isfinite(np.asarray(adapted.members.agents)).all()
    spread = np.linalg.eigvalsh(covariance(adapted))
    assert (spread >= -1e-6 * spread[..., -1:]).all()
    assert all(np.isfinite(values).all() for values in predictions(adapted, ["a"]))


@pytest.mark.parametrize("kind", KINDS)
def test_every_agent_with_values_beyond_reach_is_named(
    random_model: Build, courses: Any, kind: dict[str, Any], fresh: Any
) -> None:
    model = random_model(posterior=True, **kind)
    frame = courses.table(model, [4, 5, 6], fresh(model, 3), ids=["a", "b", "c"], seed=5)
    frame.loc[(frame["unit"] == "c") & frame["t"].isin([2, 5]), "s0"] = 1e29
    frame.loc[(frame["unit"] == "a") & (frame["t"] == 4), "s2"] = -1e28
    with pytest.raises(InvalidDataError) as caught:
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)
    first, second = caught.value.problems
    assert first.startswith("column 's0', agent 'c', step 2 of its trajectory and 1 more: 1e+29 is")
    assert second.startswith("column 's2', agent 'a', step 4 of its trajectory: -1e+28 is")
    assert second.endswith("too far to compute with; correct it, or leave the row out")


def test_actions_beyond_reach_are_named(random_model: Build, courses: Any, fresh: Any) -> None:
    model = random_model(posterior=True, **KINDS[1])
    frame = courses.table(model, [4], fresh(model, 1), ids=["a"], seed=5)
    frame.loc[1, "a1"] = 1e29
    with pytest.raises(InvalidDataError, match="column 'a1', agent 'a', step 1 of its"):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)


def with_holes(panel: PanelDataset, share: float = 0.3) -> PanelDataset:
    state = panel.state.copy()
    state[np.random.default_rng(0).random(state.shape) < share] = np.nan
    return replace(panel, state=state)


@pytest.mark.parametrize("options", KINDS)
def test_rows_with_holes_count_by_their_observed_columns(
    random_model: Build, courses: Any, options: dict[str, Any], newcomers: Any, covariance: Any
) -> None:
    model = random_model(posterior=True, **options)
    panel = newcomers(model, courses, [30, 20])
    holes = with_holes(panel)
    found, whole = (adapt(model, x, warn=ignore) for x in (holes, panel))
    n_state = panel.state.shape[1]
    evidence = found.posterior.evidence
    data = holes.transitions()
    assert data.weight is not None
    expected = np.bincount(data.agent, (data.weight > 0).sum(axis=1))
    np.testing.assert_array_equal(evidence.values(n_state)[-2:], expected)
    np.testing.assert_array_equal(evidence.count, whole.posterior.evidence.count)
    assert np.isfinite(np.asarray(found.members.agents)).all()
    # More is known of the agents than before, and less than with all values there.
    size = [np.trace(covariance(x)[0, -1]) for x in (model, found, whole)][1:]
    assert size[1] <= size[0] * (1 + 1e-9)
    assert found.sums.by_column
    np.testing.assert_array_equal(found.recent[:-2], model.recent)
    assert np.isfinite(found.recent[-2:, :n_state]).all()
    # Agents of before are not touched, to the last bit; and what is forgotten is gone.
    before, after = (
        np.asarray(x.members.agents)[:, : len(model.agent_ids)] for x in (model, found)
    )
    np.testing.assert_array_equal(before, after)
    again = forget(found, panel.agent_ids)
    assert again.agent_ids == model.agent_ids
    assert again.posterior.evidence.missing.sum() == 0
