from .dynamics import Dynamics as Dynamics
from .factor_model import Structure as Structure, structures as structures
from .fitted_model import FittedModel as FittedModel
from .rollout import agent_responses as agent_responses
from .true_dynamics import TaskDynamics as TaskDynamics
