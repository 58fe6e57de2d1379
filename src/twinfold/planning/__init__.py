"""Planning: the worth of a plan, the search for one, episodes in the true task.

Names load when they are used: the settings need no JAX, everything else does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.planning.build import make_planner, task_objective, task_planner
    from twinfold.planning.cem import CEM
    from twinfold.planning.config import (
        CEMSettings,
        ICEMSettings,
        MPPISettings,
        ObjectiveSettings,
        PlanConfig,
        ShootingSettings,
        StickySettings,
    )
    from twinfold.planning.data_range import DataBox
    from twinfold.planning.fitted_value import PlanValue, learn_plan_value
    from twinfold.planning.grid_value import GridValue, solve_grid_value
    from twinfold.planning.icem import ICEM
    from twinfold.planning.mpc import Episodes, MPCController, run_agents, run_episodes
    from twinfold.planning.mppi import MPPI
    from twinfold.planning.objective import (
        Objective,
        make_evaluate,
        member_returns,
        member_traces,
        stack_of_one,
    )
    from twinfold.planning.plan import Plan, plan_once
    from twinfold.planning.planner import Evaluate, PlanInfo, Planner
    from twinfold.planning.presets import PAPER, plan_config
    from twinfold.planning.shooting import RandomShooting, StickyShooting

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "PAPER",
    "CEMSettings",
    "DataBox",
    "Episodes",
    "Evaluate",
    "GridValue",
    "ICEMSettings",
    "MPCController",
    "MPPISettings",
    "Objective",
    "ObjectiveSettings",
    "Plan",
    "PlanConfig",
    "PlanInfo",
    "PlanValue",
    "Planner",
    "RandomShooting",
    "ShootingSettings",
    "StickySettings",
    "StickyShooting",
    "learn_plan_value",
    "make_evaluate",
    "make_planner",
    "member_returns",
    "member_traces",
    "plan_config",
    "plan_once",
    "run_agents",
    "run_episodes",
    "solve_grid_value",
    "stack_of_one",
    "task_objective",
    "task_planner",
]

_MODULES = {
    "build": ("make_planner", "task_objective", "task_planner"),
    "cem": ("CEM",),
    "config": (
        "CEMSettings",
        "ICEMSettings",
        "MPPISettings",
        "ObjectiveSettings",
        "PlanConfig",
        "ShootingSettings",
        "StickySettings",
    ),
    "data_range": ("DataBox",),
    "fitted_value": ("PlanValue", "learn_plan_value"),
    "grid_value": ("GridValue", "solve_grid_value"),
    "icem": ("ICEM",),
    "mpc": ("Episodes", "MPCController", "run_agents", "run_episodes"),
    "mppi": ("MPPI",),
    "objective": ("member_traces", "Objective", "make_evaluate", "member_returns", "stack_of_one"),
    "plan": ("Plan", "plan_once"),
    "planner": ("Evaluate", "PlanInfo", "Planner"),
    "presets": ("PAPER", "plan_config"),
    "shooting": ("RandomShooting", "StickyShooting"),
}

__getattr__ = lazy_exports(
    __name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}
)
