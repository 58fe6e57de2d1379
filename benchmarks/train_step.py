"""One training step of one member against the bare matrix products of the same shapes, one core.

A step gathers a batch, predicts, differentiates and takes one step of Adam, agent factors included.
The bare products are the two of the state net forwards and the three backwards; their results are
added to the weights, so that they are needed.
"""

from __future__ import annotations

import argparse

from measure import interleaved, line, pin_to_one_core, ratio, state_machine

pin_to_one_core()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from twinfold.config import FitConfig  # noqa: E402
from twinfold.models.factor_model import default_rank, init_factor_model  # noqa: E402
from twinfold.tasks import get_task  # noqa: E402
from twinfold.training.train_step import CHUNK, Layout, TrainData, init_state, run_chunk  # noqa: E402


@jax.jit
def bare(
    first: jax.Array, last: jax.Array, inputs: jax.Array, errors: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Forward ``x @ W1 @ W2``, backward three products, for every batch ``(C, B, .)``."""

    def one_step(
        weights: tuple[jax.Array, jax.Array], batch: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        first, last = weights
        x, error = batch
        hidden = x @ first
        error = error + 1e-3 * (hidden @ last)
        change_last = hidden.T @ error
        change_first = x.T @ (error @ last.T)
        return (first - 1e-6 * change_first, last - 1e-6 * change_last), None

    return jax.lax.scan(one_step, (first, last), (inputs, errors))[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="cart_pole", help="gives the sizes of state and action")
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--transitions", type=int, default=11_000)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()

    task, config = get_task(args.task), FitConfig()
    n_state, levels = len(task.state_names), task.n_actions or 0
    rank, batch = default_rank(False, levels, True), config.batch_size
    model = init_factor_model(jax.random.key(0), config, args.agents, n_state, levels, True)
    rng = np.random.default_rng(0)
    data = TrainData(
        agent=jnp.asarray(rng.integers(args.agents, size=args.transitions), jnp.int32),
        inputs=jnp.asarray(rng.normal(size=(args.transitions, n_state)), jnp.float32),
        action=jnp.asarray(rng.integers(levels, size=args.transitions), jnp.int32),
        target=jnp.asarray(rng.normal(size=(args.transitions, n_state)), jnp.float32),
    )
    rows = jnp.asarray(rng.integers(args.transitions, size=(CHUNK, 1, batch)), jnp.int32)
    layout, training = Layout.of(model), init_state([model])
    settings = (
        jnp.asarray(0),
        jnp.asarray(config.steps),
        jnp.asarray(1e-3, jnp.float32),
        jnp.asarray([max(config.shrinkages) / args.transitions], jnp.float32),
        jnp.asarray(config.weight_decay, jnp.float32),
    )

    def train() -> jax.Array:
        global training
        training, loss = run_chunk(layout, training, data, rows, *settings)  # gives up its input
        return loss

    first, last = model.state_layers[0].weight, model.head.weight
    inputs = jnp.asarray(rng.normal(size=(CHUNK, batch, n_state)), jnp.float32)
    errors = jnp.asarray(rng.normal(size=(CHUNK, batch, n_state * rank)), jnp.float32)

    state_machine()
    print(
        f"batch {batch}; {args.agents} agents, {args.transitions} transitions; net "
        f"{n_state}-{first.shape[1]}-{n_state * rank}, {training.vector.shape[1]} parameters\n"
    )
    times = interleaved(
        {
            "a training step of one member": train,
            "its bare products": lambda: bare(first, last, inputs, errors),
        },
        args.repeats,
    )
    for name, seconds in times.items():
        line(name, [value / CHUNK for value in seconds], 1e6, "µs")
    step, products = times.values()
    print(f"\nstep / bare products: {ratio(step, products):.2f}")
