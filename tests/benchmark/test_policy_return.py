"""Returns of policies in the true task, against a loop over single steps."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from twinfold.benchmark import evaluate_policy
from twinfold.benchmark.policy_return import play_policy
from twinfold.errors import UsageError
from twinfold.tasks.registry import get_task

POLE = replace(get_task("cart_pole"), max_steps=37)


@jax.jit
def one_step(own: Any, state: Any, action: Any) -> Any:
    after = POLE.step(own, state, action)
    return after, POLE.reward(state, action, after), POLE.terminated(after)


class Leaning:
    """Pushes to the side to which the pole leans."""

    def act(self, states: np.ndarray) -> np.ndarray:
        return (states[:, 2] > 0).astype(np.int64)


class Always:
    """Does the same everywhere."""

    def __init__(self, action: Any) -> None:
        self.action = np.asarray(action)

    def act(self, states: np.ndarray) -> np.ndarray:
        return np.tile(self.action, (len(states), *[1] * self.action.ndim))


def test_returns_are_those_of_single_steps() -> None:
    returns, lengths = play_policy(Leaning(), POLE, POLE.test_agents[[1, 2]], 3, seed=4)
    # The starts of planned episodes with the same seed, the same for every agent.
    starts = [jax.random.split(key, 3)[1] for key in jax.random.split(jax.random.key(4), (1, 3))[0]]
    for n, agent in enumerate((1, 2)):
        own = POLE.covariates(POLE.test_agents[agent])
        for e in range(3):
            state, total, steps = POLE.reset(own, starts[e]), 0.0, 0
            while steps < 37:
                action = int(Leaning().act(np.asarray(state)[None])[0])
                state, reward, ended = one_step(own, state, action)
                total, steps = total + float(reward), steps + 1
                if ended:
                    break
            assert (returns[n, e], lengths[n, e]) == (total, steps)
    assert lengths.min() < 37 == lengths.max()  # some end by themselves, some are cut off


def test_an_agents_figures_do_not_depend_on_who_else_is_measured() -> None:
    together = evaluate_policy(Leaning(), POLE, (0, 2, 4), episodes=5, seed=1)
    alone = evaluate_policy(Leaning(), POLE, (2,), episodes=5, seed=1)
    assert together["agents"][1] == alone["agents"][0]
    assert evaluate_policy(Leaning(), POLE, (2,), episodes=5, seed=2)["agents"] != alone["agents"]


def test_a_record_says_what_was_measured() -> None:
    policy = Leaning()
    policy.method = "bcq-p"  # pyright: ignore[reportAttributeAccessIssue]
    policy.task = "cart_pole"  # pyright: ignore[reportAttributeAccessIssue]
    source = {"task": "cart_pole", "policy": "random", "n_agents": 8, "seed": 3}
    policy.info = SimpleNamespace(source=source)  # pyright: ignore[reportAttributeAccessIssue]
    policy.record = lambda: {"steps": 7}  # pyright: ignore[reportAttributeAccessIssue]
    told: list[Any] = []
    found = evaluate_policy(
        policy, POLE, (0, 7), episodes=2, seed=5, progress=lambda *args: told.append(args)
    )
    assert [row["agent"] for row in found["agents"]] == [0, 7]
    assert [row["label"] for row in found["agents"]] == ["2/0.5", "7"]
    assert set(found["agents"][0]) == {
        "agent", "label", "mean", "std", "iqm", "low", "high", "n", "mean_length",
    }  # fmt: skip
    assert found["agents"][0]["n"] == 2
    expected = {"kind": "return", "task": "cart_pole", "dataset": "random", "data_seed": 3}
    expected |= {"method": "bcq-p", "seed": 5, "episodes": 2, "policy": {"steps": 7}}
    assert {name: found[name] for name in expected} == expected
    assert found["paper"]["0"]["return_mean"] == 44.8
    assert told[-1][0] == "steps of the episodes"


def test_a_policy_of_no_known_origin_has_no_figures_of_the_paper() -> None:
    found = evaluate_policy(Leaning(), POLE, (0,), episodes=1)
    assert (found["method"], found["dataset"], found["paper"]) == (None, None, {})
    assert "policy" not in found


GLIDER = replace(
    POLE,
    action_names=("left", "right"),
    action_type="continuous",
    n_actions=None,
    action_low=np.array([-1.0, -1.0]),
    action_high=np.array([1.0, 1.0]),
    step=lambda own, state, action: state + action[0],
    reward=lambda state, action, after: after[0] * action[1],
    terminated=lambda after: jnp.abs(after[0]) > 2.0,
)


def test_a_simulation_that_breaks_down_is_not_dropped() -> None:
    found = evaluate_policy(Always(np.array([np.nan, 1.0], np.float32)), GLIDER, (0,), episodes=2)
    (row,) = found["agents"]
    assert np.isnan(row["mean"])
    assert (row["n"], row["mean_length"]) == (2, 1.0)
    sound = evaluate_policy(Always(np.array([0.5, 1.0], np.float32)), GLIDER, (0,), episodes=2)
    assert sound["agents"][0]["mean_length"] in (4.0, 4.5, 5.0)


@pytest.mark.parametrize(
    ("policy", "task", "message"),
    [
        (Always(2), POLE, "gives the action 2; task 'cart_pole' has 0 to 1"),
        (Always(-1), POLE, "gives the action -1"),
        (Always(0.5), POLE, r"takes integers of shape \(3,\)"),
        (Always([1, 1]), POLE, r"actions of shape \(3, 2\)"),
        (Always(np.array([0.5], np.float32)), GLIDER, r"takes numbers of shape \(3, 2\)"),
    ],
)
def test_actions_that_are_not_the_tasks_are_refused(policy: Any, task: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_policy(policy, task, (0,), episodes=3)


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(UsageError, match="physics of agent 7 are not known; valid: 0 to 4"):
        evaluate_policy(Leaning(), POLE, (7,), episodes=1)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        evaluate_policy(Leaning(), POLE, (0,), episodes=0)
    other = Leaning()
    other.task = "mountain_car"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(UsageError, match="trained for task 'mountain_car', not for 'cart_pole'"):
        evaluate_policy(other, POLE, (0,), episodes=1)
