"""What a fit leaves open is chosen by held-out errors: kinds of features, rank, length, pull."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.models.factor_model import Structure, init_factor_model
from twinfold.models.rollout import rollout_members
from twinfold.training.ensemble import TrainingContext, stacked
from twinfold.training.fit import fit
from twinfold.training.folds import cut_folds
from twinfold.training.trials import Candidate, Trial, Trials, held_out_noise

trials_module: Any = importlib.import_module("twinfold.training.trials")
choose_module: Any = importlib.import_module("twinfold.training.model_selection")
search_module: Any = importlib.import_module("twinfold.training.net_search")

# The one-standard-error rule

OPTIONS = [Structure(False, 12), Structure(True, 4), Structure(True, 8)]


def rule(excess: Any, *, per_agent: int = 1, level: Any = 0.0) -> tuple[Structure, list[Any]]:
    """The choice for logarithms of errors ``(K, n)`` of so many agents, over a common level."""
    logs = np.repeat(np.asarray(excess, float) + level, per_agent, axis=1)
    agent = np.repeat(np.arange(len(logs[0]) // per_agent), per_agent)
    trials: Any = object.__new__(Trials)
    trials.problem = SimpleNamespace(action_size=1, discrete=False)
    held = SimpleNamespace(agent=agent)
    trials.folds = [SimpleNamespace(held=held, compared=np.arange(len(agent)))]
    trials.nets = lambda candidates, config, what: [
        Trial(Candidate(None), config, [], [np.exp(row)], np.zeros(1)) for row in logs
    ]
    options = OPTIONS[: len(logs)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "structures", lambda *args: options)
        return search_module._structure(trials, FitConfig(), Candidate(None), lambda line: None)


NONE, LARGE, SLIGHT = [0.0] * 6, [0.3, 0.2] * 3, [0.3, -0.2] * 3


@pytest.mark.parametrize(
    ("excess", "expected"),
    [
        ([NONE, LARGE, LARGE], 0),  # the simplest is the best
        ([SLIGHT, NONE, LARGE], 0),  # 0.05 more, a standard error of 0.11
        ([LARGE, NONE, LARGE], 1),  # 0.25 more, a standard error of 0.03
        ([LARGE, SLIGHT, NONE], 1),  # the simplest of those within reach, not the best
        ([LARGE, LARGE, NONE], 2),
        ([NONE, NONE, NONE], 0),
        ([[0.1], [0.0], [0.2]], 1),  # one agent: nothing is known of the scatter
    ],
)
def test_the_simplest_within_one_standard_error_of_the_best(excess: Any, expected: int) -> None:
    chosen, rows = rule(excess)
    assert chosen == OPTIONS[expected]
    assert [(row["features"] == "joint", row["rank"]) for row in rows] == OPTIONS
    best = int(np.mean(excess, axis=1).argmin())
    difference = np.asarray(excess) - np.asarray(excess)[best]
    np.testing.assert_allclose(
        [row["log_excess"] for row in rows], difference.mean(axis=1), atol=1e-3
    )
    if len(excess[0]) > 1:
        errors = difference.std(axis=1, ddof=1) / np.sqrt(len(excess[0]))
        np.testing.assert_allclose([row["standard_error"] for row in rows], errors, atol=1e-3)


def test_errors_are_compared_agent_by_agent() -> None:
    """That some agents are a thousand times harder than others hides no difference."""
    level = np.log([0.001, 1.0, 0.01, 0.1, 1.0, 10.0])
    assert rule([LARGE, NONE], level=level)[0] == OPTIONS[1]


def test_stretches_of_one_agent_are_one_witness() -> None:
    for per_agent in (1, 100):
        assert rule([SLIGHT, NONE], per_agent=per_agent)[0] == OPTIONS[0]


# Whole systems

ROLES = {
    "agent": "unit",
    "time": "t",
    "state": ["x", "y"],
    "action": ["a", "b"],
    "action_type": "continuous",
}
CONFIG = FitConfig(
    effort="quick",
    features="auto",
    state_net=(64,),
    action_net=(32,),
    batch_size=64,
    steps=2000,
    structure_share=1.0,
    schedules=(1.0,),
    shrinkages=(0.001,),
    members=1,
    behaviour_steps=0,
    linear="none",
)


def contact(own: Any, state: Any, action: Any) -> Any:
    """Pushes that count only beyond a wall whose place depends on state and action."""
    push = np.array([state[0] + action[0], state[1] - action[1]])
    both = state[0] - state[1] + action[0] + action[1]
    return 0.3 * state + own * np.abs(push) + 0.5 * own[::-1] * np.abs(both) - 0.5


def product(own: Any, state: Any, action: Any) -> Any:
    """Each effect is one function of the state times one of the action."""
    return 0.6 * state + own * np.sin(2 * state[::-1]) * action + 0.2 * action[::-1]


def panel(respond: Any, n_agents: int = 40, n_rows: int = 30) -> PanelDataset:
    rng = np.random.default_rng(0)
    frames = []
    for n in range(n_agents):
        own = rng.uniform(0.1, 0.4, 2)
        actions = rng.uniform(-2, 2, (n_rows, 2))
        states = [rng.normal(size=2)]
        for action in actions[:-1]:
            states.append(respond(own, states[-1], action))
        actions[-1] = np.nan
        columns = dict(zip("xy", np.array(states).T, strict=True))
        columns |= dict(zip("ab", actions.T, strict=True))
        frames.append(pd.DataFrame({"unit": n, "t": np.arange(n_rows), **columns}))
    return PanelDataset.from_frame(pd.concat(frames), ROLES)


def chosen(dataset: PanelDataset, config: FitConfig) -> tuple[Any, list[str]]:
    lines: list[str] = []
    problem = TrainingContext.of(dataset, dataset.transitions(), config)
    return choose_module.select_model(dataset, problem, lines.append), lines


def test_what_depends_on_state_and_action_together_gets_joint_features() -> None:
    choice, lines = chosen(panel(contact), CONFIG.model_copy(update={"features": "auto"}))
    assert choice.candidate.structure.joint
    compared = choice.validation["structures"]
    assert [row["features"] for row in compared] == ["separable", "joint", "joint", "joint"]
    separable, *joint = (row["geometric_mean"] for row in compared)
    assert min(joint) < 0.8 * separable
    assert f"  chosen: nets with {choice.candidate.structure}" in "\n".join(lines)
    assert choice.validation["rmse"] < 0.5 * choice.validation["persistence_rmse"]


def test_what_is_a_product_of_state_and_action_stays_separable() -> None:
    choice, _ = chosen(panel(product), CONFIG.model_copy(update={"features": "auto"}))
    assert choice.candidate.structure == Structure(False, 18)


def test_a_single_option_is_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    stages: list[str] = []
    real = trials_module.train_members

    def record(*args: Any) -> Any:
        stages.append(args[4])
        return real(*args)

    monkeypatch.setattr(trials_module, "train_members", record)
    config = CONFIG.model_copy(update={"features": "joint", "rank": 3, "steps": 10})
    choice, lines = chosen(panel(product, 6), config)
    assert choice.candidate.structure == Structure(True, 3)
    assert choice.validation["structures"] == []
    assert set(stages) == {"choosing the schedule"}
    assert not any("choosing the features" in line for line in lines)


def test_the_noise_is_the_scale_of_one_step_errors() -> None:
    dataset = panel(product, 6)
    config = CONFIG.model_copy(update={"features": "joint", "rank": 3, "steps": 10})
    problem = TrainingContext.of(dataset, dataset.transitions(), config)
    fold = cut_folds(dataset, problem)[0]
    keys = jax.random.split(jax.random.key(0), 2)
    stack = stacked([init_factor_model(key, config, 6, 2, 2, False) for key in keys])
    held, norm, errors = fold.held, fold.normalizer, []
    for m in range(2):
        member = jax.tree.map(lambda leaf, m=m: leaf[m], stack)
        for s, h in np.argwhere(held.mask):
            before = held.state[s] if h == 0 else held.next_state[s, h - 1]
            predicted = member(
                member.agents[held.agent[s]],
                jnp.asarray(norm.inputs(norm.encode_state(before)), jnp.float32),
                jnp.asarray(norm.encode_action(held.action[s, h]), jnp.float32),
            )
            errors.append(np.abs(norm.encode_target(before, held.next_state[s, h]) - predicted))
    noise = held_out_noise(fold, stack)
    np.testing.assert_allclose(noise, 1.4826 * np.median(errors, axis=0), rtol=1e-4)


def test_without_held_out_data_the_simplest_structure_is_used() -> None:
    dataset = panel(product, 6)
    config = CONFIG.model_copy(update={"validation_share": 0.0, "steps": 10})
    choice, _ = chosen(dataset, config)
    assert choice.candidate.structure == Structure(False, 18)
    assert choice.noise is None
    joint = config.model_copy(update={"features": "joint"})
    assert chosen(dataset, joint)[0].candidate.structure == Structure(True, 4)


# Angles


def pendulums(n_agents: int = 8, n_rows: int = 40) -> pd.DataFrame:
    """Pendulums that are pushed over the top, with angles that count their turns."""
    rng = np.random.default_rng(3)
    frames = []
    for n in range(n_agents):
        weight, speed, angle = rng.uniform(0.1, 0.3), 0.0, rng.uniform(-3, 3)
        rows = []
        for push in rng.uniform(-1, 1, n_rows) + rng.choice([-0.4, 0.4]):
            rows.append((n, len(rows), angle, speed, push))
            speed = 0.9 * speed - weight * np.sin(angle) + 0.4 * push
            angle = angle + speed
        frames.append(pd.DataFrame(rows, columns=["unit", "t", "angle", "speed", "push"]))
        frames[-1].loc[n_rows - 1, "push"] = np.nan
    return pd.concat(frames, ignore_index=True)


TURNING = {**ROLES, "state": ["angle", "speed"], "action": ["push"], "angle": ["angle"]}


@pytest.mark.parametrize("features", ["separable", "joint"])
def test_wrapped_and_counted_angles_train_to_the_same_model(features: Any) -> None:
    counted = pendulums()
    assert np.ptp(counted["angle"]) > 2 * np.pi  # some do go over the top
    wrapped = counted.assign(angle=np.pi - (np.pi - counted["angle"]) % (2 * np.pi))
    assert np.abs(wrapped["angle"].to_numpy()).max() <= np.pi
    config = CONFIG.model_copy(update={"features": features, "rank": 4, "steps": 200})
    models = [fit(PanelDataset.from_frame(x, TURNING), config) for x in (counted, wrapped)]
    rng = np.random.default_rng(0)
    question = (
        rng.integers(0, 8, 20),
        rng.normal(size=(20, 2)) * [3.0, 0.5],
        rng.uniform(-1, 1, (20, 10, 1)),
    )
    paths: list[NDArray[np.float64]] = [
        rollout_members(model.members, model.normalizer, *question) for model in models
    ]
    np.testing.assert_allclose(paths[0], paths[1], atol=1e-2)
    validations = [model.info.validation for model in models]
    for name in ("rmse", "persistence_rmse"):
        assert validations[0][name] == pytest.approx(validations[1][name], rel=1e-2)
    for model in models:
        assert model.band is not None
        assert np.all(model.band[:, 0] <= np.pi)


# How long nets are trained beside a simple model that is better


@pytest.mark.parametrize(
    ("nets", "simple", "rows", "steps", "expected"),
    [
        (0.4, 0.33, 500, 2500, False),  # noise, and seen often: being worse at all is hopeless
        (0.4, 0.33, 100_000, 2500, True),  # seen a few times
        (0.4, 0.25, 100_000, 2500, False),  # and much worse
        (0.19, 0.16, 500, 2500, True),  # next to no noise: 20 times the steps may do a lot
        (0.19, 0.16, 500, 50_000, False),  # there is no longer training
        (0.19, 0.16, 100_000, 50_000, True),
        (0.4, 0.02, 500, 2500, False),  # next to none, as a simple model says; seen often
        (0.4, 0.02, 50_000, 2500, True),  # seen a few times: errors may fall by any factor
    ],
)
def test_nets_go_on_while_longer_training_may_still_help(
    nets: float, simple: float, rows: int, steps: int, expected: bool
) -> None:
    config = FitConfig(steps=50_000)

    def trial(error: float, candidate: Candidate) -> Trial:
        return Trial(candidate, config, [], [np.full(3, error)], np.zeros(1))

    trials: Any = object.__new__(Trials)
    trials.problem = SimpleNamespace(data=range(rows))
    best, idle = trial(simple, Candidate("slopes")), trial(1.0, Candidate("no change"))
    found = trial(nets, Candidate(None, steps=steps))
    assert search_module._hopeful(trials, found, best, idle) is expected
    assert search_module._hopeful(trials, found, None, idle)
