"""Shapes of a run's nets: members and behaviour policy, by the structure that its record says.

Sizes are those of ``run_schema``.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from twinfold.models.behaviour_policy import Behaviour, init_behaviour
from twinfold.models.factor_model import FactorModel, Structure, init_factor_model
from twinfold.models.linear_terms import LinearTerms, n_ramps
from twinfold.models.ramps import Ramps
from twinfold.training.run_schema import Arrays, RunRecord


def members_like(record: RunRecord, arrays: Arrays, size: dict[str, int]) -> Any:
    """Return the shapes of the stack of members, by the structure that the record says."""
    config, info, uneven = record.config, record.info, record.uneven
    if len(config.state_net) + len(config.action_net) > len(arrays):
        raise ValueError("the config in run.json has more layers than there are arrays")
    linear = None
    if "members.linear.shared" in arrays:
        start, ramps = arrays.get("members.linear.ramps.start"), None
        if start is not None and start.ndim == 3:
            ramps = Ramps.blank(size["I"] + (size["L"] or size["A"]), start.shape[2])
        n_features = size["q"] + n_ramps(ramps, uneven)
        linear = LinearTerms(jnp.zeros((n_features, size["D"])), info.own, ramps)

    def fresh(key: jax.Array) -> FactorModel:
        member = init_factor_model(
            key,
            config,
            size["N"],
            size["D"],
            size["L"] or size["B"],
            size["L"] > 0,
            Structure(info.features == "joint", info.rank),
            size["I"],
            linear,
            uneven,
        )
        if "members.edge" not in arrays:
            return member
        edge = jnp.zeros((2, size["I"]))
        return eqx.tree_at(lambda m: m.edge, member, edge, is_leaf=lambda x: x is None)

    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size["M"]))
    return jax.eval_shape(jax.vmap(fresh), keys)


def behaviour_like(arrays: Arrays, size: dict[str, int]) -> Any:
    """Return the shapes of the policy of the data; None if the run has none."""
    if size["L"] or not any(name.startswith("behaviour") for name in arrays):
        return None

    def fresh() -> Behaviour:
        factors = jnp.zeros((size["N"], size["r"]))
        n_inputs = size["D"] + size["W"] // 2
        return init_behaviour(jax.random.key(0), n_inputs, factors, size["A"])

    return jax.eval_shape(fresh)
