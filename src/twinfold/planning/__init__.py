"""Planning: what a plan is worth, how to search for one, episodes in the true task.

Names load when they are used: the settings need no JAX, everything else does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twinfold.planning.box import DataBox
    from twinfold.planning.cem import CEM
    from twinfold.planning.defaults import (
        PAPER,
        PlanConfig,
        make_planner,
        plan_config,
        task_objective,
        task_planner,
    )
    from twinfold.planning.episode import Episodes, run_agents, run_episodes
    from twinfold.planning.icem import ICEM
    from twinfold.planning.mppi import MPPI
    from twinfold.planning.objective import (
        Objective,
        make_evaluate,
        member_returns,
        member_traces,
        stack_of_one,
    )
    from twinfold.planning.plan_value import PlanValue, learn_plan_value
    from twinfold.planning.planner import Evaluate, PlanInfo, Planner
    from twinfold.planning.shooting import RandomShooting, StickyShooting
    from twinfold.planning.value import GridValue, solve_grid_value

__all__ = [
    "CEM",
    "ICEM",
    "MPPI",
    "PAPER",
    "DataBox",
    "Episodes",
    "Evaluate",
    "GridValue",
    "Objective",
    "PlanConfig",
    "PlanInfo",
    "PlanValue",
    "Planner",
    "RandomShooting",
    "StickyShooting",
    "learn_plan_value",
    "make_evaluate",
    "make_planner",
    "member_returns",
    "member_traces",
    "plan_config",
    "run_agents",
    "run_episodes",
    "solve_grid_value",
    "stack_of_one",
    "task_objective",
    "task_planner",
]

_MODULES = {
    "box": ("DataBox",),
    "cem": ("CEM",),
    "defaults": (
        "PAPER",
        "PlanConfig",
        "make_planner",
        "plan_config",
        "task_objective",
        "task_planner",
    ),
    "episode": ("Episodes", "run_agents", "run_episodes"),
    "icem": ("ICEM",),
    "mppi": ("MPPI",),
    "objective": ("member_traces", "Objective", "make_evaluate", "member_returns", "stack_of_one"),
    "plan_value": ("PlanValue", "learn_plan_value"),
    "planner": ("Evaluate", "PlanInfo", "Planner"),
    "shooting": ("RandomShooting", "StickyShooting"),
    "value": ("GridValue", "solve_grid_value"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
