"""The flags that say what exogenous columns will be while a plan or a policy acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from twinfold.cli.flags import Flag
from twinfold.cli.values import Place
from twinfold.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from twinfold.data.ids import AgentId
    from twinfold.models.fitted_model import FittedModel


@Parameter(name="*")
@dataclass(frozen=True)
class FutureFlags:
    """Future values of exogenous columns; a run with such columns needs one of the flags.

    Attributes:
        scenario: Table of future values of the exogenous columns, with the time and, if they differ
            between agents, the agent; rows in the order of time, the first for the first step.
        hold_exogenous: Hold the last values of exogenous columns where no others are given: those
            of the scenario, or the agent's.
    """

    scenario: Place | None = None
    hold_exogenous: Flag = False

    def table(self, model: FittedModel) -> pd.DataFrame | None:
        """Return the scenario; None if none is given.

        Raises:
            UsageError: the run has no exogenous columns.
        """
        return scenario_table(model, self.scenario, self.hold_exogenous)

    def of_agent(
        self, model: FittedModel, scenario: pd.DataFrame | None, agent: AgentId
    ) -> dict[str, Any]:
        """Return the arguments of a plan or a value that say it of one agent.

        Raises:
            UsageError: the agent is unknown.
            InvalidDataError: the scenario cannot be read, or has no row for the agent.
        """
        from twinfold.simulation.scenario import single_scenario

        if scenario is not None:
            scenario = single_scenario(scenario, model, model.agent_index(agent))
        return {"exogenous": scenario, "hold_exogenous": self.hold_exogenous}


def scenario_table(
    model: FittedModel, scenario: Path | None, hold: bool, form: Mapping[str, Any] | None = None
) -> pd.DataFrame | None:
    """Return the table of a scenario; None if none is given.

    Args:
        model: the fitted model.
        scenario: its file.
        hold: whether the last values are held.
        form: how its values are written, if not as those of the fit.

    Raises:
        UsageError: the run has no exogenous columns.
    """
    if scenario is None and not hold:
        return None
    if not model.roles.exogenous:
        raise UsageError(
            "the run has no exogenous columns: leave --scenario and --hold-exogenous out"
        )
    if scenario is None:
        return None
    from twinfold.cli.column_flags import fitted_format
    from twinfold.data.io import read_table

    whole = {**fitted_format(model), **(form or {})}
    return read_table(scenario, [model.roles.agent], form=whole, time=model.roles.time)
