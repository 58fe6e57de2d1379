"""Checks of the arrays of a run: names, types, shapes and values, against what they must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.training.run_schema import Arrays, Entry
from twinfold.utils.text import clipped


@dataclass(frozen=True)
class ArraySettings:
    """Numbers that decide what rounding may have done to a symmetric matrix.

    Attributes:
        rounding: of a matrix of which the diagonal is 1.
        chunk: matrices that are looked at together.
    """

    rounding: float = 1e-6
    chunk: int = 4096


ARRAYS = ArraySettings()
"""Those of every run."""


def check_arrays(arrays: Arrays, schema: dict[str, Entry], size: dict[str, int]) -> None:
    """Check names, types, shapes and values of all arrays of a run.

    A member whose nets are not finite has diverged in training. It counts nowhere, and what was
    made of it may be anything; but not all members can have.

    Args:
        arrays: of the run.
        schema: what they must be, by ``run_schema.schema_of``.
        size: of the run, by ``run_schema.sizes_of``.

    Raises:
        ValueError: naming the first array that is wrong.
    """
    for name in schema:
        if name not in arrays:
            raise ValueError(f"model.safetensors has no array {name!r}")
    for name in arrays:
        if name not in schema:
            raise ValueError(f"model.safetensors has an array {clipped(name)} that no such run has")
    size = dict(size)
    for name, entry in schema.items():
        _check_form(name, arrays[name], entry, size)
    stacks = [arrays[name].reshape(size["M"], -1) for name in schema if name.startswith("members")]
    sound = np.all([np.isfinite(stack).all(axis=1) for stack in stacks], axis=0)
    if not sound.any():
        raise ValueError("the arrays of all members in model.safetensors are not finite")
    for name, entry in schema.items():
        if name.startswith("behaviour") and not sound.all():
            continue  # it is a policy of the factors of all members
        words, holds = RULES[entry.rule]
        values = arrays[name][sound] if entry.shape.startswith("M") else arrays[name]
        if not holds(values, size):
            raise ValueError(f"array {name!r} in model.safetensors must be {words}")
        if name.startswith("normalizer.") and entry.rule != "limits":  # the nets count with them
            with np.errstate(over="ignore"):
                if not np.isfinite(values.astype(np.float32)).all():
                    raise ValueError(f"array {name!r} in model.safetensors is too large")
    _check_precision(arrays, np.flatnonzero(sound), size["r"])


def _check_form(name: str, values: NDArray[Any], entry: Entry, size: dict[str, int]) -> None:
    """Check type and shape of an array; sizes that are not known yet become those that it has."""
    words = entry.shape.split()
    if values.ndim == len(words):
        for word, found in zip(words, values.shape, strict=True):
            if not word.isdigit() and found:  # a size that nothing else says is not zero
                size.setdefault(word, found)
    shape = tuple(int(word) if word.isdigit() else size.get(word, 1) for word in words)
    if values.shape != shape or str(values.dtype) != entry.dtype:
        raise ValueError(
            f"array {name!r} in model.safetensors must be {entry.dtype} of shape {shape}, not "
            f"{values.dtype} of shape {values.shape}"
        )


def _positive_definite(matrices: NDArray[Any]) -> bool:
    """Return whether matrices ``(..., k, k)`` are symmetric and positive definite, up to rounding.

    With the diagonal scaled to 1: precisions of all sizes are next to each other.
    """
    diagonal = np.diagonal(matrices, axis1=-2, axis2=-1)
    if not (np.isfinite(matrices).all() and (diagonal > 0).all()):
        return False
    root = np.sqrt(diagonal)
    unit = matrices / root[..., None] / root[..., None, :]
    if not np.allclose(unit, np.swapaxes(unit, -1, -2), rtol=0, atol=ARRAYS.rounding):
        return False
    try:
        np.linalg.cholesky(unit + ARRAYS.rounding * np.eye(unit.shape[-1]))
    except np.linalg.LinAlgError:
        return False
    return True


def _halves(packed: NDArray[Any], _: dict[str, int]) -> bool:
    """Return whether halves of symmetric matrices have no entry that a sum of squares rules out."""
    rows = int(np.sqrt(2 * packed.shape[-1]))
    i, j = np.tril_indices(rows)
    if not np.isfinite(packed).all():
        return False
    diagonal = packed[..., i == j]
    if (diagonal < 0).any():
        return False
    root = np.sqrt(diagonal) * (1 + ARRAYS.rounding)
    return all(
        (np.abs(packed[..., k]) <= root[..., i[k]] * root[..., j[k]]).all() for k in range(len(i))
    )


def _check_precision(arrays: Arrays, sound: NDArray[np.intp], rank: int) -> None:
    """Check that the precision of every agent's factors is positive definite."""
    prior, halves = arrays["prior.precision"], arrays["evidence.gram"]
    for m in sound:
        for first in range(0, halves.shape[1], ARRAYS.chunk):
            precision = prior[m] + unpacked(halves[m, first : first + ARRAYS.chunk], rank)
            if not _positive_definite(precision):
                raise ValueError(
                    "array 'evidence.gram' in model.safetensors must be sums of squares"
                )


def packed(symmetric: NDArray[Any]) -> NDArray[Any]:
    """Return one half of symmetric matrices: 100,000 agents are a few hundred megabytes."""
    rows, columns = np.tril_indices(symmetric.shape[-1])
    return symmetric[..., rows, columns]


def unpacked(halves: NDArray[Any], size: int) -> NDArray[Any]:
    """Return symmetric matrices ``(..., size, size)``."""
    rows, columns = np.tril_indices(size)
    place = np.empty((size, size), np.intp)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return np.take(halves, place, axis=-1).astype(np.float64, copy=False)


def _whole(values: NDArray[Any], low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())


Rule = Callable[[NDArray[Any], dict[str, int]], Any]
RULES: dict[str, tuple[str, Rule]] = {
    "any": ("anything", lambda v, n: True),
    "finite": ("finite", lambda v, n: np.isfinite(v).all()),
    "positive": ("finite and positive", lambda v, n: (np.isfinite(v) & (v > 0)).all()),
    "not negative": ("finite and not negative", lambda v, n: (np.isfinite(v) & (v >= 0)).all()),
    "limits": ("limits, not NaN", lambda v, n: not np.isnan(v).any()),
    "gaps": ("finite, or NaN where nothing is known", lambda v, n: not np.isinf(v).any()),
    "scores": ("not negative, or NaN where nothing is known", lambda v, n: not (v < 0).any()),
    "widths": ("not negative, not NaN", lambda v, n: (v >= 0).all()),
    "increasing": ("increasing", lambda v, n: len(v) > 0 and (np.diff(v) > 0).all()),
    "levels": ("indices of levels", lambda v, n: _whole(v, 0, n["L"])),
    "agents": ("indices of agents", lambda v, n: _whole(v, 0, n["N"])),
    "agents or -1": ("indices of agents, or -1", lambda v, n: _whole(v, -1, n["N"])),
    "positive definite": (
        "symmetric and positive definite",
        lambda v, n: _positive_definite(v),
    ),
    "half of positive": ("sums of squares", _halves),
}
