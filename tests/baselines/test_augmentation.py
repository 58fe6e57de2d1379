"""Simulated trajectories: those of the agent's simulators, from observed starts, with true ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.baselines import (
    AugmentationSettings,
    OfflineSettings,
    augmentation,
    fit_augmented,
    simulate_trajectories,
)
from twinfold.baselines.action_clone import CloneSettings
from twinfold.data.panel import PanelDataset
from twinfold.errors import DivergedError, UsageError
from twinfold.models.behaviour_policy import init_behaviour
from twinfold.models.fitted_model import FittedModel
from twinfold.ope import controllers
from twinfold.ope.posterior_rollouts import posterior_samples
from twinfold.planning.config import PlanConfig
from twinfold.tasks.registry import get_task
from twinfold.tasks.task import Task

RANDOM = AugmentationSettings(trajectories=4, steps=6, actor="random")


@pytest.fixture(scope="module")
def model(random_model: Any) -> FittedModel:
    """Random members with a posterior; the levels are called 0 to 3, as a task's are."""
    return replace(random_model(posterior=True), action_levels=np.arange(4))


@pytest.fixture(scope="module")
def data(random_model: Any, courses: Any) -> PanelDataset:
    made = random_model(posterior=True)
    panel = courses.panel(made, [12] * 5, courses.factors(made))
    return replace(panel, action_levels=np.arange(4))


@pytest.fixture(scope="module")
def task(model: FittedModel, data: PanelDataset) -> Task:
    """Paid for the second state; of the trajectories of agent 1, half end by themselves."""
    endless = replace(
        get_task("cart_pole"),
        name="drift",
        state_names=("s0", "s1", "s2"),
        action_names=("a0",),
        n_actions=4,
        max_steps=6,
        reward=lambda state, action, after: after[1] + 0.1 * action,
        terminated=lambda after: after[1] > jnp.inf,
    )
    paths = simulate_trajectories(model, endless, data, "u1", RANDOM, seed=3).transitions()
    highest = [paths.next_state[paths.segment == n, 1].max() for n in range(4)]
    limit = float(np.median(highest))
    return replace(endless, terminated=lambda after: after[1] > limit)


def test_a_trajectory_is_that_of_its_simulator(
    model: FittedModel, task: Task, data: PanelDataset
) -> None:
    found = simulate_trajectories(model, task, data, "u1", RANDOM, seed=3)
    samples = posterior_samples(model, "u1", 4, 3)
    assert found.reward is not None
    assert found.terminated is not None
    assert found.truncated is not None
    ended = 0
    for n, (_, rows) in enumerate(found.to_frame().groupby("episode_id", sort=False)):
        states = rows[list(task.state_names)].to_numpy()
        actions, rewards = rows["a0"].tolist()[:-1], rows["reward"].tolist()
        sample = jax.tree.map(lambda leaf, n=n: leaf[n], samples)
        carry = sample.init(jnp.asarray(states[0], jnp.float32))
        for t, action in enumerate(actions):
            carry, after = sample.step(carry, sample.encode(jnp.int32(action)))
            np.testing.assert_allclose(after, states[t + 1], rtol=1e-4, atol=1e-5)
            assert rewards[t] == pytest.approx(states[t + 1, 1] + 0.1 * action, rel=1e-5)
            assert bool(task.terminated(states[t + 1])) == rows["terminated"].iloc[t + 1]
        assert rows["terminated"].iloc[-1] or len(actions) == 6
        assert rows["truncated"].iloc[-1] != rows["terminated"].iloc[-1]
        ended += rows["terminated"].iloc[-1]
    assert found.n_segments == 4
    assert ended == 2


def test_trajectories_begin_where_observed_ones_do(
    model: FittedModel, task: Task, data: PanelDataset
) -> None:
    first = np.r_[True, data.segment[1:] != data.segment[:-1]]
    for start in ("panel", "agent"):
        how = RANDOM.model_copy(update={"start": start})
        found = simulate_trajectories(model, task, data, "u1", how)
        begin = found.state[np.r_[True, found.segment[1:] != found.segment[:-1]]]
        among = data.state[first] if start == "panel" else data.state[first][[1] * 4]
        near = np.abs(begin[:, None] - among[None]).max(axis=2) < 1e-5  # float32
        assert near.any(axis=1).all()
        assert start == "agent" or near.any(axis=0).sum() == 4  # none twice


def test_a_seed_decides_the_trajectories(
    model: FittedModel, task: Task, data: PanelDataset
) -> None:
    prints = [
        simulate_trajectories(model, task, data, "u1", RANDOM, seed).fingerprint()
        for seed in (0, 0, 1)
    ]
    assert prints[0] == prints[1] != prints[2]


def broken(model: FittedModel, *members: int) -> FittedModel:
    """A model some of whose members predict NaN."""
    weight = model.members.head.weight.at[jnp.asarray(members)].set(jnp.nan)
    return replace(model, members=eqx.tree_at(lambda m: m.head.weight, model.members, weight))


def test_what_is_not_finite_is_left_out(model: FittedModel, task: Task, data: PanelDataset) -> None:
    """Samples take members in turn: of four, the second is the broken member's."""
    whole = simulate_trajectories(model, task, data, "u1", RANDOM).to_frame()
    found = simulate_trajectories(broken(model, 1), task, data, "u1", RANDOM).to_frame()
    expected = whole[whole["episode_id"] != 1]
    np.testing.assert_allclose(found["s1"], expected["s1"], rtol=1e-5)
    with pytest.raises(DivergedError, match="the simulator of agent 'u1' predicts nothing finite"):
        simulate_trajectories(broken(model, 0, 1, 2), task, data, "u1", RANDOM)


def test_the_planner_earns_more_than_chance(
    model: FittedModel, task: Task, data: PanelDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = replace(task, terminated=lambda after: after[1] > jnp.inf)
    small = PlanConfig().replace(candidates=32, horizon=4)
    monkeypatch.setattr(controllers, "plan_config", lambda name, kind: small)
    earned = {}
    for actor in ("mpc", "random"):
        how = RANDOM.model_copy(update={"actor": actor})
        found = simulate_trajectories(model, endless, data, "u2", how)
        assert found.reward is not None
        earned[actor] = float(np.nansum(found.reward))
    assert earned["mpc"] > earned["random"]


def test_the_behaviour_policy_does_what_was_done(
    model: FittedModel, task: Task, data: PanelDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = CloneSettings(hidden=(16,), steps=200, batch=64, rate=1e-2)
    monkeypatch.setattr(augmentation, "CLONE", small)
    always = replace(data, action=np.where(data.action < 0, -1, 2).astype(np.int32))
    how = RANDOM.model_copy(update={"actor": "behaviour"})
    found = simulate_trajectories(model, task, always, "u1", how)
    taken = np.asarray(found.to_frame()["a0"].dropna(), int)
    assert np.mean(taken == 2) > 0.9


@pytest.mark.parametrize("learned", [True, False])
def test_the_behaviour_policy_of_continuous_actions_is_the_fits(
    random_model: Any, courses: Any, task: Task, learned: bool
) -> None:
    model = random_model(discrete=False, posterior=True)
    data = courses.panel(model, [12] * 5, courses.factors(model))
    glide = replace(
        task,
        action_names=("a0", "a1"),
        action_type="continuous",
        n_actions=None,
        action_low=np.array([-50.0, -50.0]),
        action_high=np.array([50.0, 50.0]),
        reward=lambda state, action, after: after[1],
    )
    if learned:
        standard = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
        policy = init_behaviour(jax.random.key(0), model.normalizer.n_inputs, standard, 2)
        model = replace(model, behaviour=eqx.tree_at(lambda p: p.noise, policy, jnp.zeros(2)))
    how = RANDOM.model_copy(update={"actor": "behaviour"})
    rows = simulate_trajectories(model, glide, data, "u1", how).to_frame().dropna()
    actions = rows[["a0", "a1"]].to_numpy()
    if learned:
        states = jnp.asarray(rows[list(task.state_names)].to_numpy(), jnp.float32)
        expected = jax.vmap(model.agent_behaviour("u1"))(states)
        np.testing.assert_allclose(actions, expected, rtol=1e-3, atol=1e-4)
    else:  # a fit that was told to learn none: any action
        assert np.abs(actions).max() > 25


def test_a_policy_learns_from_what_was_observed_and_what_was_simulated(
    model: FittedModel, task: Task, data: PanelDataset
) -> None:
    settings = OfflineSettings(steps=2, batch=8, hidden=(8,))
    policy = fit_augmented(data, task, "cql", model, "u1", RANDOM, settings, seed=3)
    simulated = simulate_trajectories(model, task, data, "u1", RANDOM, seed=3)
    assert policy.method == "persim-cql-4"
    assert policy.info.agents == ("u1",)
    assert policy.info.simulated == simulated.n_transitions
    assert policy.info.transitions == 12 + simulated.n_transitions
    assert policy.augmentation == RANDOM
    states = np.concatenate([data.state[data.agent == 1][:-1], simulated.transitions().state])
    np.testing.assert_allclose(policy.actor.state_mean, states.mean(axis=0), rtol=1e-4)


def test_what_is_wrong_is_said(model: FittedModel, task: Task, data: PanelDataset) -> None:
    with pytest.raises(UsageError, match="unknown agent 'nobody'"):
        simulate_trajectories(model, task, data, "nobody", RANDOM)
    with pytest.raises(UsageError, match="does not fit task 'cart_pole'"):
        simulate_trajectories(model, get_task("cart_pole"), data, "u1", RANDOM)
    with pytest.raises(UsageError, match="seed"):
        simulate_trajectories(model, task, data, "u1", RANDOM, seed=-1)
