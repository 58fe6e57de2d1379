"""Names of the policies that data can be collected with."""

POLICY_NAMES: tuple[str, ...] = ("random", "test", "pure", "pure-eps-20", "pure-eps-40")
"""Names of the policies that data of a built-in task can be collected with."""
