"""The figures that the PerSim paper prints, to stand beside ours.

Source: Agarwal et al., "PerSim: Data-efficient Offline Reinforcement Learning with Heterogeneous
Agents via Personalized Simulators", NeurIPS 2021 (arXiv 2102.06961), its tables.
MountainCar agents carry the gravity of the published code; the paper prints them scaled.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources
from typing import Literal, cast

from twinfold.errors import UsageError, one_of

TableName = Literal["table1", "table2", "table3"]

_FILES: dict[str, str] = {
    "table1": "table1_prediction_error.csv",
    "table2": "table2_average_reward.csv",
    "table3": "table3_augmentation.csv",
}
_NO_DATASET = "(none)"  # how the tables mark a method that learns from no data set

# The place of a label is the agent's id: the test agents are agents 0 to 4 of every data set.
AGENT_LABELS: dict[str, tuple[str, ...]] = {
    "mountain_car": ("0.0001", "0.0005", "0.001", "0.0025", "0.0035"),
    "cart_pole": ("2/0.5", "10/0.5", "18/0.5", "10/0.85", "10/0.15"),
    "half_cheetah": ("0.3/1.7", "1.7/0.3", "0.3/0.3", "1.7/1.7", "1/1"),
}

ACTION_TYPES: dict[str, Literal["discrete", "continuous"]] = {
    "mountain_car": "discrete",
    "cart_pole": "discrete",
    "half_cheetah": "continuous",
}


@cache
def _rows(table: str) -> tuple[dict[str, str], ...]:
    folder = resources.files("twinfold.benchmark.paper")
    text = folder.joinpath(_FILES[table]).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def paper_methods(table: TableName) -> tuple[str, ...]:
    """Return the names of the methods of a table, in its order."""
    return tuple(dict.fromkeys(row["method"] for row in _rows(table)))


def paper_figures(
    table: TableName, task: str, dataset: str | None, method: str = "persim"
) -> dict[int, dict[str, float]]:
    """Return what the paper reports for one method on one data set.

    Args:
        table: ``"table1"`` (prediction error), ``"table2"`` (return) or ``"table3"`` (return with
            augmented data).
        task: ``"mountain_car"``, ``"cart_pole"`` or ``"half_cheetah"``.
        dataset: ``"pure"``, ``"random"``, ``"pure-eps-20"`` or ``"pure-eps-40"``; None for
            ``"true-env-mpc"`` (planning on the true dynamics), which has no data set.
        method: the method's name in the table.

    Returns:
        Agent id (0 to 4) to the table's figures by column: ``rmse_mean`` (raw units) and
        ``r2_median`` in table 1, ``return_mean`` and ``return_std`` in the others. Agents that the
        paper's table leaves out are absent.

    Raises:
        UsageError: an argument has a value that the table does not have.
    """
    asked = {"table": table, "task": task, "dataset": dataset or _NO_DATASET, "method": method}
    if table not in _FILES:
        raise UsageError(f"unknown table {table!r}; {one_of(_FILES)}")
    rows = _rows(table)
    for column in ("task", "method", "dataset"):
        valid = dict.fromkeys(row[column] for row in rows)
        if asked[column] not in valid:
            raise UsageError(f"{table} has no {column} {asked[column]!r}; {one_of(valid)}")
        rows = tuple(row for row in rows if row[column] == asked[column])
    agents = [_physics(label) for label in AGENT_LABELS[task]]
    return {
        agents.index(_physics(row["agent"])): {
            name: float(value)
            for name, value in cast("dict[str, str]", row).items()
            if name not in ("dataset", "method", "task", "agent")
        }
        for row in rows
    }


def _physics(label: str) -> tuple[float, ...]:
    """Return the numbers of an agent's name: the tables write 1/1 and 1.0/1.0 for the same."""
    return tuple(map(float, label.split("/")))
