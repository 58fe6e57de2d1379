"""What tasks, and methods in the rows of tables, are called. No JAX."""

from __future__ import annotations

from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.suite_parts import Row

TITLES = {"mountain_car": "MountainCar", "cart_pole": "CartPole", "half_cheetah": "HalfCheetah"}
_PLANNERS = {"twinfold": "our planner", "paper": "the paper's planner"}


def method_name(row: Row) -> str:
    """Return the name of a row's method; our planner with a learned model goes without saying."""
    method = get_method(row.method)
    name = method.title if row.n_agents is None else f"{method.title}, {row.n_agents} agents"
    if row.planner is None or (row.planner == "twinfold" and method.role == "ours"):
        return name
    return f"{name}, {_PLANNERS[row.planner]}"
