"""Acting, against the formulas written as loops in NumPy."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.baselines.offline_policy import (
    BestGenerated,
    BestLikelyValue,
    BestValue,
    Layers,
    MeanAction,
    OfflineActor,
    OfflinePolicy,
)
from twinfold.errors import UsageError
from twinfold.models.factor_model import Layer


def some_net(seed: int, *sizes: int) -> Layers:
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(
            jnp.asarray(rng.normal(size=(n, m)), jnp.float32),
            jnp.asarray(rng.normal(size=m), jnp.float32),
        )
        for n, m in itertools.pairwise(sizes)
    )


def outputs(layers: Layers, x: np.ndarray) -> np.ndarray:
    for layer in layers[:-1]:
        x = np.maximum(x @ np.asarray(layer.weight) + np.asarray(layer.bias), 0)
    return x @ np.asarray(layers[-1].weight) + np.asarray(layers[-1].bias)


STATES = np.random.default_rng(5).normal(size=(40, 3)).astype(np.float32)


def constant(*values: float) -> Layers:
    """A net of one layer that says the same of every state."""
    return (Layer(jnp.zeros((3, len(values))), jnp.asarray(values, jnp.float32)),)


@pytest.mark.parametrize(
    ("threshold", "level"),
    [(0.05, 2), (0.3, 1), (0.7, 0)],  # probabilities 0.6, 0.3, 0.1: ratios 1, 0.5, 0.167
)
def test_bcq_takes_the_best_of_the_likely_levels(threshold: float, level: int) -> None:
    logits = constant(*np.log([0.6, 0.3, 0.1]).tolist())
    rule = BestLikelyValue(constant(-9.0, -5.0, -1.0), logits, threshold)
    assert int(rule(jnp.zeros(3))) == level


def test_discrete_rules_are_the_formulas() -> None:
    values, imitator = some_net(0, 3, 8, 4), some_net(1, 3, 8, 4)
    greedy, careful = BestValue(values), BestLikelyValue(values, imitator, 0.3)
    differ = 0
    for state in STATES:
        q, logits = outputs(values, state), outputs(imitator, state)
        share = np.exp(logits - logits.max())
        best = max((k for k in range(4) if share[k] > 0.3), key=lambda k: q[k])
        assert int(greedy(jnp.asarray(state))) == int(np.argmax(q))
        assert int(careful(jnp.asarray(state))) == best
        differ += best != np.argmax(q)
    assert differ > 5


def test_continuous_rules_are_the_formulas() -> None:
    mean = some_net(2, 3, 8, 2)
    generator, moved, values = some_net(3, 7, 8, 2), some_net(4, 5, 8, 2), some_net(5, 5, 8, 1)
    latents = np.random.default_rng(6).uniform(-0.5, 0.5, (9, 4)).astype(np.float32)
    rule = BestGenerated(generator, moved, values, jnp.asarray(latents), 0.05)
    means = jax.vmap(MeanAction(mean))(jnp.asarray(STATES))
    best = jax.vmap(rule)(jnp.asarray(STATES))
    for n, state in enumerate(STATES):
        np.testing.assert_allclose(means[n], np.tanh(outputs(mean, state)), atol=1e-5)
        actions = []
        for latent in latents:
            action = outputs(generator, np.r_[state, latent])
            action = action + 0.05 * np.tanh(outputs(moved, np.r_[state, action]))
            actions.append(np.clip(action, -1, 1))
        worth = [outputs(values, np.r_[state, action])[0] for action in actions]
        np.testing.assert_allclose(best[n], actions[int(np.argmax(worth))], atol=1e-4)


def test_states_are_standardised_and_actions_moved_to_their_range() -> None:
    mean = some_net(2, 3, 8, 2)
    shift, scale = np.array([5.0, -3.0, 0.1]), np.array([10.0, 0.5, 2.0])
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 10.0])
    actor = OfflineActor(
        MeanAction(mean), *(jnp.asarray(x, jnp.float32) for x in (shift, scale, low, high))
    )
    for state in STATES:
        expected = low + (high - low) * (np.tanh(outputs(mean, state)) + 1) / 2
        raw = jnp.asarray(state * scale + shift, jnp.float32)
        np.testing.assert_allclose(actor(raw), expected, atol=1e-3)
        np.testing.assert_array_equal(actor(raw, jax.random.key(0)), actor(raw))


def test_states_side_by_side_are_states_one_by_one(offline_policy: Any) -> None:
    for case in ("bcq-discrete", "cql-continuous", "bcq-continuous"):
        policy: OfflinePolicy = offline_policy(*case.split("-"))
        found = policy.act(STATES)
        alone = np.array([policy.act(state[None])[0] for state in STATES])
        np.testing.assert_allclose(found, alone, atol=1e-5)
        np.testing.assert_array_equal(found, policy.act(STATES))
        assert found.dtype == (np.int32 if policy.discrete else np.float32)


@pytest.mark.parametrize("states", [np.zeros(3), np.zeros((2, 4)), np.zeros((1, 2, 3))])
def test_states_of_another_shape_are_refused(offline_policy: Any, states: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"they must be \(B, 3\)"):
        offline_policy("cql", "discrete").act(states)


def test_a_method_is_named_by_whose_data_it_learned_from(offline_policy: Any) -> None:
    assert offline_policy("bcq", "discrete").method == "bcq-p"
    assert offline_policy("bcq", "discrete", agents=(3, 4)).method == "bcq-p"
    assert offline_policy("cql", "discrete", agents=(3,)).method == "cql-a"
    assert offline_policy("cql", "discrete", agents=(3,), augmented=5).method == "persim-cql-5"
