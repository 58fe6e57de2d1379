from .build import (
    make_planner as make_planner,
    task_objective as task_objective,
    task_planner as task_planner,
)
from .cem import CEM as CEM
from .config import (
    CEMSettings as CEMSettings,
    ICEMSettings as ICEMSettings,
    MPPISettings as MPPISettings,
    ObjectiveSettings as ObjectiveSettings,
    PlanConfig as PlanConfig,
    ShootingSettings as ShootingSettings,
    StickySettings as StickySettings,
)
from .data_range import DataBox as DataBox
from .fitted_value import PlanValue as PlanValue, learn_plan_value as learn_plan_value
from .grid_value import GridValue as GridValue, solve_grid_value as solve_grid_value
from .icem import ICEM as ICEM
from .mpc import (
    Episodes as Episodes,
    MPCController as MPCController,
    run_agents as run_agents,
    run_episodes as run_episodes,
)
from .mppi import MPPI as MPPI
from .objective import (
    Objective as Objective,
    make_evaluate as make_evaluate,
    member_returns as member_returns,
    member_traces as member_traces,
    stack_of_one as stack_of_one,
)
from .plan import Plan as Plan, plan_once as plan_once
from .planner import Evaluate as Evaluate, PlanInfo as PlanInfo, Planner as Planner
from .presets import PAPER as PAPER, plan_config as plan_config
from .run_task import acted_on as acted_on, run_task as run_task
from .shooting import RandomShooting as RandomShooting, StickyShooting as StickyShooting
