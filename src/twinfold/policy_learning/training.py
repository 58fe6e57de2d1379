"""Training of a policy in a world: one compiled program, called a few times so that it can tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from twinfold import __version__
from twinfold.policy_learning.actor_critic import Policy
from twinfold.policy_learning.policy import PolicyInfo, TrainedPolicy
from twinfold.policy_learning.ppo import Tally, Training, n_updates, start, update
from twinfold.policy_learning.settings import PolicyLearningSettings
from twinfold.policy_learning.world import World

Progress = Callable[[str, int, int], None]
Before = Callable[[Policy], Policy]
_PARTS = 10  # of the training: progress, interrupts, and a figure of the history after each


def train_policy(
    world: World,
    settings: PolicyLearningSettings | None = None,
    key: Array | None = None,
    progress: Progress | None = None,
    *,
    before: Before | None = None,
) -> TrainedPolicy:
    """Return a policy trained in a world by proximal policy optimisation.

    Args:
        world: models, starts, reward and end.
        settings: the defaults if None.
        key: of weights, choices and starts; ``jax.random.key(0)`` if None.
        progress: receives (what, updates done, updates in all).
        before: makes the policy that training begins with out of a random one, such as a clone of
            recorded actions.
    """
    settings = settings or PolicyLearningSettings()
    key_start, key_steps = jax.random.split(jax.random.key(0) if key is None else key)
    begun = time.perf_counter()
    policy, training = start(world, settings, key_start)
    if before is not None:
        training = training._replace(nets=before(policy).nets)

    total, done, tallies = n_updates(settings, world.n_models), 0, []
    for part in range(_PARTS):
        count = total * (part + 1) // _PARTS - done
        if count:
            training, tally = _train_part(
                training, world, settings, key_steps, jnp.int32(done), jnp.int32(count)
            )
            tallies.append(jax.tree.map(float, tally))  # waits, so that progress is true
        done += count
        if progress is not None:
            progress("training of a policy", done, total)

    n_each = training.earned.shape[1]
    return TrainedPolicy(
        policy=Policy(jax.tree.map(np.asarray, training.nets), world.scale, world.actions),
        settings=settings,
        info=PolicyInfo(
            twinfold=__version__,
            jax=jax.__version__,
            device=jax.devices()[0].device_kind,
            models=world.n_models,
            steps=total * settings.unroll * world.n_models * n_each,
            history=tuple(_mean(tally.returns, tally.episodes) for tally in tallies),
            halted=_mean(tallies[-1].halted, tallies[-1].episodes),
            seconds=round(time.perf_counter() - begun, 2),
        ),
    )


def _mean(total: float, count: float) -> float | None:
    """Return a mean, None of nothing and where it is not finite."""
    return total / count if count and np.isfinite(total) else None


@eqx.filter_jit
def _train_part(
    training: Training,
    world: World,
    settings: PolicyLearningSettings,
    key: Array,
    first: Int[Array, ""],
    count: Int[Array, ""],
) -> tuple[Training, Tally]:
    """Take ``count`` updates from number ``first`` on; return the policy and what it earned."""

    def one(number: Array, now: Any) -> Any:
        training, tally = now
        after, new = update(training, world, settings, jax.random.fold_in(key, number))
        return after, jax.tree.map(jnp.add, tally, new)

    nothing = Tally(*(jnp.zeros(()) for _ in Tally._fields))
    return jax.lax.fori_loop(first, first + count, one, (training, nothing))
