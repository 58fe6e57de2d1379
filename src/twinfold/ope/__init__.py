"""Off-policy evaluation: the worth of a policy, by the simulators.

- ``policy_value``: returns of policies with intervals, and which policy is better
  (``policy_value`` is exported by ``twinfold``).
- ``controllers``: what can act: a policy, or a planner.
- ``posterior_rollouts``: rollouts in simulators drawn from the posterior.
- ``estimates``: a value and its interval from the returns of these rollouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.ope.estimates import Comparison, PolicyValue
    from twinfold.ope.policy_value import Goal, compare_policies

_HOME = {
    "Comparison": "twinfold.ope.estimates",
    "Goal": "twinfold.ope.policy_value",
    "PolicyValue": "twinfold.ope.estimates",
    "compare_policies": "twinfold.ope.policy_value",
}

__all__ = [
    "Comparison",
    "Goal",
    "PolicyValue",
    "compare_policies",
]

__getattr__ = lazy_exports(__name__, _HOME)
