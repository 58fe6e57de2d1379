from .estimates import Comparison as Comparison, PolicyValue as PolicyValue
from .policy_value import Goal as Goal, compare_policies as compare_policies
