"""What stands for missing values of a state, by nets where these predict what no linear model does.

The filter is that of ``filling``; a step is predicted by the ensemble's median with the agents'
factors, its slopes are those of the nets, and what the members differ by is open:

    Q = Sigma share + (spread of the members)^2

Axes: M members, R rows, L segments, N agents, D state columns.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from twinfold.data.panel import PanelDataset
from twinfold.metrics import mad_std
from twinfold.models.factor_model import FactorModel
from twinfold.models.normalizer import Normalizer
from twinfold.models.state_filter import FILTER, Passed, filtered
from twinfold.utils.device import on_device

Floats = NDArray[np.float64]

_BATCH = 1024  # states per call of the compiled program


def filtered_by_nets(
    panel: PanelDataset,
    normalizer: Normalizer,
    members: FactorModel,
    noise: Floats,
    agent: NDArray[np.integer],
    known: Floats | None = None,
) -> Passed:
    """Return what the rows before, and what all rows, say in place of missing values.

    Args:
        panel: some of its values are missing; its actions as the model counts them.
        normalizer: float64, on the host; without a memory.
        members: a stack.
        noise: ``(D,)``, of one step, in standard deviations of the target.
        agent: ``(R,)``, whose factors each row goes by.
        known: ``(R, E)``, known inputs as the model reads them.
    """
    step = _NetStep(panel, normalizer, members, noise, agent, known)
    return filtered(panel, normalizer, step)


class _NetStep:
    """One step by an ensemble, of standardised states."""

    def __init__(
        self,
        panel: PanelDataset,
        normalizer: Normalizer,
        members: FactorModel,
        noise: Floats,
        agent: NDArray[np.integer],
        known: Floats | None,
    ) -> None:
        """Begin; the arguments are those of ``filtered_by_nets``."""
        self._normalizer, self._device, self._members = normalizer, normalizer.on_device(), members
        self._agent, self._action = agent.astype(np.int32), normalizer.encode_action(panel.action)
        self._told = None if known is None else normalizer.encode_known(known)
        noise = np.maximum(noise, FILTER.least_noise)
        # Sigma, in units of the state.
        self.noise = np.square(noise * normalizer.target_scale / normalizer.state_scale)

    def __call__(self, state: Floats, rows: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
        """Return the next states ``(L, D)``, their slopes ``(L, D, D)``, and Q, ``(L, D)``.

        Args:
            state: ``(L, D)``.
            rows: ``(L,)``, where in the panel.
        """
        told, action = self._told, self._action
        carry = state if told is None else np.concatenate([state, told[rows]], axis=1)
        # Of one size, so that there are few programs; the surplus is cut off.
        size = min(_BATCH, 1 << (len(rows) - 1).bit_length())
        found = []
        for first in range(0, len(rows), size):
            part = slice(first, first + size)
            place = np.resize(np.arange(len(rows))[part], size)
            kind = np.int32 if action.ndim == 1 else np.float32
            outcome = _next_states(
                self._members,
                self._device,
                on_device(self._agent[rows[place]], np.int32),
                on_device(carry[place]),
                on_device(action[rows[place]], kind),
            )
            count = len(rows[part])
            found.append([np.asarray(each, np.float64)[:, :count] for each in outcome])
        after, slopes = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
        open_ = np.square(mad_std(after)) if len(after) > 1 else np.zeros_like(after[0])
        middle = np.median(after, axis=0), np.median(slopes, axis=0)
        return *middle, FILTER.handed_on * self.noise + open_


@jax.jit
def _next_states(
    members: FactorModel,
    normalizer: Normalizer,
    agent: Int[Array, " L"],
    carry: Float[Array, "L W"],
    action: Array,
) -> tuple[Float[Array, "M L D"], Float[Array, "M L D D"]]:
    """Return the next states by every member, and their slopes."""
    n_state = normalizer.state_mean.shape[0]

    def of_member(member: FactorModel) -> tuple[Array, Array]:
        def step(state: Array, factors: Array, whole: Array, act: Array) -> Array:
            whole = jnp.concatenate([state, whole[n_state:]])
            target = member(factors, normalizer.inputs(whole), act)
            return normalizer.next_state(whole, target)

        given = carry[:, :n_state], member.agents[agent], carry, action
        return jax.vmap(step)(*given), jax.vmap(jax.jacfwd(step))(*given)

    return jax.vmap(of_member)(members)
