"""Systems that adaptation is measured on: their panels, and the runs that adapt to new agents.

The fourth system, two tanks with leaks, was never looked at during development.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
RUNS = ROOT / "runs" / "bench"
UNSEEN_SEED = 777  # of agents that no fit has seen
RESERVED = 100


def panel(task: str, data: str, n_agents: int, seed: int) -> Any:
    """One trajectory of each of many agents."""
    if task == "tanks":
        return tanks(n_agents, seed)
    from twinfold.benchmark.collect import collect
    from twinfold.tasks import get_task

    return collect(get_task(task), data, n_agents, seed)


def tanks(n_agents: int, seed: int, course: int | None = None, switch: bool = False) -> Any:
    """Two tanks in a row, filled by a pump; leaks and pipes differ between agents. 2 % noise.

    Args:
        n_agents: N.
        seed: of the agents.
        course: of what they do; the same as ``seed`` if None.
        switch: whether each agent's physics become those of the next one halfway.
    """
    import pandas as pd

    from twinfold import PanelDataset

    drawn = np.random.default_rng((seed, 23))
    physics = drawn.uniform([0.2, 0.1, 0.05], [0.6, 0.4, 0.3], (n_agents, 3))
    rng = drawn if course is None else np.random.default_rng((seed, course, 29))
    pump, pipe, leak = physics.T
    level, wish, parts = rng.uniform(0.5, 2.0, (n_agents, 2)), np.zeros(n_agents), []
    for t in range(121):
        if t % 8 == 0:
            wish = rng.uniform(0, 1, n_agents)
        if switch and t == 60:
            pump, pipe, leak = np.roll(physics, -1, axis=0).T
        action = np.clip(wish + 0.1 * rng.normal(size=n_agents), 0, 1)
        seen = level + 0.02 * rng.normal(size=level.shape)
        parts.append(np.column_stack([seen, action if t < 120 else np.full(n_agents, np.nan)]))
        flow = pipe * np.sqrt(level[:, 0])
        change = np.column_stack([pump * action - flow, flow - leak * np.sqrt(level[:, 1])])
        level = np.maximum(level + change, 0.0)
    table = np.stack(parts, axis=1)  # (N, T, 3)
    frame = pd.DataFrame(
        {
            "tank": np.repeat([f"tank-{seed}-{n}" for n in range(n_agents)], 121),
            "minute": np.tile(np.arange(121), n_agents),
            **{name: table[..., k].ravel() for k, name in enumerate(("upper", "lower", "valve"))},
        }
    )
    roles = {
        "agent": "tank",
        "time": "minute",
        "state": ["upper", "lower"],
        "action": ["valve"],
        "action_type": "continuous",
    }
    return PanelDataset.from_frame(frame, roles)


def again(task: str, data: str, agents: list[int], seed: int, switch: bool) -> Any:
    """Other trajectories of agents of the fits; with ``switch`` of two agents, half of either.

    Args:
        task: a task, or tanks.
        data: policy.
        agents: ids; of tanks, ids that end in the number of the tank.
        seed: of starts and policy.
        switch: whether each agent's physics become those of the next one halfway.
    """
    if task == "tanks":
        return tanks(500, 0, course=seed, switch=switch).select_agents(agents)
    import jax.numpy as jnp

    from twinfold import PanelDataset
    from twinfold.benchmark.collect import Trajectories, simulate_policy, task_roles, to_frame
    from twinfold.policies import get_policy
    from twinfold.tasks import agent_covariates, get_task

    true = get_task(task)
    physics = agent_covariates(true, 500, 0)[agents]
    if not switch:
        found = simulate_policy(true, physics, data, seed=seed)
    else:
        half = true.max_steps // 2 if task != "cart_pole" else 60
        one = simulate_policy(true, physics, data, 1, half, seed)
        policy = get_policy(true, data)
        # The second half begins where the first one ended: its start travels with the physics.
        columns = range(one.states.shape[-1])
        own = true.covariates(np.roll(physics, -1, axis=0))
        starts = tuple(jnp.asarray(one.states[:, 0, -1, d]) for d in columns)
        rest = dataclasses.replace(
            true,
            reset=lambda given, key: jnp.stack(given[1]),
            step=lambda given, state, action: true.step(given[0], state, action),
        )
        from twinfold.benchmark import collect

        later = collect._simulate(
            rest,
            lambda given, state, key: policy(given[0], state, key),
            1,
            true.max_steps - half,
            (own, starts),
            np.uint32(seed + 1),
        )
        two = Trajectories(*(np.asarray(part) for part in later))
        mask = two.mask & one.mask[:, :, -1:] & ~one.terminated[..., None]
        found = Trajectories(
            states=np.concatenate([one.states, two.states[:, :, 1:]], axis=2),
            actions=np.concatenate([one.actions, two.actions], axis=2),
            rewards=np.concatenate([one.rewards, two.rewards], axis=2),
            mask=np.concatenate([one.mask, mask], axis=2),
            terminated=one.terminated | two.terminated,
        )
    panel = PanelDataset.from_frame(to_frame(true, found), task_roles(true))
    return dataclasses.replace(panel, agent_ids=tuple(agents[int(n)] for n in panel.agent_ids))


def fitted(task: str, data: str) -> Any:
    """The run whose nets have not seen the reserved agents; fitted if it is not there yet."""
    from twinfold import FitConfig, fit, load_run
    from twinfold.benchmark.suite import load_suite

    out = RUNS / f"adaptation-{task}-{data}"
    if out.exists():
        return load_run(out)
    suite = load_suite(ROOT / "suites" / "table1.toml")
    config = suite.settings("persim", task) if task in suite.tasks else FitConfig()
    assert isinstance(config, FitConfig)
    whole = panel(task, data, 500, 0)
    ids = list(whole.agent_ids)
    others = 5 + np.random.default_rng(0).permutation(len(ids) - 5)
    order = [0, 1, 2, 3, 4, *others.tolist()]
    reserved = whole.select_agents([ids[n] for n in sorted(order[:RESERVED])])
    used = whole.select_agents([ids[n] for n in sorted(order[RESERVED:])])
    source = {"task": task, "policy": data, "n_agents": 500, "seed": 0}
    return fit(used, config, out=out, reserve=reserved, source=source, log=print)


def unseen(task: str, data: str, n_agents: int, seed: int = UNSEEN_SEED) -> Any:
    """Data of agents that no fit has seen, under ids of their own."""
    found = panel(task, data, n_agents + 5, seed)
    kept = found.select_agents(list(found.agent_ids)[5:])
    return dataclasses.replace(kept, agent_ids=tuple(f"new {name}" for name in kept.agent_ids))


def first_rows(data: Any, count: int) -> Any:
    """The first transitions of each agent."""
    place = np.arange(len(data)) - np.searchsorted(data.agent, data.agent)
    return data.select(place < count)
