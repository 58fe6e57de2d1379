from .registry import TASK_NAMES as TASK_NAMES, get_task as get_task
from .task import Task as Task, agent_covariates as agent_covariates
