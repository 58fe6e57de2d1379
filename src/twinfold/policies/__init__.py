"""Policies that make the data of the built-in tasks: random, trained, and mixtures of both.

The trained ones come with the package as small networks; they were made by ``twinfold policies
train``. Nothing here imports JAX before a policy is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinfold.policies.library import AgentPolicy, get_policy
    from twinfold.policies.store import shipped_records

POLICY_NAMES: tuple[str, ...] = ("random", "test", "pure", "pure-eps-20", "pure-eps-40")

_HOME = {"AgentPolicy": "library", "get_policy": "library", "shipped_records": "store"}

__all__ = ["POLICY_NAMES", "AgentPolicy", "get_policy", "shipped_records"]


def __getattr__(name: str) -> Any:
    """Load the module that holds a public name when the name is first used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
