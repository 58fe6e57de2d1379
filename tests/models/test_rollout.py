"""Batched rollouts against one at a time, and what one bad member can do to the rest: nothing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.errors import UsageError
from twinfold.metrics import mad_std, trimmed_mean
from twinfold.models import rollout
from twinfold.models.fitted_model import FittedModel
from twinfold.models.rollout import agent_responses, predict_paths, rollout_members

Build = Callable[..., FittedModel]


def questions(model: FittedModel, number: int, horizon: int, seed: int = 0) -> Any:
    """Agents (Q,), states (Q, D) and actions (Q, H[, A])."""
    rng = np.random.default_rng(seed)
    agent = rng.integers(0, len(model.agent_ids), number)
    state = model.normalizer.decode_state(rng.normal(size=(number, len(model.roles.state))))
    if model.discrete:
        return agent, state, rng.integers(0, len(model.action_levels), (number, horizon))  # type: ignore[arg-type]
    return agent, state, rng.normal(size=(number, horizon, len(model.roles.action)))


def remembered(model: FittedModel, state: Any) -> Any:
    """States with steps before them, some of them not known, if the model reads any."""
    rng = np.random.default_rng(3)
    known = 0.2 * rng.normal(size=(len(state), model.normalizer.n_memory))
    known[rng.uniform(size=known.shape) < 0.2] = np.nan
    return np.concatenate([state, known], axis=1)


# Kinds of models: columns that are angles or predicted directly, and kinds of features.
SPECIAL: dict[str, dict[str, Any]] = {
    "differences": {},
    "joint": {"features": "joint"},
    "angle": {"angles": (1,)},
    "direct": {"direct": (1, 2)},
    "joint, angles, direct": {"features": "joint", "angles": (2, 1), "direct": (1,), "n_state": 4},
    "memory": {"history": 3},
    "memory of changes alone": {"history": 3, "changes_alone": True},
    "memory, angle, direct": {"history": 4, "angles": (1,), "direct": (2,)},
}


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", SPECIAL)
def test_rollouts_are_those_of_a_plain_loop(
    random_model: Build, reference: Any, discrete: bool, kind: str
) -> None:
    model = random_model(discrete=discrete, **SPECIAL[kind])
    agent, state, actions = questions(model, 7, 10)
    state = remembered(model, state)
    paths = rollout_members(model.members, model.normalizer, agent, state, actions)
    assert paths.shape == (3, 7, 10, len(model.roles.state))
    assert paths.dtype == np.float64
    for q in range(7):
        expected = reference.member_paths(model, agent[q], state[q], actions[q])
        np.testing.assert_allclose(paths[:, q], expected, rtol=1e-3, atol=1e-3)
    # The walls of the first and last state were met, or they would not have been tested.
    low, high = (
        model.normalizer.decode_state(x) for x in (model.normalizer.low, model.normalizer.high)
    )
    assert np.isclose(paths[..., 0], low[0]).any()
    assert np.isclose(paths[..., -1], high[-1]).any()


def test_rollouts_do_not_depend_on_how_they_are_batched(
    random_model: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model()
    agent, state, actions = questions(model, 11, 17)

    def roll(queries: Any, horizon: int) -> Any:
        return rollout_members(
            model.members,
            model.normalizer,
            agent[queries],
            state[queries],
            actions[queries, :horizon],
        )

    together = roll(slice(None), 17)
    for q in (0, 4, 10):
        np.testing.assert_allclose(roll([q], 17)[:, 0], together[:, q], rtol=1e-4, atol=1e-4)
    for horizon in (1, 9, 16):  # padded or not, the first steps are the first steps
        np.testing.assert_allclose(
            roll(slice(None), horizon), together[:, :, :horizon], rtol=1e-4, atol=1e-4
        )
    monkeypatch.setattr(rollout, "_BATCH", 4)  # 4 + 4 + 3
    np.testing.assert_allclose(roll(slice(None), 17), together, rtol=1e-4, atol=1e-4)


def test_lengths_and_numbers_of_a_kind_share_a_program(random_model: Build) -> None:
    model = random_model()

    def roll(number: int, horizon: int) -> None:
        rollout_members(model.members, model.normalizer, *questions(model, number, horizon))

    roll(8, 32)
    program: Any = rollout._rollout_batch
    before = program._cache_size()
    for number, horizon in [(5, 20), (6, 31), (7, 17), (8, 32)]:
        roll(number, horizon)
    assert program._cache_size() == before


def test_models_of_few_and_of_many_agents_share_a_program(random_model: Build) -> None:
    program: Any = rollout._rollout_batch
    model = random_model()
    rollout_members(model.members, model.normalizer, *questions(model, 8, 32))
    before = program._cache_size()
    twice = np.concatenate([np.asarray(model.members.agents)] * 2, axis=1)
    members = eqx.tree_at(lambda m: m.agents, model.members, jnp.asarray(twice))
    agent, *others = questions(model, 8, 32)
    expected = rollout_members(model.members, model.normalizer, agent, *others)
    found = rollout_members(members, model.normalizer, agent + len(model.agent_ids), *others)
    np.testing.assert_array_equal(found, expected)
    assert program._cache_size() == before


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_no_question_or_no_step_gives_nothing(random_model: Build, shape: Any) -> None:
    model = random_model()
    paths = rollout_members(model.members, model.normalizer, *questions(model, *shape))
    assert paths.shape == (3, *shape, 3)


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("kind", SPECIAL)
def test_the_folded_agent_rolls_out_as_the_table_does(
    random_model: Build, discrete: bool, kind: str
) -> None:
    model = random_model(discrete=discrete, **SPECIAL[kind])
    _, state, actions = questions(model, 1, 6)
    paths = rollout_members(model.members, model.normalizer, np.array([3]), state, actions)
    codes = jnp.asarray(actions[0], jnp.int32 if discrete else jnp.float32)

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(eqx.if_array(0), None, None))
    def roll(member: Any, start: Any, codes: Any) -> Any:
        def step(carry: Any, code: Any) -> Any:
            return member.step(carry, code)

        return jax.lax.scan(step, member.init(start), jax.vmap(member.encode)(codes))[1]

    folded = roll(model.dynamics("u3"), jnp.asarray(state[0], jnp.float32), codes)
    np.testing.assert_allclose(folded, paths[:, 0], rtol=1e-3, atol=1e-3)
    other = rollout_members(model.members, model.normalizer, np.array([2]), state, actions)
    assert not np.allclose(other, paths, atol=0.01)


@given(st.integers(-100, 100), st.integers(-100, 100), st.booleans(), st.integers(0, 5))
@settings(max_examples=25)
def test_whole_turns_of_an_angle_change_no_prediction(
    random_model: Build, turns: int, others: int, joint: bool, seed: int
) -> None:
    """But for the turns themselves, which an angle that is predicted as a change keeps."""
    model = random_model(features="joint" if joint else "separable", angles=(1, 2))
    agent, state, actions = questions(model, 4, 8, seed)
    away = 2 * np.pi * np.array([0, turns, others])
    paths, moved = (
        rollout_members(model.members, model.normalizer, agent, start, actions)
        for start in (state, state + away)
    )
    np.testing.assert_allclose(moved - away, paths, rtol=1e-2, atol=1e-2)


def permuted(model: FittedModel, order: Any) -> FittedModel:
    members = eqx.tree_at(lambda tree: tree.agents, model.members, model.members.agents[:, order])
    ids = tuple(model.agent_ids[n] for n in order)
    return dataclasses.replace(model, members=members, agent_ids=ids)


def test_reordering_the_agents_changes_nobodys_prediction(random_model: Build) -> None:
    model = random_model()
    other = permuted(model, np.array([3, 0, 4, 1, 2]))
    _, state, actions = questions(model, 1, 5)
    for name in model.agent_ids:
        paths = [
            rollout_members(
                m.members, m.normalizer, np.array([m.agent_index(name)]), state, actions
            )
            for m in (model, other)
        ]
        np.testing.assert_array_equal(paths[0], paths[1])
    assert other.agent_index("u3") == 0


def test_ids_are_found_as_given_or_as_text(random_model: Build) -> None:
    numbers = random_model(agent_ids=(30, 7, 12, 5, 9))
    assert [numbers.agent_index(x) for x in (7, "7", 7.0)] == [1] * 3
    texts = random_model(agent_ids=("007", "7", "x", "é/1", "z z"))
    assert [texts.agent_index(x) for x in ("007", "7", 7, "é/1")] == [0, 1, 1, 3]
    with pytest.raises(UsageError, match=r"unknown agent 'é/2'\. Did you mean 'é/1'\?"):
        texts.agent_index("é/2")
    with pytest.raises(UsageError, match="unknown agent 3"):
        numbers.dynamics(3)


@pytest.mark.parametrize("n_members", [1, 2, 3, 4, 5, 6, 11])
def test_the_centre_is_the_trimmed_mean(n_members: int, reference: Any) -> None:
    paths = np.random.default_rng(n_members).normal(size=(n_members, 3, 2))
    np.testing.assert_allclose(trimmed_mean(paths), reference.robust_centre(paths), atol=1e-12)
    shuffled = np.random.default_rng(0).permutation(paths)
    np.testing.assert_allclose(trimmed_mean(shuffled), trimmed_mean(paths), atol=1e-12)
    np.testing.assert_allclose(mad_std(shuffled), mad_std(paths), atol=1e-12)
    np.testing.assert_allclose(
        trimmed_mean(paths * -3 + 5), trimmed_mean(paths) * -3 + 5, atol=1e-12
    )
    np.testing.assert_allclose(mad_std(paths * -3 + 5), mad_std(paths) * 3, atol=1e-12)


@given(
    st.integers(3, 6),
    st.integers(0, 5),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30]),
    st.integers(0, 1000),
)
def test_one_diverging_member_does_no_harm(
    n_members: int, which: int, bad: float, seed: int
) -> None:
    paths = np.random.default_rng(seed).normal(size=(n_members, 4, 2))
    others = np.delete(paths, which % n_members, axis=0)
    paths[which % n_members, 1:] = bad
    middle, wide = trimmed_mean(paths), mad_std(paths)
    assert np.all((middle >= others.min(axis=0))[1:])
    assert np.all((middle <= others.max(axis=0))[1:])
    # The deviations of the sound members bound the median deviation, unless there are only two.
    assert np.all(np.isfinite(wide))
    assert np.all(wide <= 1.4827 * np.ptp(others, axis=0).max(axis=0) + 1e-9) or n_members == 3


@pytest.mark.parametrize("discrete", [True, False])
def test_a_question_too_far_to_compute_with_is_refused_by_its_value(
    random_model: Build, discrete: bool
) -> None:
    model = random_model(discrete=discrete)
    agent, state, actions = questions(model, 3, 2)
    far = state.copy()
    far[1, 2] = -1e40
    with pytest.raises(UsageError, match=r"'s2' is -1e\+40, .* too far to compute with"):
        predict_paths(model, agent, far, actions)
    if not discrete:
        actions[2, 1, 1] = 1e40
        with pytest.raises(UsageError, match=r"'a1' is 1e\+40, .* too far to compute with"):
            predict_paths(model, agent, state, actions)


@pytest.mark.parametrize("n_members", [1, 2])
def test_too_few_members_hide_nothing(n_members: int) -> None:
    """With one or two members a failure cannot be cut away; it must show."""
    paths = np.ones((n_members, 4, 2))
    np.testing.assert_array_equal(trimmed_mean(paths), 1)
    np.testing.assert_array_equal(mad_std(paths), 0)
    paths[0, 2] = np.nan
    assert np.isnan(trimmed_mean(paths)[2]).all()
    assert np.isfinite(trimmed_mean(paths)[[0, 1, 3]]).all()


def test_the_spread_of_a_normal_ensemble_is_its_standard_deviation() -> None:
    paths = 3.0 * np.random.default_rng(0).normal(size=(20_001, 1))
    np.testing.assert_allclose(mad_std(paths), 3.0, rtol=0.03)


@pytest.mark.parametrize("discrete", [True, False])
def test_responses_do_not_depend_on_the_gauge(random_model: Build, discrete: bool) -> None:
    model = random_model(discrete=discrete)
    _, state, actions = questions(model, 6, 1)
    probes = np.arange(5), state, actions[:, 0]
    responses = agent_responses(model, *probes)
    assert responses.shape == (model.n_members, 5, 6 * 3)
    # Scale the terms of u up and those of w down, and swap two terms throughout.
    scale, order = np.array([2.0, -0.5, 10.0], np.float32), np.array([1, 0, 2])
    net = model.members
    head: Any = net.action_head

    def terms(leaf: Any) -> Any:
        """Reorder the last axis of the state net's head, ``(..., D * r)``."""
        return leaf.reshape(*leaf.shape[:-1], 3, 3)[..., order].reshape(leaf.shape)

    regauged = eqx.tree_at(
        lambda tree: (tree.agents, tree.head, tree.action_head),
        net,
        (
            (net.agents * scale)[..., order],
            jax.tree.map(terms, net.head),
            jax.tree.map(lambda leaf: (leaf / scale)[..., order], head),
        ),
    )
    again = agent_responses(dataclasses.replace(model, members=regauged), *probes)
    np.testing.assert_allclose(again, responses, rtol=1e-3, atol=1e-3)
    assert np.ptp(responses, axis=1).max() > 0.1  # agents do differ


def test_responses_are_what_each_agent_is_predicted_to_do(
    random_model: Build, reference: Any
) -> None:
    model = random_model()
    _, state, actions = questions(model, 4, 1)
    agents, norm = np.array([4, 1]), model.normalizer
    responses = agent_responses(model, agents, state, actions[:, 0]).reshape(-1, 2, 4, 3)
    for (n, agent), p in itertools.product(enumerate(agents), range(4)):
        change = reference.member_paths(model, agent, state[p], actions[p])[:, 0] - state[p]
        expected = (change - norm.target_mean) / norm.target_scale
        np.testing.assert_allclose(responses[:, n, p], expected, rtol=1e-3, atol=1e-2)
