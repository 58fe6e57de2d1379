"""New agents and more data of known ones: what changes, what must not, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt, agent_misfit, forget, with_transitions
from twinfold.adaptation.adaptation_settings import ADAPTATION
from twinfold.adaptation.online import Tracker
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import InvalidDataError, UsageError
from twinfold.metrics import trimmed_mean
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import Posterior, solve
from twinfold.models.rollout import predict_paths, rollout_members
from twinfold.training.fit import fit
from twinfold.uncertainty.conformal import calibrate

Build = Callable[..., FittedModel]
KINDS: list[dict[str, Any]] = [
    {},
    {"discrete": False, "features": "joint", "angles": (1,), "members": 2},
]


def doubt(line: str) -> None:
    raise AssertionError(f"unexpected doubt: {line}")


def ignore(line: str) -> None:
    pass


def known(model: FittedModel) -> Posterior:
    assert model.posterior is not None
    return model.posterior


def fresh(model: FittedModel, number: int, seed: int = 3) -> Any:
    """Factors of agents that the model does not know."""
    return np.random.default_rng(seed).normal(size=(number, model.members.rank))


def newcomers(model: FittedModel, courses: Any, lengths: list[int], **options: Any) -> PanelDataset:
    options = {"ids": [f"new {n}" for n in range(len(lengths))], "seed": 5} | options
    return courses.panel(model, lengths, fresh(model, len(lengths)), **options)


def covariance(model: FittedModel) -> Any:
    return solve(known(model).prior, known(model).evidence)[1]


def predictions(model: FittedModel, agents: Any, horizon: int = 6) -> Any:
    """Every agent from the same start under the same actions."""
    rng, number = np.random.default_rng(0), len(agents)
    actions: Any = rng.integers(0, 4, horizon).astype(np.int32)
    if not model.discrete:
        actions = rng.normal(size=(horizon, len(model.roles.action)))
    index = np.array([model.agent_index(agent) for agent in agents])
    start = np.tile(model.normalizer.state_mean, (number, 1))
    return predict_paths(model, index, start, np.stack([actions] * number))


def assert_same_agents(got: FittedModel, expected: FittedModel, agents: Any) -> None:
    """All that is known of some agents, and what is predicted of them, to the last bit."""
    mine, theirs = ([m.agent_index(a) for a in agents] for m in (got, expected))
    np.testing.assert_array_equal(
        np.asarray(got.members.agents)[:, mine], np.asarray(expected.members.agents)[:, theirs]
    )
    one, other = known(got).take(np.array(mine)), known(expected).take(np.array(theirs))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    if expected.behaviour is not None:
        assert got.behaviour is not None
        np.testing.assert_array_equal(
            np.asarray(got.behaviour.factors)[mine], np.asarray(expected.behaviour.factors)[theirs]
        )
    for a, b in zip(predictions(got, agents), predictions(expected, agents), strict=True):
        np.testing.assert_array_equal(a, b)


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
    a, b = covariance(got)[:, mine], covariance(expected)[:, theirs]
    np.testing.assert_allclose(a, b, rtol=1e-2, atol=1e-3 * np.abs(b).max())
    counts = known(got).evidence.count[mine], known(expected).evidence.count[theirs]
    np.testing.assert_array_equal(counts[0], counts[1])


# What is learned


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_agent_is_found_from_a_few_transitions(
    random_model: Build, courses: Any, kind: dict[str, Any]
) -> None:
    """By the first member, which made the courses; the average agent is far away."""
    model = random_model(posterior=True, **kind)
    true = fresh(model, 2)
    adapted = adapt(model, newcomers(model, courses, [15, 15], noise=0.01), warn=ignore)
    assert adapted.agent_ids == (*model.agent_ids, "new 0", "new 1")
    found = np.asarray(adapted.members.agents)[0, 5:]
    mean = known(model).prior.mean[0]
    assert np.abs(found - true).max() < 0.2 < 0.5 < np.abs(mean - true).max()
    assert known(adapted).trained.tolist() == [True] * 5 + [False] * 2
    entry = adapted.info.adapted[-1]
    assert (entry.agents, entry.new_agents, entry.transitions) == (2, 2, 30)
    assert model.info.adapted == ()  # nobody's record was changed
    assert model.agent_ids == tuple(f"u{n}" for n in range(5))


def test_more_data_of_a_known_agent_joins_what_is_known(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    more = courses.panel(model, [9], courses.factors(model)[[2]], ids=["u2"], seed=8)
    adapted = adapt(model, more, warn=ignore)
    assert adapted.agent_ids == model.agent_ids
    assert known(adapted).evidence.count.tolist() == [12, 12, 21, 12, 12]
    assert known(adapted).trained.all()
    assert adapted.info.adapted[-1].new_agents == 0
    one, other = covariance(adapted)[0, 2], covariance(model)[0, 2]
    assert np.trace(one) < np.trace(other)
    assert_same_agents(adapted, model, ["u0", "u1", "u3", "u4"])
    assert not np.array_equal(adapted.members.agents[:, 2], model.members.agents[:, 2])


def test_agents_without_new_data_are_not_solved_again(random_model: Build, courses: Any) -> None:
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
    random_model: Build, courses: Any, kind: dict[str, Any]
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
    random_model: Build, courses: Any, kind: dict[str, Any]
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


def test_a_permuted_model_adapts_to_the_permuted_result(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    order = np.array([3, 0, 4, 1, 2])
    turned = replace(
        model,
        members=eqx.tree_at(lambda m: m.agents, model.members, model.members.agents[:, order]),
        agent_ids=tuple(model.agent_ids[n] for n in order),
        posterior=known(model).take(order),
    )
    panel = newcomers(model, courses, [6, 3], ids=["u4", "new"])
    one, other = (adapt(m, panel, warn=ignore) for m in (model, turned))
    assert other.agent_ids == ("u3", "u0", "u4", "u1", "u2", "new")
    assert_same_agents(other, one, one.agent_ids)


def test_progress_counts_the_rows(random_model: Build, courses: Any) -> None:
    seen: list[Any] = []
    model = random_model(posterior=True)
    adapt(model, newcomers(model, courses, [9, 4]), warn=ignore, progress=lambda *r: seen.append(r))
    assert seen[-1] == ("adapting", 13, 13)


# Forgetting


@pytest.mark.parametrize("kind", KINDS)
def test_to_forget_a_newcomer_gives_back_the_model_before(
    random_model: Build, courses: Any, kind: dict[str, Any]
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
    scores, statistics, scored = model.calibration
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
    random_model: Build, courses: Any
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


# Doubts


def test_an_agent_without_a_transition_is_the_average_one(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9, 0], fresh(model, 2), ids=["a", "single"], seed=5)
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "no transition" in line]
    assert line.startswith("agent 'single': ")
    index = adapted.agent_index("single")
    prior = known(adapted).prior
    np.testing.assert_array_equal(adapted.members.agents[:, index], prior.mean.astype(np.float32))
    np.testing.assert_allclose(
        covariance(adapted)[:, index], np.linalg.inv(prior.precision), rtol=1e-6, atol=1e-9
    )
    unknown = predictions(adapted, ["single", "a"])[1]
    assert np.median(unknown[0]) > np.median(unknown[1]) > 0


def test_a_known_agent_without_new_transitions_is_not_called_average(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9, 0], fresh(model, 2), ids=["a", "u3"], seed=5)
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    assert not [line for line in heard if "average" in line]
    assert_same_agents(adapted, model, model.agent_ids)


def test_contradictory_rows_are_told_and_widen_the_band(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True, members=1)
    frame = courses.table(model, [20, 20], fresh(model, 2), ids=["plain", "torn"], seed=5)
    torn = frame["unit"] == "torn"
    rng = np.random.default_rng(0)
    noise = rng.choice([-9, 9], (int(torn.sum()), 3)) * model.normalizer.target_scale
    frame.loc[torn, list(model.roles.state)] += noise
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "does not fit" in line]
    assert line.startswith("agent 'torn': ")
    plain, bad = (adapted.agent_index(name) for name in ("plain", "torn"))
    phi = agent_misfit(adapted)[0]
    assert phi[bad] > ADAPTATION.misfit > 10 * phi[plain]
    trace = np.trace(covariance(adapted)[0], axis1=1, axis2=2)
    assert trace[bad] > 10 * trace[plain]


def test_values_far_outside_the_training_data_are_told(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True, discrete=False)
    frame = courses.table(model, [9, 9], fresh(model, 2) * 0.3, ids=["a", "b"], seed=5)
    heard: list[str] = []
    adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    before = [line for line in heard if "'s0'" in line or "'a1'" in line]
    assert not before
    heard.clear()
    frame.loc[frame["unit"] == "b", "s0"] += 1000.0
    frame.loc[12, "a1"] = -500.0
    adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    (line,) = [line for line in heard if "outside the range" in line]
    low, high = model.ranges.state_low[0], model.ranges.state_high[0]
    assert re.match(r"\d+ states and 1 action of 2 agents lie far outside the range of the", line)
    assert re.search(
        rf"the worst, agent 'b', step 8 .*'s0' is 100\d.* has {low:g} to {high:g}", line
    )
    with pytest.raises(InvalidDataError, match="and 1 action of 2 agents lie far outside the"):
        adapt(model, PanelDataset.from_frame(frame, model.roles), strict=True, warn=ignore)


def test_ranges_hold_what_the_model_was_given_and_forgets(
    random_model: Build, courses: Any
) -> None:
    model = random_model(posterior=True, discrete=False)
    frame = courses.table(model, [9, 9], fresh(model, 2), ids=["a", "b"], seed=5)
    frame.loc[frame["unit"] == "b", "s0"] += 1000.0
    panel = PanelDataset.from_frame(frame, model.roles)
    adapted = adapt(model, panel, warn=ignore)
    whole = model.ranges.union(panel.data_ranges())
    for mine, expected in zip(adapted.known_ranges, whole, strict=True):
        np.testing.assert_allclose(mine, expected)
    assert adapted.ranges is model.ranges  # plans keep to what the nets have seen
    one = forget(adapted, ["a"])
    assert one.known_ranges.state_high[0] == whole.state_high[0]
    assert forget(one, ["b"]).added_ranges is None
    for mine, expected in zip(forget(one, ["b"]).known_ranges, model.ranges, strict=True):
        np.testing.assert_array_equal(mine, expected)
    tracker, data = Tracker(model, "b"), panel.select_agents(["b"]).transitions()
    for row in zip(data.state, data.action, data.next_state, strict=True):
        tracker.observe(*row)
    added = tracker.updated().added_ranges
    assert added is not None
    assert adapted.added_ranges is not None
    for mine, expected in zip(added, adapted.added_ranges, strict=True):
        np.testing.assert_allclose(mine[-1], expected[-1])


def test_without_a_listener_doubts_are_python_warnings(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["s1"] += 1000.0
    with pytest.warns(UserWarning, match="far outside the range of the data .*'s1' is"):
        adapt(model, PanelDataset.from_frame(frame, model.roles))


# Refusals


def test_data_counted_twice_is_refused(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    own = courses.panel(model, [12] * 5, courses.factors(model))
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(model, own, warn=ignore)
    panel = newcomers(model, courses, [4, 3])
    adapted = adapt(model, panel, warn=ignore)
    backwards = panel.select_agents(reversed(panel.agent_ids))  # the same in another order
    with pytest.raises(UsageError, match="has had this data already"):
        adapt(adapted, backwards, warn=ignore)
    assert len(adapt(model, backwards, warn=ignore).agent_ids) == 7


@pytest.mark.parametrize(
    ("names", "changes", "words"),
    [
        ({"s1": "S1"}, {"state": ("s0", "S1", "s2")}, r"state columns are 's0', 's1', 's2', those"),
        ({}, {"state": ("s1", "s0", "s2")}, "same order"),
        ({}, {"state": ("s0", "s1")}, r"those of the data 's0', 's1'; .*The columns: 's0', 's1'"),
        (
            {"a0": "dose"},
            {"action": ("dose",)},
            "action columns are 'a0', those of the data 'dose'",
        ),
        ({}, {"angle": ("s1",)}, "angle columns are none, those of the data 's1'"),
        ({}, {"action_type": "continuous"}, "action is continuous, but .* fitted to discrete"),
    ],
)
def test_other_columns_are_named(
    random_model: Build,
    courses: Any,
    names: dict[str, str],
    changes: dict[str, Any],
    words: str,
) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    roles = {**model.roles.model_dump(), **changes}
    with pytest.raises(UsageError, match=words):
        adapt(model, PanelDataset.from_frame(frame.rename(columns=names), roles), warn=ignore)


def test_other_names_of_agent_and_time_are_fine(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    roles = {**model.roles.model_dump(), "agent": "who", "time": "when"}
    one = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)
    frame = frame.rename(columns={"unit": "who", "t": "when"})
    other = adapt(model, PanelDataset.from_frame(frame, roles), warn=ignore)
    assert_same_agents(other, one, one.agent_ids)


@pytest.mark.parametrize(
    ("mine", "factor", "start"),
    [
        (1.0, 2.0, None),
        (1.0, 0.5, None),
        (1.0, 1.5, None),
        (1.0, 1.0, "2026-01-01"),
        (pd.Timedelta("1h"), 1.0, None),
    ],
)
def test_another_time_step_is_refused(
    random_model: Build, courses: Any, mine: Any, factor: float, start: str | None
) -> None:
    model = replace(random_model(posterior=True), time_step=mine)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = frame["t"] * factor
    if start is not None:
        frame["t"] = pd.Timestamp(start) + pd.to_timedelta(frame["t"], unit="h")
    with pytest.raises(UsageError, match=r"time between two rows is .* in the model's data"):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)


@pytest.mark.parametrize(
    ("mine", "factor", "doubtful"),
    [(1.0, 1.0299999999999994, False), (357.0, 349.0, False), (1.0, 1.4, True), (1.0, 0.6, True)],
)
def test_a_time_step_that_is_nearly_the_models_will_do(
    random_model: Build, courses: Any, mine: float, factor: float, doubtful: bool
) -> None:
    model = replace(random_model(posterior=True), time_step=mine)
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = frame["t"] * factor
    heard: list[str] = []
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=heard.append)
    assert adapted.agent_ids[-1] == "a"
    told = [line for line in heard if line.startswith("the time between two rows is")]
    assert len(told) == doubtful
    if doubtful:
        assert f"in the model's data {mine:g}: taken as one step all the same" in told[0]


def test_dates_an_hour_apart_are_an_hour_apart(random_model: Build, courses: Any) -> None:
    model = replace(random_model(posterior=True), time_step=pd.Timedelta("1h"))
    frame = courses.table(model, [9], fresh(model, 1), ids=["a"], seed=5)
    frame["t"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame["t"] * 60, unit="min")
    adapted = adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)
    assert adapted.agent_ids[-1] == "a"


def test_an_unknown_level_is_named_with_its_place(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True)
    frame = courses.table(model, [4, 9], fresh(model, 2), ids=["a", "b"], seed=5)
    frame.loc[(frame["unit"] == "b") & frame["t"].isin([2, 5]), "a0"] = 6
    with pytest.raises(
        InvalidDataError,
        match=r"column 'a0', agent 'b', step 2 .*\(and 1 more rows\): action 6 .*: -1, 0, 5, 7",
    ):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)


@pytest.mark.parametrize("size", [1e8, 1e11])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gross_error_in_a_short_trajectory_leaves_numbers(
    random_model: Build, courses: Any, kind: dict[str, Any], size: float
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
    random_model: Build, courses: Any, kind: dict[str, Any]
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


def test_actions_beyond_reach_are_named(random_model: Build, courses: Any) -> None:
    model = random_model(posterior=True, **KINDS[1])
    frame = courses.table(model, [4], fresh(model, 1), ids=["a"], seed=5)
    frame.loc[1, "a1"] = 1e29
    with pytest.raises(InvalidDataError, match="column 'a1', agent 'a', step 1 of its"):
        adapt(model, PanelDataset.from_frame(frame, model.roles), warn=ignore)


def test_agents_whose_factors_would_be_no_numbers_are_named(
    random_model: Build, courses: Any
) -> None:
    """A net may make too much of what it can be given."""
    model = random_model(posterior=True)
    data = courses.transitions(model, newcomers(model, courses, [4, 4]))
    data.next_state[5] = np.nan
    with pytest.raises(InvalidDataError, match="of the data of agent 'new 1': its values are too"):
        with_transitions(model, ("new 0", "new 1"), data)


def test_levels_are_matched_by_value_not_by_place(random_model: Build, courses: Any) -> None:
    """A table in which not every level occurs counts them otherwise than the model."""
    model = random_model(posterior=True)
    frame = courses.table(model, [30], fresh(model, 1), ids=["a"], seed=5)
    frame = frame[: int(np.argmax(frame["a0"] == -1))]  # up to the first -1
    frame.loc[frame.index[-1], "a0"] = None
    panel = PanelDataset.from_frame(frame, model.roles)
    assert panel.action_levels is not None
    assert -1 not in panel.action_levels.tolist()
    adapted = adapt(model, panel, warn=ignore)
    expected = with_transitions(model, ("a",), courses.transitions(model, panel))
    assert_same_agents(adapted, expected, adapted.agent_ids)


# Ids


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ((1, 2, 3, 4, 5), [2, 9], (1, 2, 3, 4, 5, 9)),
        ((1, 2, 3, 4, 5), ["2", "x"], (1, 2, 3, 4, 5, "x")),
        (("1", "2", "3", "4", "5"), [2, 9], ("1", "2", "3", "4", "5", 9)),
        (("001", "2", "3", "4", "5"), [1, 2], ("001", "2", "3", "4", "5", 1)),
    ],
)
def test_numbers_and_their_text_name_the_same_agent(
    random_model: Build, courses: Any, mine: Any, theirs: Any, expected: Any
) -> None:
    model = random_model(posterior=True, agent_ids=mine)
    adapted = adapt(model, newcomers(model, courses, [4, 3], ids=theirs), warn=ignore)
    assert adapted.agent_ids == expected
    assert [type(x) for x in adapted.agent_ids] == [type(x) for x in expected]
    added = known(adapted).evidence.count - np.resize([12] * 5 + [0], 6)
    assert added[[adapted.agent_index(name) for name in theirs]].tolist() == [4, 3]
    assert added.sum() == 7


# The policy of the data

PUMPS = {
    "agent": "pump",
    "time": "t",
    "state": ["x", "y"],
    "action": ["a"],
    "action_type": "continuous",
}


@pytest.fixture(scope="module")
def pumps() -> pd.DataFrame:
    """Twelve pumps that differ in how they respond."""
    rng, frames = np.random.default_rng(0), []
    for n in range(12):
        own, state, rows = rng.uniform(-0.5, 0.5, 2), rng.normal(size=2), []
        for t in range(20):
            action = rng.uniform(-1, 1) if t < 19 else np.nan
            rows.append((n, t, *state, action))
            state = np.array([0.9 * state[0] + 0.1 * state[1], 0.9 * state[1]]) + own * action
        frames.append(pd.DataFrame(rows, columns=["pump", "t", "x", "y", "a"]))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def pump_model(pumps: pd.DataFrame) -> FittedModel:
    config = FitConfig(
        linear="none",
        features="separable",
        rank=4,
        members=2,
        state_net=(16,),
        action_net=(8,),
        batch_size=32,
        steps=1000,
        schedules=(1.0,),
        shrinkages=(0.01,),
        validation_members=1,
        behaviour_steps=500,
    )
    return fit(PanelDataset.from_frame(pumps, PUMPS), config)


def test_the_policy_takes_a_new_agent_for_what_its_data_says(
    pumps: pd.DataFrame, pump_model: FittedModel
) -> None:
    """An agent with the data of a trained one: the same twin, the same policy."""
    model = pump_model
    copy: Any = pumps[pumps["pump"].isin([3, 7])].replace({"pump": {3: 103, 7: 107}})
    adapted = adapt(model, PanelDataset.from_frame(copy, PUMPS), warn=doubt)
    assert_same_agents(adapted, model, model.agent_ids)
    assert adapted.behaviour is not None
    read = np.asarray(adapted.behaviour.factors)
    agents = np.asarray(adapted.members.agents)
    spread = read[:12].std(axis=0)
    for pair in ((3, 103), (7, 107)):
        old, new = map(adapted.agent_index, pair)
        near = np.abs(read[new] - read[old]) / spread
        others = np.abs(np.delete(read[:12], old, axis=0) - read[old]) / spread
        assert np.linalg.norm(near) < 0.5 * np.linalg.norm(others, axis=1).min()
    # And what the policy reads is one and the same map of the factors of the first member.
    for k in range(4):
        slope, offset = np.polyfit(agents[0, :12, k], read[:12, k], 1)
        np.testing.assert_allclose(slope * agents[0, 12:, k] + offset, read[12:, k], atol=1e-3)


def with_holes(panel: PanelDataset, share: float = 0.3) -> PanelDataset:
    state = panel.state.copy()
    state[np.random.default_rng(0).random(state.shape) < share] = np.nan
    return replace(panel, state=state)


@pytest.mark.parametrize("options", KINDS)
def test_rows_with_holes_count_by_their_observed_columns(
    random_model: Build, courses: Any, options: dict[str, Any]
) -> None:
    model = random_model(posterior=True, **options)
    panel = newcomers(model, courses, [30, 20])
    holes = with_holes(panel)
    found, whole = (adapt(model, x, warn=ignore) for x in (holes, panel))
    n_state = panel.state.shape[1]
    evidence = known(found).evidence
    data = holes.transitions()
    assert data.weight is not None
    expected = np.bincount(data.agent, (data.weight > 0).sum(axis=1))
    np.testing.assert_array_equal(evidence.values(n_state)[-2:], expected)
    np.testing.assert_array_equal(evidence.count, known(whole).evidence.count)
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
    assert known(again).evidence.missing.sum() == 0
