"""The history of an agent, kept step by step and all at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.baselines import fit_cadm
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles


def test_steps_observed_one_by_one_are_the_history_of_all(small: Any) -> None:
    rng = np.random.default_rng(0)
    states, pushes = rng.uniform(-3, 3, (5, 2)), rng.normal(size=(5, 1))
    model = fit_cadm(_turning(), small(history=4), "pe-ts")
    stack = model.dynamics()
    history = stack.blank_history()
    assert not np.asarray(history.mask).any()
    for t in range(4):
        seen = (jnp.asarray(x, jnp.float32) for x in (states[t], pushes[t], states[t + 1]))
        history = stack.observed(history, *seen)
        assert np.asarray(history.mask).sum() == t + 1
    whole = model.histories(states[None], pushes[None, :4])
    for found, wanted in zip(history, whole, strict=True):
        np.testing.assert_allclose(found, wanted[0], atol=1e-5)
    # The angle is the first column: it turns the short way.
    assert np.abs(np.asarray(history.change)[:, 0]).max() <= np.pi

    # What the stack then predicts is what a rollout from that history predicts.
    informed = stack.with_history(history)
    assert informed.key is not None
    own = jax.vmap(lambda key: jax.random.fold_in(key, 0))(informed.key)
    state = jnp.asarray(states[4], jnp.float32)

    def one(member: Any, key: Any) -> Any:
        standard, context, _ = member.init(state)
        code = member.encode(jnp.asarray(pushes[4], jnp.float32))
        return member.step((standard, context, key), code)[1]

    after = jax.vmap(one)(informed, own)
    path = model.rollout(states[None, 4], pushes[None, 4:], whole)
    np.testing.assert_allclose(path[:, 0, 0], after, rtol=1e-4, atol=1e-5)


def _turning() -> PanelDataset:
    """Two agents with an angle, a speed and a continuous action."""
    import pandas as pd

    rng = np.random.default_rng(1)
    rows = [
        (agent, t, rng.uniform(-3, 3), rng.normal(), rng.normal() if t < 8 else None)
        for agent in range(2)
        for t in range(9)
    ]
    frame = pd.DataFrame(rows, columns=["agent_id", "t", "angle", "speed", "torque"])
    roles = Roles(
        agent="agent_id", time="t", state=("angle", "speed"), action=("torque",),
        action_type="continuous", angle=("angle",),
    )  # fmt: skip
    return PanelDataset.from_frame(frame, roles)
