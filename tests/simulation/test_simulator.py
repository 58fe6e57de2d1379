"""One agent's simulator against the model written out in NumPy, and the laws of a rollout."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, Simulator, UsageError
from twinfold.models.posterior import POSTERIOR, factor_draws

Z90 = 1.6448536269514722
START = {"x": 0.02, "x_dot": -0.01, "theta": 0.03, "theta_dot": 0.04}
TANK = [0.7, 23.5]


def doubt(line: str) -> None:
    raise AssertionError(f"unexpected doubt: {line}")


def _first_row(weight: Any) -> Any:
    return weight[:, :1]


def only(model: FittedModel, *members: int) -> FittedModel:
    index = np.array(members)
    stack = jax.tree.map(lambda leaf: leaf[index], model.members)
    known = model.posterior
    assert known is not None
    prior, (gram, moment, energy, *counts), trained = known[:3]
    evidence = type(known.evidence)(gram[index], moment[index], energy[index], *counts)
    of_members = type(prior)(*(x[index] for x in prior[:-1]), walls=prior.walls)
    own = type(known)(of_members, evidence, trained)
    return dataclasses.replace(model, members=stack, posterior=own)


def band_by_hand(
    reference: Any, model: FittedModel, agent: int, state: Any, actions: Any
) -> tuple[Any, Any]:
    assert model.posterior is not None
    draws = factor_draws(model.posterior, np.array([agent]), POSTERIOR.draws)[:, 0]
    paths = reference.member_paths(model, agent, state, actions)
    unknown = reference.unknown(model, agent, state, actions, draws)
    return reference.band(model, paths, Z90, unknown)


def assert_near(got: Any, expected: Any, model: FittedModel, tolerance: float = 2e-4) -> None:
    """Equal to a share of each state's standard deviation: float32 against float64."""
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_array_less(
        np.abs(np.asarray(got) - expected) / model.normalizer.state_scale, tolerance
    )


def test_discrete_rollout_is_the_formula(small_cart_pole: FittedModel, reference: Any) -> None:
    actions = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0]
    rollout = Simulator(small_cart_pole, 7).rollout(START, actions, doubt)
    paths = reference.member_paths(small_cart_pole, 7, list(START.values()), actions)
    assert_near(rollout.members, paths, small_cart_pole)
    assert_near(rollout.centre, reference.robust_centre(paths), small_cart_pole)
    lower, upper = band_by_hand(reference, small_cart_pole, 7, list(START.values()), actions)
    assert_near(rollout.lower, lower, small_cart_pole, 1e-3)
    assert_near(rollout.upper, upper, small_cart_pole, 1e-3)
    assert rollout.agent == 7
    assert rollout.calibrated
    assert not rollout.simultaneous  # no agents were reserved
    assert rollout.coverage == 0.9
    assert rollout.steps.tolist() == list(range(1, 11))
    assert rollout.start.tolist() == list(START.values())
    assert rollout.actions.tolist() == actions


def test_continuous_rollout_is_the_formula(small_continuous: FittedModel, reference: Any) -> None:
    actions = np.random.default_rng(3).uniform([0, -2], [1.2, 4], (30, 2))  # beyond what was held
    simulator = Simulator(small_continuous, "T-005/é")
    rollout = simulator.rollout(TANK, actions, doubt)
    paths = reference.member_paths(small_continuous, simulator.index, TANK, actions)
    assert_near(rollout.members, paths, small_continuous)
    lower, upper = band_by_hand(reference, small_continuous, simulator.index, TANK, actions)
    assert_near(rollout.lower, lower, small_continuous, 1e-3)
    assert_near(rollout.upper, upper, small_continuous, 1e-3)
    assert small_continuous.band is not None
    assert len(small_continuous.band) < 30


def test_the_band_keeps_within_the_walls_and_around_the_centre(
    small_continuous: FittedModel,
) -> None:
    actions = np.column_stack([np.zeros(20), np.full(20, 1.0)])  # the tank runs empty
    rollout = Simulator(small_continuous, "T-000/é").rollout(TANK, actions, doubt)
    assert np.all(rollout.lower <= rollout.centre)
    assert np.all(rollout.centre <= rollout.upper)
    assert rollout.lower[:, 0].min() == pytest.approx(0, abs=1e-12)
    assert np.all(rollout.upper[:, 0] > 0)


def test_rollouts_compose_for_a_single_member(small_cart_pole: FittedModel) -> None:
    simulator = Simulator(only(small_cart_pole, 1), 3)
    actions = [0, 1, 1, 0, 1, 0, 0, 1]
    whole = simulator.rollout(START, actions).centre
    first = simulator.rollout(START, actions[:3]).centre
    second = simulator.rollout(first[-1], actions[3:]).centre
    assert_near(np.concatenate([first, second]), whole, small_cart_pole)


def test_members_keep_to_their_own_predictions(small_cart_pole: FittedModel) -> None:
    actions = [0, 1, 1, 0, 1, 0]
    together = Simulator(small_cart_pole, 3).rollout(START, actions)
    for m in range(small_cart_pole.n_members):
        alone = Simulator(only(small_cart_pole, m), 3).rollout(START, actions)
        assert_near(alone.centre, together.members[m], small_cart_pole, 1e-5)
        assert np.all(alone.spread > 0)  # by what the member does not know of the agent


def test_many_questions_are_each_answered_as_if_alone(small_continuous: FittedModel) -> None:
    rng = np.random.default_rng(0)
    starts = rng.uniform([0, 20], [2, 30], (5, 2))
    actions = rng.uniform([0, -2], [1.2, 4], (5, 9, 2))
    simulator = Simulator(small_continuous, "T-003/é")
    batch = simulator.rollout(starts, actions)
    assert batch.members.shape == (2, 5, 9, 2)
    for q in range(5):
        one = simulator.rollout(starts[q], actions[q])
        for name in ("centre", "lower", "upper", "spread", "start", "actions"):
            assert_near(getattr(batch, name)[q], getattr(one, name), small_continuous, 1e-4)
    shared = simulator.rollout(starts[2], actions)
    assert_near(shared.centre[2], batch.centre[2], small_continuous, 1e-4)
    other = simulator.rollout(starts, actions[4])
    assert_near(other.centre[4], batch.centre[4], small_continuous, 1e-4)


def test_agents_differ_and_text_names_an_integer_agent(small_cart_pole: FittedModel) -> None:
    typed = Simulator(small_cart_pole, "11")
    assert typed.agent_id == 11
    a, b = (Simulator(small_cart_pole, n).rollout(START, [1] * 5).centre for n in (11, 12))
    assert np.array_equal(typed.rollout(START, [1] * 5).centre, a)
    assert not np.allclose(a, b)


def test_a_state_may_be_a_mapping_a_row_or_columns(small_cart_pole: FittedModel) -> None:
    simulator = Simulator(small_cart_pole, 0)
    expected = simulator.rollout(list(START.values()), [1, 0]).centre
    backwards = dict(reversed(START.items()))
    assert np.array_equal(simulator.rollout(backwards, [1, 0]).centre, expected)
    assert np.array_equal(simulator.rollout(pd.Series(backwards), [1, 0]).centre, expected)
    table = pd.DataFrame([backwards] * 2)
    batch = simulator.rollout(table, [1, 0])
    assert batch.centre.shape == (2, 2, 4)
    assert_near(batch.centre[1], expected, small_cart_pole, 1e-5)


def test_levels_are_the_users(small_cart_pole: FittedModel) -> None:
    renamed = dataclasses.replace(small_cart_pole, action_levels=np.array([-5, 7]))
    ours = Simulator(renamed, 0).rollout(START, [7, -5, 7])
    theirs = Simulator(small_cart_pole, 0).rollout(START, [1, 0, 1])
    assert np.array_equal(ours.centre, theirs.centre)
    assert ours.actions.tolist() == [7, -5, 7]
    with pytest.raises(UsageError, match=r"unknown action 1 in step 1; .*'action': -5, 7$"):
        Simulator(renamed, 0).rollout(START, [7, 1, 7])


@pytest.mark.parametrize(
    ("state", "actions", "words"),
    [
        ({"x": 0.0}, [1], "lacks 'x_dot', 'theta', 'theta_dot'"),
        ({**START, "tehta": 1.0}, [1], "unknown state column 'tehta'. Did you mean 'theta'?"),
        ([0, 0, 0], [1], r"shape \(3,\): it must be \(4,\) or \(Q, 4\)"),
        ([np.nan] * 4, [1], "state 'x' is nan"),
        ([0, 0, np.inf, np.nan], [1], "state 'theta' is inf"),
        ([0, 0, "up", 0], [1], "must be numbers"),
        (START, [], "shape \\(0,\\)"),
        (START, [[[1]]], r"must be \(H,\) or \(Q, H\)"),
        (START, [0, 2], "unknown action 2 in step 1; the levels of 'action': 0, 1"),
        (START, [0, 0.5], "unknown action 0.5"),
        (START, [0, np.nan], "action of step 1 is nan"),
        (np.zeros((2, 4)), np.zeros((3, 5)), "2 states, but 3 action sequences"),
    ],
)
def test_what_is_wrong_is_named(
    small_cart_pole: FittedModel, state: Any, actions: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        Simulator(small_cart_pole, 0).rollout(state, actions)


def test_an_unknown_agent_is_named_with_the_nearest(small_continuous: FittedModel) -> None:
    with pytest.raises(UsageError, match=r"unknown agent 'T-003'\. Did you mean 'T-003/é'\?"):
        Simulator(small_continuous, "T-003")


def test_actions_out_of_range_are_answered_and_told_once(small_continuous: FittedModel) -> None:
    simulator, heard = Simulator(small_continuous, "T-000/é"), []
    low, high = small_continuous.ranges.action_low, small_continuous.ranges.action_high
    edge = high + 0.049 * (high - low)
    assert np.isfinite(simulator.rollout(TANK, [edge], doubt, strict=True).centre).all()
    far = [[[0, 0], [0, 9]], [[-1, 0], [0, 40]], [[0, 0], [0, 0]]]
    rollout = simulator.rollout([TANK, [0.7, 300.0], TANK], far, heard.append)
    assert np.isfinite(rollout.centre).all()
    told = [line for line in heard if "outside the range" in line]
    assert told == [
        "agent 'T-000/é': 1 first state and 3 actions lie outside the range of the data "
        f"(the worst, question 1: 'Temp (°C)' is 300, the data has "
        f"{small_continuous.ranges.state_low[1]:g} to {small_continuous.ranges.state_high[1]:g}); "
        "such an answer is a guess, and its support says so"
    ]
    assert (rollout.support.score[1] < 0.5).all()
    assert (rollout.support.score[2] >= rollout.support.score[1]).all()


def test_strict_refuses_what_is_out_of_range(small_continuous: FittedModel) -> None:
    simulator = Simulator(small_continuous, "T-000/é")
    with pytest.raises(UsageError, match=r"'heat;kW' of step 1 is out of range: 9; the training"):
        simulator.rollout(TANK, [[0, 0], [0, 9]], strict=True)
    with pytest.raises(UsageError, match="'in flow' of step 0 of question 1 is out of range"):
        simulator.rollout(TANK, [[[0, 0]], [[-1, 0]]], strict=True)
    with pytest.raises(
        UsageError, match=r"the first state 'Temp \(°C\)' is out of range: 300; the"
    ):
        simulator.rollout([0.7, 300.0], [[0, 0]], strict=True)
    with pytest.raises(UsageError, match=r"'heat;kW' of step 0 is out of range: 9; the training"):
        simulator.sample(TANK, [[0, 9]], strict=True)
    heard: list[str] = []
    assert np.isfinite(simulator.sample(TANK, [[0, 9]], 5, warn=heard.append)).all()
    assert len(heard) == 1
    with pytest.raises(UsageError, match=r"must be \(H, 2\) or \(Q, H, 2\)"):
        simulator.rollout(TANK, [0.5, 0.5])


def test_a_single_continuous_action_column_needs_no_axis(small_continuous: FittedModel) -> None:
    norm = dataclasses.replace(
        small_continuous.normalizer,
        action_mean=small_continuous.normalizer.action_mean[:1],
        action_scale=small_continuous.normalizer.action_scale[:1],
    )
    net = eqx.tree_at(
        lambda net: net.action_layers[0].weight, small_continuous.members, replace_fn=_first_row
    )
    model = dataclasses.replace(
        small_continuous,
        members=net,
        normalizer=norm,
        roles=small_continuous.roles.model_copy(update={"action": ("in flow",)}),
        ranges=small_continuous.ranges._replace(
            action_low=small_continuous.ranges.action_low[:1],
            action_high=small_continuous.ranges.action_high[:1],
        ),
        sample=small_continuous.sample._replace(action=small_continuous.sample.action[:, :1]),
    )
    simulator = Simulator(model, "T-000/é")
    short = simulator.rollout(TANK, [0.1, 0.5])
    long = simulator.rollout(TANK, [[0.1], [0.5]])
    assert np.array_equal(short.centre, long.centre)


def test_a_start_far_from_the_data_is_doubted_not_refused(small_continuous: FittedModel) -> None:
    heard: list[str] = []
    simulator = Simulator(small_continuous, "T-000/é")
    simulator.rollout([0.5, 300.0], [[0.5, 1.0]], heard.append)
    assert len(heard) == 1
    assert heard[0].startswith(
        "agent 'T-000/é': 1 first state lies outside the range of the data ('Temp (°C)' is 300,"
    )
    with pytest.warns(UserWarning, match="outside the range of the data"):
        simulator.rollout([0.5, 300.0], [[0.5, 1.0]])


def test_without_held_out_errors_the_band_is_the_spread(small_cart_pole: FittedModel) -> None:
    bare = dataclasses.replace(small_cart_pole, band=None)
    rollout = Simulator(bare, 0).rollout(START, [0, 1, 1])
    assert not rollout.calibrated
    assert_near(rollout.upper - rollout.centre, Z90 * rollout.spread, bare, 1e-9)
    full = Simulator(small_cart_pole, 0).rollout(START, [0, 1, 1])
    assert np.all(full.upper - full.lower > rollout.upper - rollout.lower)


def test_frame_of_one_and_of_many(small_cart_pole: FittedModel) -> None:
    simulator = Simulator(small_cart_pole, 5)
    one = simulator.rollout(START, [0, 1, 1]).to_frame()
    assert list(one.columns[:6]) == ["agent_id", "step", "x", "x_dot", "theta", "theta_dot"]
    assert list(one.columns[6:8]) == ["x_lower", "x_upper"]
    assert one["step"].tolist() == [1, 2, 3]
    assert one["agent_id"].tolist() == [5] * 3
    many = simulator.rollout(START, [[0, 1, 1], [1, 1, 1]])
    frame = many.to_frame()
    assert frame["query"].tolist() == [0, 0, 0, 1, 1, 1]
    assert frame["theta"].tolist() == many.centre[:, :, 2].ravel().tolist()
    assert frame["theta_upper"].tolist() == many.upper[:, :, 2].ravel().tolist()


def test_a_rollout_that_leaves_the_training_data_is_told_from_where(
    small_cart_pole: FittedModel,
) -> None:
    heard: list[str] = []
    pushed = [1] * 60  # far beyond what random pushes reach
    rollout = Simulator(small_cart_pole, 0).rollout([0.0, 0.0, 0.0, 0.0], pushed, heard.append)
    low, high = small_cart_pole.ranges.state_low, small_cart_pole.ranges.state_high
    margin = 0.25 * (high - low)
    out = np.any((rollout.centre < low - margin) | (rollout.centre > high + margin), axis=1)
    assert out.any()
    assert not out[0]
    assert heard[0].endswith(f"(first at step {int(out.argmax()) + 1})")

    heard.clear()
    Simulator(small_cart_pole, 0).rollout([0.0, 0.0, 0.0, 0.0], [0, 1], heard.append)
    assert not heard
