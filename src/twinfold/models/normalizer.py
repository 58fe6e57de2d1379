"""Standardisation of states, targets and actions, angles, and the hard limits of the states.

The target of the model is the standardised difference of the next state from the state, or, where
the state says little about the next one, the standardised next state itself. Everything is fitted
on training transitions only.

A model with memory reads the last k rows of an agent: the present state, and the k - 1 steps that
led to it. What it carries through a rollout is then ``(..., W)``, W = D + (k - 1) B: the
standardised state, and of each step before it, the latest first, the B = D + V standardised numbers
of its change and of what acted in it (``data.memory``). What is not known (no row comes before) is
as the mean of it, zero.

Known inputs (exogenous columns) come last in what a rollout carries: W = D + (k - 1) B + E. They
stay as they are from step to step unless a rollout is told others. Where times are uneven the last
of them is the length of the step, in units of the usual one; it is not standardised, and a model's
change goes to zero with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from twinfold.data.angles import wrap
from twinfold.data.memory import per_usual_step
from twinfold.utils.device import on_device


@dataclass(frozen=True)
class NormalizerSettings:
    """Numbers that decide what is a hard limit and what hardly varies.

    Attributes:
        at_limit: times that the smallest (largest) value must occur to be a hard limit.
        peak: times as often as each of its neighbours that it must occur; a rounded sensor has no
            such peak at its end.
        neighbours: distinct values next to it that it is compared with.
        still: scale of differences that are all the same, in standard deviations of the state.
        reach: share of the range of the targets by which a predicted one may leave it, at either
            end.
        flat: least scale of a sine or cosine; one that hardly varies must not be blown up.
        reachable: largest standardised value that nets are given. In float32, which ends at 3e38,
            their sums and products of anything larger may be infinite.
        rounding: of sums and differences in double precision, as a share, with a wide margin.
        pairs: of consecutive observed values of a column with missing ones, from which on its
            changes are known by these alone.
    """

    at_limit: int = 5
    peak: int = 5
    neighbours: int = 5
    still: float = 1e-3
    reach: float = 0.1
    flat: float = 1e-2
    reachable: float = 1e12
    rounding: float = 1e-12
    pairs: int = 20


NORMALIZER = NormalizerSettings()
"""Those of every fit."""


_STATIC = {"static": True}  # a part of the structure, not an array


def _none() -> np.ndarray:
    """No known inputs, or nothing that acted."""
    return np.zeros(0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Normalizer:
    """Means and scales; a column that never changes has scale 1, its differences a small one.

    Built with float64 NumPy arrays, for exact work on the host; :meth:`on_device` gives the float32
    copy that jitted code takes. D state columns, of which J are angles, A action columns. A plain
    data class, since the methods of an Equinox module take longer to look up than to run on a
    small array.

    Attributes:
        state_mean, state_scale: ``(D,)``, raw units; of an angle, about its mean direction.
        keep: ``(D,)``, 1 where the target is a difference, 0 where it is the next value itself.
        target_mean, target_scale: ``(D,)``, of the targets, raw units.
        wave_mean, wave_scale: ``(2 J,)``, of the sines and the cosines of the angles.
        action_mean, action_scale: ``(A,)``; length 0 if the action is discrete.
        low, high: ``(D,)``, standardised limits of the next state, infinite where there are none.
        target_low, target_high: ``(D,)``, standardised limits of a predicted target: a little
            beyond what was seen in training. No step is larger, so no prediction explodes.
        change_mean, change_scale: ``(D,)``, of the changes of a model with memory, raw units.
        acted_mean, acted_scale: ``(V,)``, of what acted in the steps that a model with memory
            reads, as those of actions and known inputs; of a level's indicator its share, and 1.
            Of length 0 for a memory of changes alone, as runs of before have it.
        known_mean, known_scale: ``(E,)``, of the known inputs.
        known_low, known_high: ``(E,)``, their range in training, raw units.
        known_at_once: whether actions do at once what they do, where times are uneven; 1 or 0.
        angles: columns that are angles, J of them.
        history: k, rows that the model reads; 1 for a model without memory.
        uneven: whether the last of the known inputs is the length of the step.
    """

    state_mean: Any
    state_scale: Any
    keep: Any
    target_mean: Any
    target_scale: Any
    wave_mean: Any
    wave_scale: Any
    action_mean: Any
    action_scale: Any
    low: Any
    high: Any
    target_low: Any = -np.inf
    target_high: Any = np.inf
    change_mean: Any = 0.0
    change_scale: Any = 1.0
    acted_mean: Any = field(default_factory=_none)
    acted_scale: Any = field(default_factory=_none)
    known_mean: Any = field(default_factory=_none)
    known_scale: Any = field(default_factory=_none)
    known_low: Any = field(default_factory=_none)
    known_high: Any = field(default_factory=_none)
    known_at_once: Any = 0.0
    angles: tuple[int, ...] = field(metadata=_STATIC, default=())
    history: int = field(metadata=_STATIC, default=1)
    uneven: bool = field(metadata=_STATIC, default=False)

    def on_device(self) -> Normalizer:
        """The same in float32 JAX arrays."""
        return jax.tree.map(on_device, self)

    @property
    def n_inputs(self) -> int:
        """Length of what a model reads of a carry: angles as sine and cosine, memory, inputs."""
        return self.state_mean.shape[-1] + len(self.angles) + self.n_memory + self.n_known

    @property
    def n_known(self) -> int:
        """E, the number of known inputs."""
        return self.known_mean.shape[-1]

    @property
    def n_memory(self) -> int:
        """Length of the memory, (k - 1) B."""
        return (self.history - 1) * (self.state_mean.shape[-1] + self.acted_mean.shape[-1])

    def encode_state(self, state: Any) -> Any:
        """Standardised states, ``(..., D)``."""
        return (state - self.state_mean) / self.state_scale

    def decode_state(self, carry: Any) -> Any:
        """States in raw units, ``(..., D)``, of standardised ones or of what a rollout carries."""
        return carry[..., : self.state_mean.shape[-1]] * self.state_scale + self.state_mean

    def limits(self) -> tuple[Any, Any]:
        """Hard limits of the states in raw units, lower and upper, each ``(D,)``; on the host only.

        As they stand in the data: standardised and back, 1 may come out as 0.9999999999999999, and
        a band that ends there would leave out the 1 that it is about.
        """
        grain = np.maximum(np.abs(self.state_mean), self.state_scale) * NORMALIZER.rounding
        digits = np.clip(np.ceil(-np.log10(grain)), -300, 300).astype(int)
        raw = [self.decode_state(end) for end in (self.low, self.high)]
        low, high = (
            np.array([np.round(x, d) for x, d in zip(end, digits, strict=True)]) for end in raw
        )
        return low, high

    def decode_path(self, carry: Any) -> Any:
        """Return states in raw units of what a rollout in float32 carried, within the limits.

        What cannot be negative does not come out as -1e-9, nor what was held at 1 as 0.99999994.
        """
        standard, (low, high) = carry[..., : self.state_mean.shape[-1]], self.limits()
        raw = np.clip(self.decode_state(standard.astype(np.float64)), low, high)
        raw = np.where(standard <= np.float32(self.low), low, raw)
        return np.where(standard >= np.float32(self.high), high, raw)

    def carry(self, start: Any) -> Any:
        """Return what a rollout carries, ``(..., W)``.

        Args:
            start: ``(..., D)`` raw units, or with the steps before, or ``(..., W)`` with the
                known inputs too; NaN, or nothing, where they are not known: known inputs are then
                the mean ones.
        """
        xp = np if isinstance(start, np.ndarray) else jnp
        n_state = self.state_mean.shape[-1]
        parts = [self.encode_state(start[..., :n_state])]
        if self.history > 1 and start.shape[-1] == n_state:
            parts.append(xp.zeros((*start.shape[:-1], self.n_memory), parts[0].dtype))
        elif self.history > 1:
            pairs = (self.change_mean, self.acted_mean), (self.change_scale, self.acted_scale)
            mean, scale = (xp.tile(xp.concatenate(pair), self.history - 1) for pair in pairs)
            memory = (start[..., n_state : n_state + self.n_memory] - mean) / scale
            parts.append(xp.where(xp.isnan(memory), 0.0, memory))
        if self.n_known:
            given = start[..., n_state + self.n_memory :]
            parts.append(self._known(given, start.shape[:-1], xp).astype(parts[0].dtype))
        return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-1)

    def memory_of(self, start: Any) -> Any:
        """Return the standardised steps before a start, ``(..., (k - 1) B)``, as they are carried.

        Args:
            start: as :meth:`carry`.
        """
        n_state = self.state_mean.shape[-1]
        return self.carry(start)[..., n_state : n_state + self.n_memory]

    def _known(self, given: Any, shape: tuple[int, ...], xp: Any) -> Any:
        """Return standardised known inputs ``(*shape, E)``, the usual ones where none are given."""
        usual = xp.zeros(self.n_known)
        if self.uneven:
            usual = xp.where(xp.arange(self.n_known) == self.n_known - 1, 1.0, usual)
        usual = xp.broadcast_to(usual, (*shape, self.n_known))
        if not given.shape[-1]:
            return usual
        standard = self.encode_known(given)
        return xp.where(xp.isnan(standard), usual, standard)

    def encode_known(self, known: Any) -> Any:
        """Standardised known inputs, ``(..., E)``."""
        return (known - self.known_mean) / self.known_scale

    def decode_known(self, standard: Any) -> Any:
        """Known inputs in raw units, ``(..., E)``, of standardised ones."""
        return standard * self.known_scale + self.known_mean

    def told(self, carry: Any, known: Any) -> Any:
        """Return the carry ``(..., W)`` with other known inputs, standardised ``(..., E)``."""
        if not self.n_known:
            return carry
        xp = np if isinstance(carry, np.ndarray) else jnp
        return xp.concatenate([carry[..., : -self.n_known], known], axis=-1)

    def known_of(self, carry: Any) -> Any:
        """Return the known inputs of a carry, standardised ``(..., E)``."""
        return carry[..., carry.shape[-1] - self.n_known :]

    def moved(self, carry: Any, standard: Any, action: Any = None) -> Any:
        """Return the carry ``(..., W)`` at the next standardised state ``(..., D)``.

        Args:
            carry: ``(..., W)``, of the step that led there.
            standard: ``(..., D)``.
            action: of that step, standardised ``(..., A)`` or a level's index ``(...)``; read by a
                model whose memory holds actions.
        """
        if self.history == 1 and not self.n_known:
            return standard
        xp = np if isinstance(standard, np.ndarray) else jnp
        parts, n_state = [standard], self.state_mean.shape[-1]
        if self.history > 1:
            change = (standard - carry[..., :n_state]) * self.state_scale
            if self.uneven:
                change = per_usual_step(change, carry[..., -1:])
            change = (change - self.change_mean) / self.change_scale
            n_acted = self.acted_mean.shape[-1]
            past = [self._acted(carry, action, xp)] if n_acted else []
            parts += [change, *past, carry[..., n_state : self.n_memory - n_acted]]
        if self.n_known:
            parts.append(self.known_of(carry))
        return xp.concatenate(parts, axis=-1)

    def _acted(self, carry: Any, action: Any, xp: Any) -> Any:
        """Return what acts in a step, standardised, ``(..., V)``."""
        n_known = self.n_known - self.uneven
        n_action = self.acted_mean.shape[-1] - n_known
        parts = [self.known_of(carry)[..., :n_known]]
        if n_action:
            code = action
            if not self.action_mean.size:  # of a level its indicator
                code = (action[..., None] == xp.arange(n_action)) - self.acted_mean[:n_action]
            parts.insert(0, code)
        return xp.concatenate(parts, axis=-1)

    def inputs(self, carry: Any) -> Any:
        """Return what a net reads: of standardised states ``(..., D + J)``, and of their memory.

        The columns that are no angles, the sines, the cosines, the memory, the known inputs. So a
        full turn changes nothing.
        """
        if not self.angles:
            return carry
        xp = np if isinstance(carry, np.ndarray) else jnp
        n_state = self.state_mean.shape[-1]
        standard, memory = carry[..., :n_state], carry[..., n_state:]
        turning = np.array(self.angles)
        plain = np.setdiff1d(np.arange(standard.shape[-1]), turning)
        angle = standard[..., turning] * self.state_scale[turning] + self.state_mean[turning]
        waves = xp.concatenate([xp.sin(angle), xp.cos(angle)], axis=-1)
        waves = (waves - self.wave_mean) / self.wave_scale
        return xp.concatenate([standard[..., plain], waves, memory], axis=-1)

    def encode_action(self, action: Any) -> Any:
        """Standardised continuous actions ``(..., A)``; discrete ones are left as they are."""
        return (action - self.action_mean) / self.action_scale if self.action_mean.size else action

    def encode_target(self, state: Any, next_state: Any) -> Any:
        """Standardised differences or next values, ``(..., D)``."""
        return (self.difference(state, next_state) - self.target_mean) / self.target_scale

    def difference(self, state: Any, next_state: Any) -> Any:
        """Differences or next values in raw units, ``(..., D)``, those of angles the short way."""
        state = np.asarray(state)[..., : len(self.state_mean)]  # what came before is no matter
        return difference_of(state, np.asarray(next_state), self.keep, self.angles)

    def advance(self, carry: Any, target: Any, action: Any = None) -> Any:
        """Return the next carry ``(..., W)``.

        Args:
            carry: ``(..., W)``.
            target: ``(..., D)``, predicted.
            action: as :meth:`moved`.
        """
        return self.moved(carry, self.next_state(carry, target), action)

    def next_state(self, carry: Any, target: Any) -> Any:
        """Return the next standardised state from a carry ``(..., W)`` and a target ``(..., D)``.

        Differences are added in standardised units: in raw ones, a small change of a coordinate
        with a large offset would drown in float32.
        """
        xp = np if isinstance(target, np.ndarray) else jnp
        target = xp.clip(target, self.target_low, self.target_high)
        origin = (1 - self.keep) * self.state_mean
        change = (target * self.target_scale + self.target_mean - origin) / self.state_scale
        standard = carry[..., : self.state_mean.shape[-1]]
        return xp.clip(self.keep * standard + change, self.low, self.high)


def difference_of(
    state: np.ndarray, next_state: np.ndarray, keep: np.ndarray, angles: Sequence[int]
) -> np.ndarray:
    """Return next states less ``keep`` times the states, angles the short way, ``(..., D)``."""
    change = next_state - keep * state
    for d in angles:
        change[..., d] = wrap(change[..., d])
    return change


def unreachable(standard: np.ndarray) -> np.ndarray:
    """Return which standardised values are too large for the nets; NaN is not."""
    return np.abs(standard) > NORMALIZER.reachable


def far_text(standard: float) -> str:
    """Return what is wrong with a value that is ``unreachable``, and what to do."""
    return (
        f"{abs(standard):.1g} standard deviations from the mean of the model's data: too far to "
        "compute with; correct it, or leave the row out"
    )
