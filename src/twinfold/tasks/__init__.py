"""Simulated tasks: spaces, true dynamics, reward, termination and the agents' hidden physics."""

from __future__ import annotations

from twinfold.tasks.registry import TASK_NAMES, get_task
from twinfold.tasks.task import Task, agent_covariates

__all__ = ["TASK_NAMES", "Task", "agent_covariates", "get_task"]
