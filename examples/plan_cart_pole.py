"""Plan with learned simulators: the task's own goal, and a goal of your own.

The simulators are learned from random actions only. The task's goal is to keep the pole up; the
other goal is to bring the cart to one metre right of the middle without dropping the pole.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from twinfold import FitConfig, collect, fit
from twinfold.benchmark import evaluate_return, provenance, true_covariates
from twinfold.planning import Objective, StickyShooting, make_evaluate
from twinfold.tasks import get_task

AGENT = 3  # a long pole


def closeness(state: jax.Array, action: jax.Array, next_state: jax.Array) -> jax.Array:
    """Reward: 1 at the goal, less further away; an episode that ends earns nothing more."""
    del state, action
    return 1.0 - jnp.abs(next_state[0] - 1.0) / 4.0


def main() -> None:
    task = get_task("cart_pole")
    dataset = collect(task, policy="random", n_agents=500, seed=0)
    source = provenance(task, "random", 500, 0)
    del source["covariates"]  # the hidden physics: never a model input
    model = fit(dataset, FitConfig(seed=0), source=source, log=print)

    record = evaluate_return(model, task, agents=[AGENT], episodes=5)
    print(f"agent {AGENT} keeps the pole up for {record['agents'][0]['mean']:.0f} of 200 steps")

    # A goal of your own: plan in the simulator, act in the true task.
    evaluate = make_evaluate(model.dynamics(AGENT), Objective(closeness, task.terminated))
    planner = StickyShooting(n_actions=2, candidates=500, horizon=40)
    plan = jax.jit(lambda memory, state, key: planner.plan(memory, evaluate, state, key)[:2])
    truth = task.covariates(true_covariates(model, task, [AGENT])[0])
    keys = jax.random.split(jax.random.key(0), 200)
    state, memory = task.reset(truth, keys[0]), planner.init(keys[0])
    for step, key in enumerate(keys):
        action, memory = plan(memory, state, key)
        state = task.step(truth, state, action)
        if step % 40 == 39 or task.terminated(state):
            print(f"step {step + 1}: cart at {state[0]:.2f} m, pole at {state[2]:.3f} rad")
        if task.terminated(state):
            break


if __name__ == "__main__":
    main()
