from .actor_critic import Policy as Policy, StateScale as StateScale
from .cloning import clone_actions as clone_actions
from .episodes import world_returns as world_returns
from .policy import TrainedPolicy as TrainedPolicy
from .policy_file import load_policy as load_policy, save_policy as save_policy
from .settings import PolicyLearningSettings as PolicyLearningSettings
from .training import train_policy as train_policy
from .world import ActionSpace as ActionSpace, World as World
