"""One control step against the bare matrix products of the same shapes, on one core.

A control step is ``StickyShooting.plan``: candidates are drawn, rolled out by every member of the
ensemble with reward and termination, scored and compared. The bare products are those of the
members' nets alone, for as many candidates and steps, without bias, activation, reward or search.
"""

from __future__ import annotations

import argparse

from measure import interleaved, line, pin_to_one_core, random_model, ratio, state_machine

pin_to_one_core()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from twinfold.config import FitConfig  # noqa: E402
from twinfold.models.agent_dynamics import AgentDynamics  # noqa: E402
from twinfold.planning import Objective, StickyShooting, make_evaluate  # noqa: E402
from twinfold.tasks import get_task  # noqa: E402


@jax.jit
def plan_once(
    stack: AgentDynamics,
    planner: StickyShooting,
    memory: jax.Array,
    state: jax.Array,
    key: jax.Array,
):
    evaluate = make_evaluate(stack, OBJECTIVE)
    return planner.plan(memory, evaluate, state, key)


@jax.jit
def score(stack: AgentDynamics, state: jax.Array, actions: jax.Array) -> jax.Array:
    return make_evaluate(stack, OBJECTIVE)(state, actions)


def bare_of_one(first: jax.Array, last: jax.Array, start: jax.Array, horizon: int) -> jax.Array:
    """``horizon`` times ``x @ first @ last``; the next x is the first columns of the result."""
    size = first.shape[0]

    def one_step(out: jax.Array, _: None) -> tuple[jax.Array, None]:
        return out[:, :size] @ first @ last, None

    out, _ = jax.lax.scan(one_step, start, None, length=horizon)
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="cart_pole", help="gives the sizes of state and action")
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--horizon", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=30)
    args = parser.parse_args()

    task, config = get_task(args.task), FitConfig()
    OBJECTIVE = Objective.of_task(task)
    stack = random_model(task, config).dynamics(3)
    planner = StickyShooting(task.n_actions or 0, candidates=args.candidates, horizon=args.horizon)
    memory, state = planner.init(jax.random.key(0)), jnp.zeros(len(task.state_names))
    keys = iter(jax.random.split(jax.random.key(1), 10 * args.repeats + 10))
    actions = planner.propose(memory, next(keys))

    first, last = stack.state_layers[0].weight, stack.head.weight  # (M, D, h), (M, h, L * D)
    # Scaled so that 50 products neither grow nor vanish.
    gain = float(jnp.linalg.norm(first[0] @ last[0][:, : first.shape[1]], 2))
    last = last / gain
    start = jnp.asarray(
        np.random.default_rng(0).normal(size=(args.candidates, last.shape[-1])), jnp.float32
    )

    @jax.jit
    def bare_in_turn(first: jax.Array, last: jax.Array, start: jax.Array) -> jax.Array:
        return jax.lax.map(lambda w: bare_of_one(w[0], w[1], start, args.horizon), (first, last))

    @jax.jit
    def bare_at_once(first: jax.Array, last: jax.Array, start: jax.Array) -> jax.Array:
        return jax.vmap(lambda w, u: bare_of_one(w, u, start, args.horizon))(first, last)

    state_machine()
    sizes = " x ".join(str(n) for n in (len(first), args.candidates, args.horizon))
    print(
        f"members x candidates x horizon: {sizes}; net {first.shape[1]}-{first.shape[2]}-"
        f"{last.shape[2]}\n"
    )
    times = interleaved(
        {
            "control step: plan()": lambda: plan_once(stack, planner, memory, state, next(keys)),
            "scores of given candidates alone": lambda: score(stack, state, actions),
            "bare products, members one after the other": lambda: bare_in_turn(first, last, start),
            "bare products, members in one batched product": lambda: bare_at_once(
                first, last, start
            ),
        },
        args.repeats,
    )
    for name, seconds in times.items():
        line(name, seconds, 1e3, "ms")
    step, scores, *bare = times.values()
    bare = min(bare, key=np.median)
    print(f"\nbare / scores:       {ratio(bare, scores):.2f} of what the faster products reach")
    print(f"bare / control step: {ratio(bare, step):.2f}")
