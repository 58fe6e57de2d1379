"""Off-policy evaluation: the worth of a policy, by the simulators.

- ``policy_value``: returns of policies with intervals, and which policy is better.
- ``controllers``: what can act: a policy, or a planner.
- ``posterior_rollouts``: rollouts in simulators drawn from the posterior.
- ``estimates``: importance-weighted estimates from the recorded data alone.
"""
