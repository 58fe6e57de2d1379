"""Policies that make the data of the built-in tasks: random, trained, and mixtures of both.

The trained ones come with the package as small networks; they were made by ``twinfold policies
train``. Nothing here imports JAX before a policy is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.policies.library import AgentPolicy, get_policy
    from twinfold.policies.store import shipped_records

POLICY_NAMES: tuple[str, ...] = ("random", "test", "pure", "pure-eps-20", "pure-eps-40")
"""Names of the policies that data can be collected with."""

_HOME = {
    "AgentPolicy": "twinfold.policies.library",
    "get_policy": "twinfold.policies.library",
    "shipped_records": "twinfold.policies.store",
}

__all__ = ["POLICY_NAMES", "AgentPolicy", "get_policy", "shipped_records"]

__getattr__ = lazy_exports(__name__, _HOME)
