"""Recipes for training the behaviour policies: agents, targets and settings.

The agents and the targets are those of the PerSim experiments (arXiv 2102.06961). The settings of
DQN and TD3 are ours, chosen so that a policy passes its target within minutes on one core.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from twinfold.errors import UsageError, one_of


@dataclass(frozen=True)
class Recipe:
    """Training of all policies of a task.

    Attributes:
        algorithm: ``"DQN"`` or ``"TD3"``, classes of the library.
        agents: covariates of the agents that the behaviour policies are trained on.
        default_agent: covariates of the agent that the test policy is trained on.
        target: the return that a behaviour policy is to have on its own agent.
        test_target: the return that the test policy is to have on the default agent.
        hidden: widths of the hidden layers.
        settings: arguments of the algorithm.
        action_noise: standard deviation of the exploration noise (TD3).
        max_steps: steps in the task after which training stops, target reached or not.
        eval_every: steps between two measurements of the greedy policy.
        eval_episodes: episodes per measurement.
        record_episodes: episodes of the measurements that decide what is kept, and of the record.
        tolerance: training stops at once when the return is that close to the target.
        patience: measurements after the target was passed without coming that close, before
            training stops.
        close: returns within this share of the target are measured again, with more episodes.
    """

    algorithm: str
    agents: tuple[tuple[float, ...], ...]
    default_agent: tuple[float, ...]
    target: float
    test_target: float
    hidden: tuple[int, ...]
    max_steps: int
    eval_every: int
    eval_episodes: int
    record_episodes: int
    tolerance: float
    patience: int
    settings: dict[str, Any] = field(default_factory=dict)
    action_noise: float = 0.0
    close: float = 0.25


RECIPES: dict[str, Recipe] = {
    "mountain_car": Recipe(
        algorithm="DQN",
        agents=((0.0003,), (0.00075,), (0.00175,), (0.0025,), (0.003,)),
        default_agent=(0.0025,),
        target=-200.0,
        test_target=-150.0,
        hidden=(128, 128),
        max_steps=200_000,
        eval_every=250,
        eval_episodes=20,
        record_episodes=200,
        tolerance=10.0,
        patience=60,
        settings={
            "learning_rate": 4e-3,
            "batch_size": 128,
            "buffer_size": 10_000,
            "learning_starts": 1000,
            "gamma": 0.98,
            "target_update_interval": 600,
            "train_freq": 16,
            "gradient_steps": 8,
            "exploration_fraction": 0.2,
            "exploration_final_eps": 0.07,
        },
    ),
    "cart_pole": Recipe(
        algorithm="DQN",
        agents=((6.0, 0.5), (14.0, 0.5), (10.0, 0.5), (10.0, 0.675), (10.0, 0.325)),
        default_agent=(10.0, 0.5),
        target=120.0,
        test_target=150.0,
        hidden=(128, 128),
        max_steps=100_000,
        eval_every=250,
        eval_episodes=50,
        record_episodes=200,
        tolerance=6.0,
        patience=60,
        settings={
            "learning_rate": 1e-3,
            "batch_size": 64,
            "buffer_size": 100_000,
            "learning_starts": 1000,
            "gamma": 0.99,
            "target_update_interval": 100,
            "train_freq": 16,
            "gradient_steps": 8,
            "exploration_fraction": 0.16,
            "exploration_final_eps": 0.04,
        },
    ),
    "half_cheetah": Recipe(
        algorithm="TD3",
        agents=((1.4, 0.6), (1.4, 1.4), (0.6, 0.6), (0.6, 1.4)),
        default_agent=(1.0, 1.0),
        target=3000.0,
        test_target=4000.0,
        hidden=(128, 128),
        max_steps=400_000,
        eval_every=5000,
        eval_episodes=5,
        record_episodes=50,
        tolerance=150.0,
        patience=15,
        action_noise=0.1,
        settings={
            "learning_rate": 1e-3,
            "qf_learning_rate": 1e-3,
            "batch_size": 128,
            "buffer_size": 400_000,
            "learning_starts": 5000,
            "gamma": 0.99,
            "train_freq": 8,
            "gradient_steps": 8,
        },
    ),
}


def get_recipe(task: str) -> Recipe:
    """Return the recipe of a task.

    Raises:
        UsageError: if the task has none, with those that have.
    """
    if task not in RECIPES:
        raise UsageError(f"no recipe for task {task!r}; {one_of(RECIPES)}")
    return RECIPES[task]
