"""The tasks by name. A task is loaded when it is asked for, because its functions need JAX."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from twinfold.errors import UsageError, one_of

if TYPE_CHECKING:
    from twinfold.tasks.task import Task

_MODULES = {
    "cart_pole": "twinfold.tasks.cart_pole",
    "mountain_car": "twinfold.tasks.mountain_car",
    "half_cheetah": "twinfold.tasks.half_cheetah",
}

TASK_NAMES: tuple[str, ...] = tuple(_MODULES)


def get_task(name: str) -> Task:
    """The task called ``name``; the same object at every call.

    Raises:
        UsageError: if there is none, with the names that exist.
    """
    if name not in _MODULES:
        raise UsageError(f"unknown task {name!r}; {one_of(TASK_NAMES)}")
    return importlib.import_module(_MODULES[name]).TASK
