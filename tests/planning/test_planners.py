from __future__ import annotations

import dataclasses
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from twinfold.planning import (
    CEM,
    ICEM,
    MPPI,
    Planner,
    RandomShooting,
    StickyShooting,
    make_evaluate,
)
from twinfold.planning.config import CEMSettings
from twinfold.planning.planner import shift

LOW, HIGH = np.array([-1.0, 0.5]), np.array([2.0, 0.75])
COLD = CEMSettings(noise_beta=0.0, warm_start=False, execute="mean")  # as the paper plans
PLANNERS = {
    "shooting": RandomShooting(3, candidates=40, horizon=6),
    "sticky": StickyShooting(3, candidates=40, horizon=6),
    "cem": CEM(LOW, HIGH, COLD, candidates=40, horizon=6, rounds=3),
    "warm cem": CEM(LOW, HIGH, candidates=40, horizon=6, rounds=3, noise_beta=1.0),
    "icem": ICEM(LOW, HIGH, candidates=40, horizon=6, rounds=3),
    "mppi": MPPI(LOW, HIGH, candidates=40, horizon=6, rounds=3),
}
SCORES = {
    "nothing finite": lambda obs, actions: jnp.full(actions.shape[0], jnp.nan),
    "wild": lambda obs, actions: 1e6 * jnp.sin(1e4 * actions.reshape(actions.shape[0], -1).sum(1)),
    "outwards": lambda obs, actions: 1e3 * actions.reshape(actions.shape[0], -1).sum(1) * 1.0,
    "infinite": lambda obs, actions: jnp.where(
        jnp.arange(actions.shape[0]) % 2 == 0, jnp.inf, actions.sum(tuple(range(1, actions.ndim)))
    ),
}


def run(planner, evaluate, steps: int = 5, seed: int = 0) -> tuple[list, list]:
    plan = eqx.filter_jit(lambda s, k: planner.plan(s, evaluate, jnp.zeros(2), k))
    state = planner.init(jax.random.key(seed))
    actions, infos = [], []
    for key in jax.random.split(jax.random.key(seed + 1), steps):
        action, state, info = plan(state, key)
        actions.append(np.asarray(action))
        infos.append(info)
    return actions, infos


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", PLANNERS)
def test_plans_stay_within_bounds(name: str, score: str) -> None:
    planner = PLANNERS[name]
    actions, infos = run(planner, SCORES[score])
    plans = np.stack([info.actions for info in infos])
    assert plans.shape[:2] == (5, 6)
    if name not in ("shooting", "sticky"):
        assert (plans >= LOW.astype(np.float32)).all()
        assert (plans <= HIGH.astype(np.float32)).all()
    else:
        assert np.isin(plans, [0, 1, 2]).all()
    np.testing.assert_array_equal(plans[:, 0], np.stack(actions))


@pytest.mark.parametrize("name", PLANNERS)
def test_a_candidate_without_a_score_never_wins(name: str) -> None:
    def evaluate(obs, actions):
        flat = actions.reshape(*actions.shape[:2], -1)[..., 0]
        # The largest first action would be the best, but its score is NaN.
        return jnp.where(flat[:, 0] > 1.5, jnp.nan, flat[:, 0] + 0.01 * flat.sum(1))

    actions, infos = run(PLANNERS[name], evaluate, steps=8)
    assert all(np.ravel(action)[0] <= 1.5 for action in actions)
    assert all(np.isfinite(info.score) for info in infos)
    assert any(info.valid < 1 for info in infos)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_score_is_that_of_the_plan(name: str) -> None:
    def evaluate(obs, actions):
        return jnp.cos(3.0 * actions.reshape(actions.shape[0], -1)).sum(1)

    for info in run(PLANNERS[name], evaluate)[1]:
        np.testing.assert_allclose(info.score, evaluate(None, info.actions[None])[0], rtol=1e-5)


@given(gain=st.floats(-1, 1), start=st.floats(-0.8, 0.8), seed=st.integers(0, 1000))
def test_horizon_one_is_a_search_over_all_actions(gain: float, start: float, seed: int) -> None:
    action, score, scores = _one_step(jnp.array(gain), jnp.array(start), jax.random.key(seed))
    # The compiler may round the same score differently in two places, most so close to zero.
    np.testing.assert_allclose(score, scores.max(), rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(scores[action], scores.max(), rtol=2e-6, atol=1e-7)


@jax.jit
def _one_step(gain, start, key):
    def evaluate(obs, actions):
        return -((start + gain * (actions[:, 0] - 1) - 0.3) ** 2)

    planner = StickyShooting(3, candidates=8, horizon=1)
    action, _, info = planner.plan(planner.init(key), evaluate, jnp.zeros(1), key)
    return action, info.score, evaluate(None, jnp.arange(3)[:, None])


def test_short_plans_equal_brute_force(integrator, objective) -> None:
    evaluate = make_evaluate(integrator(0.1, 0.3), objective)
    every = jnp.array(list(product(range(3), repeat=4)))
    start = jnp.array([-0.5, 0.4])
    top = evaluate(start, every).max()
    planners: list[Planner] = [
        RandomShooting(3, candidates=1000, horizon=4),
        StickyShooting(3, candidates=1000, horizon=4),
    ]
    for planner in planners:
        key = jax.random.key(1)
        _, _, info = planner.plan(planner.init(key), evaluate, start, key)
        np.testing.assert_allclose(info.score, top, rtol=1e-5)


def test_shifted_plan_comes_first_and_every_action_is_tried() -> None:
    planner = StickyShooting(3, candidates=30, horizon=7)
    previous = jnp.array([0, 1, 2, 2, 1, 0, 1])
    candidates = np.asarray(planner.propose(previous, jax.random.key(3)))
    np.testing.assert_array_equal(candidates[0], [1, 2, 2, 1, 0, 1, 1])
    np.testing.assert_array_equal(candidates[1:4], np.repeat([[0], [1], [2]], 7, axis=1))
    # Changed copies keep the shifted plan outside a stretch.
    assert planner.first_new == 16
    agreement = (candidates[4:16] == candidates[0]).mean()
    assert agreement > (candidates[16:] == candidates[0]).mean() + 0.1


def test_shift_repeats_the_last_action() -> None:
    np.testing.assert_array_equal(shift(jnp.array([[1, 2], [3, 4]])), [[3, 4], [3, 4]])


def test_a_good_plan_is_kept() -> None:
    """With a score that only the remembered plan reaches, the plan moves on step by step."""
    secret = jnp.array([2, 0, 1, 2, 2, 0, 1, 0, 0, 2, 1, 1])

    def evaluate(obs, actions):
        wanted = shift(secret) if obs[0] == 0 else shift(shift(secret))
        return (actions == wanted).all(axis=1) * 1.0

    planner = StickyShooting(3, candidates=20, horizon=12)
    action, state, _ = planner.plan(secret, evaluate, jnp.zeros(1), jax.random.key(0))
    assert int(action) == 0
    action, state, info = planner.plan(state, evaluate, jnp.ones(1), jax.random.key(1))
    assert int(action) == 1
    assert info.score == 1.0


def test_sticky_levels_are_uniform_and_held() -> None:
    planner = StickyShooting(5, candidates=4000, horizon=20, mutated=0.0)
    plans = np.asarray(planner.propose(planner.init(jax.random.key(0)), jax.random.key(0)))[6:]
    share = np.bincount(plans.ravel(), minlength=5) / plans.size
    np.testing.assert_allclose(share, 0.2, atol=0.02)
    # Repeat probability uniform on [0, 0.95], and a fresh draw repeats one time in five.
    held = (plans[:, 1:] == plans[:, :-1]).mean()
    np.testing.assert_allclose(held, 0.475 + 0.525 / 5, atol=0.02)


def test_of_equal_plans_the_one_with_room_wins() -> None:
    """Every first action can reach the best score, but after action 1 most plans do."""

    def evaluate(obs, actions):
        lucky = jnp.where(actions[:, 0] == 1, actions[:, 1] != 0, actions[:, 1] == 0)
        return 10.0 * lucky

    planner = StickyShooting(3, candidates=400, horizon=4)
    chosen = run(planner, evaluate, steps=5)[0]
    assert [int(a) for a in chosen] == [1] * 5


def test_few_candidates_do_not_hide_the_best() -> None:
    """The best plan wins also where no new sequence begins with its first action."""
    planner = StickyShooting(4, candidates=6, horizon=1, mutated=1.0)
    first = jnp.array([0, 0, 1, 2, 3, 0])
    scores = jnp.array([0.0, 0.0, 1.0, 3.0, 2.0, 0.0])
    assert int(planner.choose(first, scores)) == 3


def test_too_few_candidates() -> None:
    with pytest.raises(ValueError, match="at least 5 are needed"):
        StickyShooting(4, candidates=4, horizon=5)


def test_cem_finds_the_maximum() -> None:
    target = jnp.array([0.3, 0.7])
    planner = CEM(LOW, HIGH, COLD, candidates=100, horizon=3, rounds=8)

    def evaluate(obs, actions):
        return -((actions - target) ** 2).sum(axis=(1, 2))

    _, _, info = planner.plan(
        planner.init(jax.random.key(0)), evaluate, jnp.zeros(1), jax.random.key(0)
    )
    np.testing.assert_allclose(info.actions, jnp.broadcast_to(target, (3, 2)), atol=0.05)


@pytest.mark.parametrize("name", ["warm cem", "icem", "mppi"])
def test_a_warm_start_goes_on_where_the_last_step_ended(name: str) -> None:
    def evaluate(obs, actions):
        return -((actions - jnp.array([1.7, 0.74])) ** 2).sum(axis=(1, 2))

    planner = dataclasses.replace(PLANNERS[name], rounds=1)
    scores = [float(info.score) for info in run(planner, evaluate, steps=12)[1]]
    assert np.mean(scores[-4:]) > scores[0]


@pytest.mark.parametrize("name", PLANNERS)
def test_vmapped_planning_equals_one_by_one(name: str) -> None:
    planner = PLANNERS[name]

    def evaluate(obs, actions):
        return -((actions.reshape(actions.shape[0], -1) - obs[0]) ** 2).sum(1)

    def one(start, key):
        return planner.plan(planner.init(key), evaluate, start, key)[0]

    starts, keys = jnp.array([[0.0], [1.0], [2.0]]), jax.random.split(jax.random.key(0), 3)
    together = jax.jit(jax.vmap(one))(starts, keys)
    alone = jax.jit(one)
    for i in range(3):
        np.testing.assert_allclose(together[i], alone(starts[i], keys[i]), rtol=1e-5)
