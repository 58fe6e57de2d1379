"""The flags of a planner, made from the fields of its settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter
from pydantic import ValidationError

from twinfold.cli.flags import settings_flags
from twinfold.errors import UsageError
from twinfold.planning.config import PlanConfig, problems, setting_fields
from twinfold.planning.presets import PAPER, plan_config

if TYPE_CHECKING:
    from twinfold.tasks import Task


@Parameter(name="*", group="Planner")
class PlannerFlags(settings_flags(setting_fields(), lambda _: "the task's")):
    """Settings of a plan; one that is not given is the task's default."""

    def config(self, task: Task, preset: Literal["ours", "paper"] = "ours") -> PlanConfig:
        """Return the task's settings, ours or the paper's, with these changes.

        Raises:
            UsageError: a value is out of range, or of another planner; the message names the flag.
        """
        try:
            if preset == "paper":
                return PAPER[task.name].replace(**asdict(self))
            return plan_config(task.name, task.action_type, **asdict(self))
        except ValidationError as error:
            lines = (f"--{name.replace('_', '-')} {text}" for name, text in problems(error).items())
            raise UsageError("\n".join(lines)) from None
