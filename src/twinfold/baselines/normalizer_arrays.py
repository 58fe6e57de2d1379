"""A normalizer among the arrays of a baseline's file."""

from __future__ import annotations

from typing import Any

from twinfold.data.roles import Roles
from twinfold.models.normalizer import Normalizer
from twinfold.utils.array_file import Arrays

# Angles follow from the roles. Baselines have a memory of their own, and no known inputs.
_ABSENT = ("angles", "history", "uneven")
_NAMES = tuple(
    name
    for name in Normalizer.__dataclass_fields__
    if name not in _ABSENT and not name.startswith("known_")
)


def normalizer_arrays(normalizer: Normalizer) -> dict[str, Any]:
    """Return the arrays of a normalizer, by their names in the file."""
    return {f"normalizer.{name}": getattr(normalizer, name) for name in _NAMES}


def normalizer_of(arrays: Arrays, roles: Roles) -> Normalizer:
    """Return the normalizer of a file.

    Raises:
        KeyError: an array is missing.
        ValueError: the arrays are not of these roles.
    """
    known: dict[str, Any] = {name: arrays[f"normalizer.{name}"] for name in _NAMES}
    angles = tuple(roles.state.index(name) for name in roles.angle)
    normalizer = Normalizer(**known, angles=angles)
    if normalizer.state_mean.shape != (len(roles.state),):
        raise ValueError(f"array 'normalizer.state_mean' must have {len(roles.state)} entries")
    return normalizer
