"""Pairs of context and prediction, fits, and a context that tells agents apart."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from twinfold import UsageError
from twinfold.baselines import CaDM, fit_cadm
from twinfold.baselines.cadm import loss_of, random_nets
from twinfold.baselines.cadm_training import (
    context_pairs,
    gather,
    standardised,
    unlimited_normalizer,
)


def test_pairs_stay_within_their_trajectory(walkers: Any) -> None:
    data = walkers([1, 5, 2]).transitions()
    pairs = np.asarray(context_pairs(data, 3)).tolist()
    rows = range(len(data))
    wanted = [
        [t, t + i] for t in rows for i in range(3) if t + i in rows
        if data.segment[t + i] == data.segment[t]
    ]  # fmt: skip
    assert pairs == wanted


def test_a_history_is_of_the_agents_own_steps(walkers: Any) -> None:
    panel = walkers([2, 6])
    data, normalizer = panel.transitions(), unlimited_normalizer(panel)
    steps = standardised(data, normalizer, 2)
    pairs = context_pairs(data, 2)
    batch = gather(steps, pairs, 3)
    own = np.concatenate([steps.target, steps.action], axis=1)
    for k, (first, row) in enumerate(np.asarray(pairs)):
        for j in range(3):
            before = first - 3 + j
            known = before >= 0 and data.segment[before] == data.segment[first]
            assert batch.mask[k, j] == known
            if known:
                np.testing.assert_array_equal(batch.steps[k, j], own[before])
        np.testing.assert_array_equal(batch.target[k], steps.target[row])
        np.testing.assert_array_equal(batch.after[k], normalizer.inputs(
            normalizer.encode_state(data.next_state[row])).astype(np.float32))  # fmt: skip


def test_the_order_of_agents_does_not_matter(walkers: Any, small: Any) -> None:
    lengths = [3, 6, 2]
    losses = []
    for order in ([0, 1, 2], [2, 0, 1]):
        panel = walkers(lengths, order)
        data = panel.transitions()
        steps = standardised(data, unlimited_normalizer(panel), 2)
        settings = small()
        nets = random_nets(jax.random.key(0), settings, "vanilla", 1, 2, 1)
        batch = gather(steps, context_pairs(data, settings.future), settings.history)
        losses.append(float(loss_of(nets, batch, settings)))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.fixture(scope="module")
def opposites(walkers: Any, small: Any) -> CaDM:
    """Fitted in seconds on agents that go opposite ways."""
    settings = small(history=6, steps=1500, learning_rate=5e-3, batch=64)
    return fit_cadm(walkers([30] * 8), settings)


def test_a_context_tells_agents_apart(opposites: CaDM) -> None:
    pushes = np.ones((1, 6), int)
    after = np.ones((1, 4), int)
    for way in (1.0, -1.0):
        walk = way * np.arange(7.0)[None, :, None]
        path = opposites.rollout(walk[:, -1], after, opposites.histories(walk, pushes))
        assert path.shape == (1, 1, 4, 1)
        np.testing.assert_allclose(path[0, 0, :, 0], way * np.arange(7, 11), atol=0.6)


def test_a_model_says_where_it_comes_from(opposites: CaDM, walkers: Any) -> None:
    panel = walkers([30] * 8)
    assert opposites.info.fingerprint == panel.fingerprint()
    assert (opposites.info.agents, opposites.info.transitions) == (8, 240)
    assert (opposites.method, opposites.info.steps) == ("cadm", 1500)
    assert opposites.info.seconds > 0
    (loss,) = opposites.info.training_loss
    assert loss is not None
    assert loss < 0.5


def test_a_fit_follows_from_its_seed(walkers: Any, small: Any) -> None:
    calls: list[tuple[str, int, int]] = []
    settings, panel = small(), walkers([4, 9])

    def leaves(seed: int) -> list[Any]:
        model = fit_cadm(
            panel, settings, "pe-ts", seed, source={"covariates": {}, "task": "walk"},
            progress=lambda *call: calls.append(call),
        )  # fmt: skip
        assert model.info.source == {"task": "walk"}
        return jax.tree.leaves(model.nets)

    first, again, other = leaves(0), leaves(0), leaves(1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert all(np.isfinite(leaf).all() for leaf in first)
    # Members differ.
    assert not np.array_equal(first[0][0], first[0][1])
    assert calls[-1] == ("training of CaDM", 6, 6)
    with pytest.raises(UsageError, match="seed must be between"):
        fit_cadm(panel, settings, seed=-1)
