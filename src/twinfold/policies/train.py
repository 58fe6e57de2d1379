"""Online training of behaviour policies with a library of reinforcement learning.

Training stops soon after the target return: the policies of the PerSim experiments are good, not
optimal. Of all networks measured on the way, the one whose return is nearest the target is kept.

Needs the extra ``policies`` (SBX, the JAX sibling of Stable-Baselines3).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from twinfold.errors import UsageError, one_of
from twinfold.policies.measure import episode_returns
from twinfold.policies.nets import Layers
from twinfold.policies.recipes import Recipe, get_recipe
from twinfold.policies.store import save_policy
from twinfold.tasks.task import Task
from twinfold.utils.seeds import derived_seed

# The returns in the record are from other starts than those seen in training.
_RECORD_SEED = 1_000_003
# The test policy is trained with a seed far from those of the behaviour policies.
_TEST_SEED = 100

Progress = Callable[[str], None]


def _library(module: str = "sbx") -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UsageError(
            "training policies needs SBX; install it with: pip install 'twinfold[policies]'"
        ) from None


def policy_names(recipe: Recipe) -> list[str]:
    """Return the names: the behaviour policies by number, then ``test``."""
    return [*map(str, range(len(recipe.agents))), "test"]


def train_policies(
    task: Task,
    folder: Path,
    *,
    seed: int = 0,
    only: Iterable[str] = (),
    recipe: Recipe | None = None,
    log: Progress = print,
    progress: Progress = print,
) -> list[dict[str, Any]]:
    """Train the policies of a task one after another and write each as soon as it is ready.

    Args:
        task: the task.
        folder: where the networks and recipes go.
        seed: of the first policy; the others follow from it.
        only: names of the policies to train; all if empty.
        recipe: None for the task's own.
        log: called with a line of text per policy that was written.
        progress: called with a line of text per measurement, of which there are many.

    Returns:
        The records that were written.

    Raises:
        UsageError: if a name is unknown, or the library is not installed.
    """
    recipe = recipe or get_recipe(task.name)
    known = policy_names(recipe)
    names = list(only) or known
    for name in names:
        if name not in known:
            raise UsageError(f"unknown policy {name!r} of {task.name!r}; {one_of(known)}")
    _library()
    records = []
    for name in names:
        record, layers = train_policy(task, name, recipe, seed=seed, progress=progress)
        save_policy(folder, record, layers)
        earned = record["return_own_agent"]["mean"]
        log(f"{task.name} {name}: kept step {record['steps']}, return {earned:.1f}")
        records.append(record)
    return records


def train_policy(
    task: Task, name: str, recipe: Recipe, *, seed: int, progress: Progress = print
) -> tuple[dict[str, Any], Layers]:
    """Train one policy.

    Returns:
        Its record (plain JSON values) and its network.
    """
    testing = name == "test"
    agent = recipe.default_agent if testing else recipe.agents[int(name)]
    target = recipe.test_target if testing else recipe.target
    seed = derived_seed(seed + (_TEST_SEED if testing else int(name)))
    start = time.perf_counter()

    def measured(layers: Layers, step: int) -> float:
        value = float(episode_returns(task, layers, agent, recipe.eval_episodes, step).mean())
        if abs(value - target) <= recipe.close * abs(target):
            # A few episodes got it here by luck, perhaps: this figure decides what is kept.
            value = float(episode_returns(task, layers, agent, recipe.record_episodes, step).mean())
        progress(
            f"{task.name} {name}: step {step}, return {value:.1f} (target {target:g}), "
            f"{time.perf_counter() - start:.0f} s"
        )
        return value

    layers, step = _learn(task, agent, target, recipe, seed, measured)
    seconds = time.perf_counter() - start
    own = episode_returns(task, layers, agent, recipe.record_episodes, _RECORD_SEED)
    tests = episode_returns(task, layers, task.test_agents, recipe.record_episodes, _RECORD_SEED)
    record = {
        "task": task.name,
        "name": name,
        "algorithm": recipe.algorithm,
        "library": "sbx-rl",
        "library_version": importlib.metadata.version("sbx-rl"),
        "agent": dict(zip(task.covariate_names, agent, strict=True)),
        "target_return": target,
        "seed": seed,
        "steps": step,
        "seconds": round(seconds, 1),
        "recipe": {
            "hidden": list(recipe.hidden),
            "settings": recipe.settings,
            "action_noise": recipe.action_noise,
            "max_steps": recipe.max_steps,
            "eval_every": recipe.eval_every,
            "eval_episodes": recipe.eval_episodes,
            "record_episodes": recipe.record_episodes,
            "tolerance": recipe.tolerance,
            "patience": recipe.patience,
            "close": recipe.close,
        },
        "episodes": recipe.record_episodes,
        "return_own_agent": _summary(own[0]),
        "return_test_agents": [_summary(row) for row in tests],
    }
    return record, layers


def _summary(returns: np.ndarray) -> dict[str, float]:
    return {"mean": round(float(returns.mean()), 2), "std": round(float(returns.std()), 2)}


def _learn(
    task: Task,
    agent: tuple[float, ...],
    target: float,
    recipe: Recipe,
    seed: int,
    measured: Callable[[Layers, int], float],
) -> tuple[Layers, int]:
    """Train until shortly after the target; return the network nearest to it, and its step."""
    from twinfold.policies.env import TaskEnv

    settings = dict(recipe.settings)
    if recipe.action_noise:
        size = len(task.action_names)
        noise = _library("stable_baselines3.common.noise").NormalActionNoise
        settings["action_noise"] = noise(np.zeros(size), np.full(size, recipe.action_noise))
    model = getattr(_library(), recipe.algorithm)(
        "MlpPolicy",
        TaskEnv(task, agent),
        seed=seed,
        policy_kwargs={"net_arch": list(recipe.hidden)},
        **settings,
    )

    callbacks = _library("stable_baselines3.common.callbacks")

    class Snapshots(callbacks.BaseCallback):
        """Measures the greedy network, keeps the nearest to the target, says when to stop."""

        kept: tuple[float, int, Layers] | None = None
        since = 0

        def _on_step(self) -> bool:
            if self.num_timesteps % recipe.eval_every:
                return True
            layers = _layers(model)
            value = measured(layers, self.num_timesteps)
            gap = abs(value - target)
            if self.kept is None or gap < self.kept[0]:
                self.kept = (gap, self.num_timesteps, layers)
            self.since += value >= target or self.since > 0
            return gap > recipe.tolerance and self.since <= recipe.patience

    snapshots = Snapshots()
    model.learn(recipe.max_steps, callback=snapshots)
    if snapshots.kept is None:
        raise UsageError(
            f"max_steps ({recipe.max_steps}) must be at least eval_every ({recipe.eval_every})"
        )
    _, step, layers = snapshots.kept
    return layers, step


def _layers(model: Any) -> Layers:
    """Return the network that acts: of TD3 the actor, of DQN the values."""
    policy = model.policy
    state = policy.actor_state if hasattr(policy, "actor_state") else policy.qf_state
    dense = state.params["params"]
    return tuple(
        (np.array(dense[f"Dense_{i}"]["kernel"]), np.array(dense[f"Dense_{i}"]["bias"]))
        for i in range(len(dense))
    )
