"""Collecting HalfCheetah's data set against MuJoCo's batched simulation of the same control steps.

The bare simulation runs each agent's trajectory in one piece from given actions. Collecting draws
the actions, steps through JAX, and makes a checked data set of the rows.
"""

from __future__ import annotations

import argparse

from measure import interleaved, line, ratio, state_machine

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="random")
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    from twinfold.benchmark.collect import collect, simulate_policy
    from twinfold.tasks import agent_covariates, get_task

    task = get_task("half_cheetah")
    # Only now: without the extra, the line above says what to install.
    from twinfold.tasks.half_cheetah import make_model, rollout

    covariates = agent_covariates(task, args.agents, 0)
    made = simulate_policy(task, covariates, args.policy, seed=0)
    models = [make_model(mass, damping) for mass, damping in covariates.tolist()]
    starts, actions = made.states[:, 0, 0], made.actions[:, 0]

    state_machine()
    steps = args.agents * task.max_steps
    print(f"{args.agents} agents x {task.max_steps} steps, policy {args.policy}\n")
    times = interleaved(
        {
            "collect(): the data set": lambda: collect(task, args.policy, args.agents, 0),
            "simulate_policy(): the trajectories alone": lambda: (
                simulate_policy(task, covariates, args.policy, seed=0).rewards
            ),
            "MuJoCo alone, given the actions": lambda: rollout(models, starts, actions),
        },
        args.repeats,
        warm_up=1,
    )
    for name, seconds in times.items():
        line(name, seconds)
    whole, trajectories, bare = times.values()
    print(f"\ncollect() / MuJoCo alone:      {ratio(whole, bare):.2f}")
    print(f"trajectories / MuJoCo alone:   {ratio(trajectories, bare):.2f}")
    print(f"control steps per second:      {steps / sorted(whole)[len(whole) // 2]:,.0f}")
