"""Losses against a loop in plain NumPy; what is masked changes nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from twinfold.baselines.cadm import Batch, CaDMNets, loss_of, random_nets
from twinfold.baselines.cadm_settings import CaDMSettings

SMALL = CaDMSettings(hidden=(3, 4), encoder=(3,), context=2, history=2)


def nets_of(variant: Any, seed: int = 0) -> CaDMNets:
    nets = random_nets(jax.random.key(seed), SMALL, variant, 2, 2, 2)
    # Biases begin at zero, which would hide a forgotten one.
    return jax.tree.map(lambda leaf: leaf + 0.1, nets)


def batch_of(seed: int, size: int = 3) -> Batch:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> Any:
        return rng.normal(size=(size, *shape)).astype(np.float32)

    mask: Any = rng.integers(2, size=(size, 2)).astype(bool)
    return Batch(draw(2, 4), mask, draw(2), draw(2), draw(2), draw(2))


def layers(net: Any, x: np.ndarray, activate: Any) -> np.ndarray:
    for k, layer in enumerate(net):
        x = np.array([x @ column for column in np.asarray(layer.weight).T]) + layer.bias
        x = activate(x) if k < len(net) - 1 else x
    return x


def softplus(x: float) -> float:
    return float(np.log1p(np.exp(-abs(x))) + max(x, 0.0))


def loop_loss(nets: CaDMNets, batch: Batch, how: CaDMSettings) -> float:
    """The same, one step and one coordinate at a time."""

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    def swish(x: np.ndarray) -> np.ndarray:
        return x / (1 + np.exp(-x))

    ahead, back = [], []
    for i in range(len(batch.target)):
        steps = [s if m else 0 * s for s, m in zip(batch.steps[i], batch.mask[i], strict=True)]
        context = layers(nets.encoder, np.concatenate(steps), relu)
        rest = [batch.action[i], context]
        out = layers(nets.forward, np.concatenate([batch.inputs[i], *rest]), swish)
        behind = layers(nets.backward, np.concatenate([batch.after[i], *rest]), swish)
        for d in range(2):
            error = (out[d] - batch.target[i][d]) ** 2
            if nets.bounds is not None:
                low, high = (float(bound[d]) for bound in nets.bounds)
                log = high - softplus(high - out[2 + d])
                log = low + softplus(log - low)
                error = error / np.exp(log) + log
            ahead.append(error)
            back.append((behind[d] + batch.target[i][d]) ** 2)
    loss = np.mean(ahead) + how.backward_weight * np.mean(back)
    if nets.bounds is not None:
        loss += how.bound_weight * sum(np.asarray(nets.bounds[1] - nets.bounds[0]))
    return float(loss)


@pytest.mark.parametrize("variant", ["vanilla", "pe-ts"])
@settings(max_examples=15)
@given(seed=st.integers(0, 1000), weight=st.sampled_from([0.0, 0.5, 2.0]))
def test_the_loss_is_that_of_a_loop(variant: Any, seed: int, weight: float) -> None:
    how = SMALL.model_copy(update={"backward_weight": weight})
    nets, batch = nets_of(variant, seed), batch_of(seed)
    found = float(loss_of(nets, batch, how))
    assert found == pytest.approx(loop_loss(nets, batch, how), rel=1e-4, abs=1e-5)


def test_a_step_before_the_beginning_changes_nothing() -> None:
    nets, batch = nets_of("vanilla"), batch_of(1)
    other = batch._replace(steps=np.where(batch.mask[..., None], batch.steps, 7.0))
    assert not batch.mask.all()
    assert not np.array_equal(other.steps, batch.steps)
    assert loss_of(nets, other, SMALL) == loss_of(nets, batch, SMALL)


def test_variances_stay_between_their_bounds() -> None:
    nets = nets_of("pe-ts")
    assert nets.bounds is not None
    low, high = np.asarray(nets.bounds)
    for scale in (1.0, 1e3):
        inputs = scale * batch_of(2, 50).inputs
        _, log = jax.vmap(lambda x: nets.ahead(x, jnp.zeros(2), jnp.zeros(2)))(inputs)
        assert (np.asarray(log) >= low - 1e-4).all()
        # The softplus at the lower bound reaches a hair beyond the upper one.
        assert (np.asarray(log) <= high + 1e-3).all()
