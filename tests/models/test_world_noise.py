"""The noise of the world: its size by column, agent and state, its kind, and draws that have it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.adaptation.adapt import adapt, forget
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.models.noisy_dynamics import with_noise
from twinfold.models.world_noise import WorldNoise, fit_noise
from twinfold.simulation.simulator import Simulator
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

ROLES = {"agent": "id", "time": "t", "state": "x", "action": "a", "action_type": "continuous"}
FAST = FitConfig(linear="levels", rank=0, behaviour_steps=0)


def walks(
    process: float = 0.0, measured: float = 0.0, n_agents: int = 30, n_rows: int = 60
) -> PanelDataset:
    """x' = .8 x + a + level of its own, with noise of either kind."""
    rng = np.random.default_rng(0)
    level, x, rows = rng.normal(size=n_agents), rng.normal(size=n_agents), []
    for t in range(n_rows):
        a = rng.normal(size=n_agents)
        seen = x + measured * rng.normal(size=n_agents)
        rows.append(pd.DataFrame({"id": range(n_agents), "t": t, "x": seen, "a": a}))
        x = 0.8 * x + a + 0.2 * level + process * rng.normal(size=n_agents)
    return PanelDataset.from_frame(pd.concat(rows), ROLES)


@pytest.fixture(scope="module")
def noisy() -> FittedModel:
    return fit(walks(process=0.5), FAST, reserve=0)


def noise_of(**options: Any) -> WorldNoise:
    found = fit(walks(**options), FAST, reserve=0).noise
    assert found is not None
    return found


def test_noise_of_the_process_has_its_size(noisy: FittedModel) -> None:
    noise = noisy.noise
    assert noise is not None
    assert noise.process[0] == pytest.approx(0.5, rel=0.08)
    assert noise.measured[0] < 0.15
    assert (noise.slope == 0).all()
    np.testing.assert_allclose(noise.agent, 1, atol=0.2)


def test_noise_of_measurement_is_told_apart() -> None:
    noise = noise_of(measured=0.5)
    assert noise.measured[0] == pytest.approx(0.5, rel=0.2)
    assert noise.process[0] < 0.35


def test_without_noise_there_is_next_to_none() -> None:
    noise = noise_of()
    assert noise.process[0] + noise.measured[0] < 2e-2


def test_noise_by_agent_and_state_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    n_agents, n_rows = 20, 400
    agent = np.repeat(np.arange(n_agents), n_rows)
    z = rng.normal(size=(len(agent), 2))
    own = np.linspace(0.5, 1.5, n_agents)
    sd = np.stack([own[agent], np.exp(0.5 * z[:, 0])], axis=1)
    residual = sd * rng.normal(size=sd.shape)
    follows = np.r_[False, agent[1:] == agent[:-1]]
    found = fit_noise(residual, z, agent, follows, np.array([0.9, 0.9]), n_agents)
    np.testing.assert_allclose(found.process[0] * found.agent[:, 0], own, rtol=0.15)
    assert (found.slope[0] == 0).all()
    np.testing.assert_allclose(found.slope[1], [0.5, 0], atol=0.07)
    np.testing.assert_allclose(found.agent[:, 1], 1, atol=0.15)
    shown = found.sd(found.agent[3], np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(shown[0], [own[3], np.exp(0.5)], rtol=0.2)
    assert (found.measured < 0.2).all()


def test_draws_spread_as_the_world_does(noisy: FittedModel) -> None:
    agent = Simulator(noisy, 3)
    plan = np.zeros(12)
    draws = agent.sample([0.0], plan, 4000, noise=True)
    # Of x' = .8 x + e the variance is 0.25 (1 - .64^h) / (1 - .64).
    steps = np.arange(1, 13)
    expected = 0.5 * np.sqrt((1 - 0.64**steps) / (1 - 0.64))
    np.testing.assert_allclose(draws[:, :, 0].std(axis=0), expected, rtol=0.12)
    np.testing.assert_allclose(
        draws.mean(axis=0), agent.rollout([0.0], plan).centre, atol=0.08, rtol=0
    )
    noise, ignorance = agent.parts([0.0], plan)
    np.testing.assert_allclose(noise[:, 0], expected, rtol=0.35)
    assert (ignorance[:, 0] < noise[:, 0]).all()
    again = agent.sample([0.0], plan, 4000, noise=True)
    np.testing.assert_array_equal(draws, again)


def test_dynamics_with_noise_have_its_size_and_keep_it(noisy: FittedModel) -> None:
    stack = with_noise(noisy.dynamics(3), noisy, 3, draws=500)
    start = jnp.zeros(1)

    def one(dynamics: Any, key: Any) -> Any:
        carry = dynamics.init_by(start, key)
        carry, first = dynamics.step(carry, dynamics.encode(jnp.zeros(1)))
        return first[0], dynamics.step(carry, dynamics.encode(jnp.zeros(1)))[1][0]

    keys = jax.random.split(jax.random.key(0), 2)
    first, second = jax.vmap(lambda member: one(member, keys[0]))(stack)
    assert float(first.std()) == pytest.approx(0.5, rel=0.12)
    assert float(second.std()) == pytest.approx(0.5 * 1.64**0.5, rel=0.12)
    again, _ = jax.vmap(lambda member: one(member, keys[0]))(stack)
    other, _ = jax.vmap(lambda member: one(member, keys[1]))(stack)
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.2


def test_a_value_with_noise_is_a_mean_over_it(noisy: FittedModel) -> None:
    from twinfold.ope.policy_value import policy_value
    from twinfold.planning.run_task import run_task

    task = run_task(noisy, "-next.x^2")
    options: dict[str, Any] = {"draws": 20, "horizon": 1, "starts": np.zeros((400, 1))}
    still = policy_value(noisy, task, 3, lambda state, key: jnp.zeros(1), **options)
    moved = policy_value(noisy, task, 3, lambda state, key: jnp.zeros(1), noise=True, **options)
    assert still.value - moved.value == pytest.approx(0.25, rel=0.15)
    assert moved.record()["noise"] is True
    assert moved.start_se > 0


def test_noise_is_kept_in_the_run_and_by_agents(noisy: FittedModel, tmp_path: Any) -> None:
    save_run(noisy, tmp_path / "run")
    again = load_run(tmp_path / "run")
    assert again.noise is not None
    assert noisy.noise is not None
    for mine, theirs in zip(again.noise, noisy.noise, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    new = walks(process=0.5, n_agents=31).select_agents([30])
    known = adapt(noisy, new)
    assert known.noise is not None
    assert known.noise.agent[30:].tolist() == [[1.0]]
    left = forget(known, [0, 30])
    assert left.noise is not None
    np.testing.assert_array_equal(left.noise.agent, noisy.noise.agent[1:])
    old = dataclasses.replace(noisy, noise=None)
    with pytest.raises(UsageError, match="fit again"):
        Simulator(old, 3).sample([0.0], [1.0], noise=True)
