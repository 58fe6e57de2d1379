"""CEM, iCEM and MPPI: a problem with a known answer, and plain NumPy with the same noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.planning import CEM, ICEM, MPPI, Planner
from twinfold.planning.config import CEMSettings
from twinfold.planning.noise import coloured_noise

LOW, HIGH = np.array([-2.0, -1.0], np.float32), np.array([1.0, 3.0], np.float32)
HORIZON = 5
COLD = CEMSettings(noise_beta=0.0, warm_start=False, execute="mean")  # as the paper plans
PLANNERS: dict[str, Planner] = {
    "cem": CEM(LOW, HIGH, COLD, candidates=24, horizon=HORIZON, rounds=3),
    "warm cem": CEM(
        LOW, HIGH, candidates=24, horizon=HORIZON, rounds=3, noise_beta=1.5, momentum=0.3
    ),
    "icem": ICEM(LOW, HIGH, candidates=24, horizon=HORIZON, rounds=3, elite=0.2, keep=0.5),
    "mppi": MPPI(LOW, HIGH, candidates=24, horizon=HORIZON, rounds=3),
    "mppi in units of the reward": MPPI(
        LOW,
        HIGH,
        candidates=24,
        horizon=HORIZON,
        rounds=2,
        temperature=5.0,
        temperature_unit="reward",
        noise_beta=0.0,
    ),
}


# A linear-quadratic problem: x' = A x + B u, cost sum of x'Qx + u'Ru after every step.

A = np.array([[1.0, 0.1], [0.0, 0.98]])
B = np.array([[0.0], [0.1]])
Q, R = np.diag([1.0, 0.1]), np.array([[0.02]])
X0, STEPS = np.array([1.0, 0.0]), 15


def riccati_cost() -> float:
    """The least cost from X0, by dynamic programming backwards; the last state counts too."""
    value = Q
    for _ in range(STEPS):
        gain = np.linalg.solve(R + B.T @ value @ B, B.T @ value @ A)
        closed = A - B @ gain
        value = Q + gain.T @ R @ gain + closed.T @ value @ closed
    return float(X0 @ (value - Q) @ X0)  # the first state is given: its cost is nobody's choice


def minus_cost(observation: jax.Array, actions: jax.Array) -> jax.Array:
    def one(plan: jax.Array) -> jax.Array:
        def step(x: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = jnp.asarray(A) @ x + jnp.asarray(B) @ u
            return x, -(x @ jnp.asarray(Q) @ x + u @ jnp.asarray(R) @ u)

        return jax.lax.scan(step, observation, plan)[1].sum()

    return jax.vmap(one)(actions)


@pytest.mark.parametrize(
    "planner",
    [
        CEM([-8.0], [8.0], COLD, candidates=400, horizon=STEPS, rounds=25),
        ICEM([-8.0], [8.0], candidates=600, horizon=STEPS, rounds=8, decay=0.95, noise_beta=1.0),
        MPPI(
            [-8.0],
            [8.0],
            candidates=400,
            horizon=STEPS,
            rounds=60,
            temperature=0.1,
            spread=0.04,
            noise_beta=1.0,
        ),
    ],
    ids=lambda planner: type(planner).__name__,
)
def test_a_linear_quadratic_problem_is_solved(planner: Planner) -> None:
    plan = jax.jit(lambda k: planner.plan(planner.init(k), minus_cost, jnp.asarray(X0), k)[2])
    best = riccati_cost()
    for seed in range(3):
        info = plan(jax.random.key(seed))
        assert best * 0.9999 <= -float(info.score) <= best * 1.03
        assert np.abs(info.actions).max() < 7.9  # the bounds play no part


# Plain NumPy, one candidate at a time, with the noise that the planner draws.


def wavy(actions: Any) -> Any:
    """A score with several maxima; NaN for some candidates."""
    xp = np if isinstance(actions, np.ndarray) else jnp
    flat = actions.reshape(len(actions), -1)
    score = xp.sin(3.0 * flat).sum(1) - 0.3 * (flat**2).sum(1)
    return xp.where(flat[:, 0] > -0.4, xp.nan, score)


def ranked(scores: np.ndarray) -> list[int]:
    return sorted(
        (i for i in range(len(scores)) if np.isfinite(scores[i])), key=lambda i: -scores[i]
    )


def numpy_cem(planner: CEM, memory: np.ndarray, key: jax.Array) -> tuple[np.ndarray, Any]:
    p = planner.settings
    mean = np.tile((LOW + HIGH) / 2, (HORIZON, 1))
    if p.warm_start:
        mean = np.concatenate([memory[1:], memory[-1:]])
    std = np.tile(p.spread * (HIGH - LOW), (HORIZON, 1))
    best, best_score = mean, -np.inf
    for k in jax.random.split(key, p.rounds):
        noise = np.asarray(coloured_noise(k, p.noise_beta, (p.candidates, *mean.shape)))
        tried = [np.clip(mean + std * e, LOW, HIGH) for e in noise]
        scores = wavy(np.stack(tried))
        elites = [tried[i] for i in ranked(scores)[: round(p.elite * p.candidates)]]
        if scores[ranked(scores)[0]] > best_score:
            best, best_score = elites[0], scores[ranked(scores)[0]]
        mean = p.momentum * mean + (1 - p.momentum) * np.mean(elites, axis=0)
        std = p.momentum * std + (1 - p.momentum) * np.std(elites, axis=0)
    plan = best if p.execute == "best" else mean
    return plan, plan


def numpy_icem(planner: ICEM, memory: Any, key: jax.Array) -> tuple[np.ndarray, Any]:
    p = planner.settings
    n_elites, n_kept = 5, 2  # round(0.2 * 24), round(0.5 * 5)
    mean, last_elites = (np.asarray(x) for x in memory)
    mean = np.concatenate([mean[1:], mean[-1:]])
    std = np.tile(p.spread * (HIGH - LOW), (HORIZON, 1))
    key, key_last = jax.random.split(key)
    last = jax.random.uniform(key_last, (n_kept, 1, 2), minval=LOW, maxval=HIGH)
    kept = [
        np.concatenate([e[1:], np.asarray(x)])
        for e, x in zip(last_elites[:n_kept], last, strict=True)
    ]
    elites: list[np.ndarray] = []
    for i, k in enumerate(jax.random.split(key, p.rounds)):
        size = max(round(24 * 0.8**i), 2 * n_elites)
        extra = [*kept, mean] if i == p.rounds - 1 else kept
        shape = (size - len(extra), *mean.shape)
        noise = np.asarray(coloured_noise(k, p.noise_beta, shape))
        tried = [np.clip(mean + std * e, LOW, HIGH) for e in noise] + extra
        scores = wavy(np.stack(tried))
        elites = [tried[j] for j in ranked(scores)[:n_elites]]
        kept = elites[:n_kept]
        mean = p.momentum * mean + (1 - p.momentum) * np.mean(elites, axis=0)
        std = p.momentum * std + (1 - p.momentum) * np.std(elites, axis=0)
    return elites[0], (mean, np.stack(elites))


def numpy_mppi(planner: MPPI, memory: np.ndarray, key: jax.Array) -> tuple[np.ndarray, Any]:
    p = planner.settings
    mean = np.concatenate([memory[1:], memory[-1:]])
    for k in jax.random.split(key, p.rounds):
        noise = np.array(coloured_noise(k, p.noise_beta, (p.candidates, *mean.shape)))
        noise[0] = 0.0
        tried = [np.clip(mean + p.spread * (HIGH - LOW) * e, LOW, HIGH) for e in noise]
        scores = wavy(np.stack(tried))
        known = ranked(scores)
        unit = np.std(scores[known]) if p.temperature_unit == "spread" else 1.0
        weights = {
            i: np.exp((scores[i] - scores[known].max()) / (p.temperature * unit)) for i in known
        }
        share = np.array(list(weights.values()))
        mean = np.tensordot(share / share.sum(), np.stack([tried[i] for i in weights]), axes=1)
    return mean, mean


REFERENCE: dict[type, Callable[..., Any]] = {CEM: numpy_cem, ICEM: numpy_icem, MPPI: numpy_mppi}


@pytest.mark.parametrize("name", PLANNERS)
def test_plans_equal_plain_numpy(name: str) -> None:
    planner = PLANNERS[name]
    plan = eqx.filter_jit(
        lambda s, k: planner.plan(s, lambda obs, actions: wavy(actions), jnp.zeros(1), k)
    )
    memory: Any = planner.init(jax.random.key(0))
    valid = []
    for key in jax.random.split(jax.random.key(5), 4):
        expected, after = REFERENCE[type(planner)](planner, memory, key)
        action, memory, info = plan(memory, key)
        np.testing.assert_allclose(info.actions, expected, atol=2e-4)
        np.testing.assert_array_equal(action, info.actions[0])
        for got, wanted in zip(jax.tree.leaves(memory), jax.tree.leaves(after), strict=True):
            np.testing.assert_allclose(got, wanted, atol=2e-4)
        valid.append(float(info.valid))
    assert 0 < min(valid) < 1


# Whatever the scores are.

BROKEN = [np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0]


@eqx.filter_jit
def planned(planner: Planner, table: jax.Array, key: jax.Array) -> Any:
    def evaluate(obs: jax.Array, actions: jax.Array) -> jax.Array:
        return jnp.resize(table, (len(actions),)) + 0.0 * actions.sum((1, 2))

    memory = planner.init(key)
    _, memory, first = planner.plan(memory, evaluate, jnp.zeros(1), key)
    action, _, second = planner.plan(memory, evaluate, jnp.zeros(1), key)
    return action, first.actions, second.actions, second.score


@settings(max_examples=40, deadline=None)
@given(
    table=st.lists(
        st.one_of(st.sampled_from(BROKEN), st.floats(-1e3, 1e3)), min_size=7, max_size=7
    ),
    name=st.sampled_from(sorted(PLANNERS)),
    seed=st.integers(0, 2**31 - 1),
)
def test_plans_are_within_bounds_whatever_the_scores(
    table: list[float], name: str, seed: int
) -> None:
    scores = jnp.asarray(table, jnp.float32)
    action, *plans, score = planned(PLANNERS[name], scores, jax.random.key(seed))
    for plan in (action, *plans):
        assert np.isfinite(plan).all()
        assert (np.asarray(plan) >= LOW).all()
        assert (np.asarray(plan) <= HIGH).all()
    if not np.isfinite(scores).any():
        assert score == -np.inf


@pytest.mark.parametrize("name", PLANNERS)
def test_what_has_no_score_pulls_nothing(name: str) -> None:
    """Large actions would be best, but beyond half the range there is no score at all."""

    def evaluate(obs: jax.Array, actions: jax.Array) -> jax.Array:
        reach = actions[..., 1].max(axis=1)
        return jnp.where(reach > 1.0, jnp.nan, actions[..., 1].sum(axis=1))

    planner = dataclasses.replace(PLANNERS[name], candidates=200, noise_beta=0.0)  # type: ignore[call-arg]
    plan = eqx.filter_jit(lambda s, k: planner.plan(s, evaluate, jnp.zeros(1), k))
    memory = planner.init(jax.random.key(0))
    for key in jax.random.split(jax.random.key(1), 6):
        _, memory, info = plan(memory, key)
        assert np.asarray(info.actions)[:, 1].max() <= 1.0  # convex: means stay inside too
        assert np.isfinite(info.score)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_same_key_gives_the_same_plan_and_nothing_is_compiled_again(name: str) -> None:
    traces = []

    def evaluate(obs: jax.Array, actions: jax.Array) -> jax.Array:
        traces.append(1)
        return -((actions - obs[0]) ** 2).sum(axis=(1, 2))

    planner = PLANNERS[name]
    plan = jax.jit(lambda s, o, k: planner.plan(s, evaluate, o, k))
    memory = planner.init(jax.random.key(0))
    first = plan(memory, jnp.zeros(1), jax.random.key(1))
    n_traces = len(traces)
    again = plan(memory, jnp.zeros(1), jax.random.key(1))
    other = plan(first[1], jnp.ones(1), jax.random.key(2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert len(traces) == n_traces


@pytest.mark.parametrize("name", ["warm cem", "icem", "mppi"])
def test_a_proposal_that_is_good_is_taken(name: str) -> None:
    proposal = jnp.tile(jnp.asarray(HIGH), (HORIZON, 1))

    def evaluate(obs: jax.Array, actions: jax.Array) -> jax.Array:
        return 100.0 * (actions == proposal).all(axis=(1, 2))

    planner = dataclasses.replace(PLANNERS[name], candidates=100)  # type: ignore[call-arg]
    if isinstance(planner, MPPI):
        planner = dataclasses.replace(planner, temperature=0.01)
    key = jax.random.key(0)
    found = planner.plan(planner.init(key), evaluate, jnp.zeros(1), key, proposal[None])
    np.testing.assert_allclose(found[2].actions, proposal, atol=1e-5)
    assert planner.plan(planner.init(key), evaluate, jnp.zeros(1), key)[2].score == 0.0


def test_sizes_of_the_rounds() -> None:
    planner = ICEM(LOW, HIGH, candidates=100, horizon=4, rounds=4)
    assert planner.sizes == (100, 80, 64, 51)
    assert (planner.n_elites, planner.n_kept) == (10, 3)
    assert ICEM(LOW, HIGH, candidates=40, rounds=9, elite=0.5, decay=0.5).sizes == (40,) * 9
    for kind in (CEM, ICEM):
        with pytest.raises(ValueError, match="greater than or equal to 4"):
            kind(LOW, HIGH, candidates=3)
    with pytest.raises(ValueError, match=r"greater than or equal to 0\.000001"):
        MPPI(LOW, HIGH, temperature=0.0)
