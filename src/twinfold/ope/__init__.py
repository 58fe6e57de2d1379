"""Off-policy evaluation: the worth of a policy, by the simulators.

- ``policy_value``: returns of policies with intervals, and which policy is better
  (``policy_value`` is exported by ``twinfold``).
- ``controllers``: what can act: a policy, or a planner.
- ``posterior_rollouts``: rollouts in simulators drawn from the posterior.
- ``estimates``: a value and its interval from the returns of these rollouts.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
