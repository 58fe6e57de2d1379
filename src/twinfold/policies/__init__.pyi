from .library import AgentPolicy as AgentPolicy, get_policy as get_policy
from .names import POLICY_NAMES as POLICY_NAMES
from .store import shipped_records as shipped_records
