"""What every member makes of states and actions: the features that agents' factors weigh.

    target_m = Z_m(s, a) u_m

Axes: M members, K transitions, D state columns, r rank.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from twinfold.models.factor_model import FactorModel
from twinfold.models.normalizer import Normalizer

Floats = NDArray[np.float64]


def features_of(
    members: FactorModel, normalizer: Normalizer, state: Floats, action: NDArray[Any]
) -> Floats:
    """Return Z of every member at some states and actions: ``(M, K, D, r)`` float64.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        state: ``(K, D)`` raw units.
        action: ``(K,)`` level indices or ``(K, A)`` raw units.
    """
    inputs = normalizer.inputs(normalizer.carry(state)).astype(np.float32)
    code = normalizer.encode_action(action)
    code = code.astype(np.int32 if code.ndim == 1 else np.float32)
    # Few sizes, few programs.
    size = 1 << max(len(inputs) - 1, 0).bit_length()
    fill = size - len(inputs)
    inputs = np.pad(inputs, [(0, fill), (0, 0)])
    code = np.pad(code, [(0, fill)] + [(0, 0)] * (code.ndim - 1))
    return member_features(members, inputs, code)[:, : len(state)].astype(np.float64)


def member_features(
    members: FactorModel, inputs: NDArray[np.float32], code: NDArray[Any]
) -> NDArray[np.float32]:
    """Return Z of every member, ``(M, K, D, r)``.

    Args:
        members: a stack.
        inputs: ``(K, F)``, as the nets read them.
        code: ``(K,)`` level indices or ``(K, A)``, as the nets read them.
    """
    # Without the table of factors, whose length would make a program of every number of agents.
    n_members, _, rank = members.agents.shape
    bare = eqx.tree_at(lambda m: m.agents, members, np.zeros((n_members, 0, rank), np.float32))
    return np.asarray(_features(bare, inputs, code))


@jax.jit
def _features(members: FactorModel, inputs: Array, code: Array) -> Array:
    """Z of every member: ``(M, K, D, r)``."""
    return jax.lax.map(lambda member: jax.vmap(member.features)(inputs, code), members)
