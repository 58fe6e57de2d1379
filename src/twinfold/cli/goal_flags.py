"""The flags that say what is to be gained, by a built-in task or by expressions over columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from twinfold.cli.flags import Words, shown
from twinfold.cli.values import Steps
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.models.fitted_model import FittedModel
    from twinfold.tasks.task import Task


@Parameter(name="*", group="Goal")
@dataclass(frozen=True)
class GoalFlags:
    """What a step earns and where an episode ends, if no built-in task says it.

    Attributes:
        reward: Expression over columns that a step earns, such as "-(glucose - 110)^2 - insulin";
            next.glucose is the state that the step leads to. Exogenous columns are those of the
            step's row (next.price of the one after), static columns those of the agent. That of
            the fit if left out.
        terminated: Expression that ends an episode, such as "glucose < 40".
        forbid: Expression over action columns, and exogenous and static ones, that must not hold,
            such as "mode == 'fill'".
        max_steps: Longest episode, in steps.
    """

    reward: Words = None
    terminated: Words = None
    forbid: Words = None
    max_steps: Annotated[Steps | None, shown(100)] = None

    def built_in(self, task: str | None) -> Task | None:
        """Return the built-in task, if one is named.

        Raises:
            UsageError: it is unknown, or a flag says the same.
        """
        from twinfold.tasks import get_task

        if task is None:
            return None
        given = [name for name, value in asdict(self).items() if value is not None]
        if given:
            flag = "--" + given[0].replace("_", "-")
            raise UsageError(f"--task and {flag} both say what is to be gained; give one of them")
        return get_task(task)

    def of_run(self, model: FittedModel) -> Task:
        """Return the task that these flags, or the roles of a run, make of it.

        Raises:
            UsageError: nothing says what is to be gained, or an expression cannot be read.
        """
        from twinfold.planning.run_task import run_task

        return run_task(
            model,
            self.reward,
            self.terminated,
            forbidden=self.forbid,
            max_steps=self.max_steps,
        )
