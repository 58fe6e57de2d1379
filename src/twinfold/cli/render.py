"""Records as tables on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.utils.text import banded

if TYPE_CHECKING:
    from rich.console import Console

    from twinfold.report.tables import Table as ReportTable
    from twinfold.simulation.simulator import Rollout
    from twinfold.uncertainty.support import Support


def show_description(console: Console, record: dict[str, Any]) -> None:
    """Show the result of ``describe``."""
    from rich.table import Table

    per_agent = record["transitions_per_agent"]
    console.print(
        f"{record['agents']} agents, {record['transitions']} transitions in {record['segments']} "
        f"trajectories; time step {record['time_step']}"
    )
    console.print(
        "transitions per agent: "
        + ", ".join(f"{name} {value:g}" for name, value in per_agent.items())
    )
    if record["left_out"]["agents"]:
        console.print(f"left out, without a transition: {record['left_out']['agents']} agents")
    if record["gaps"]:
        console.print(f"places where a trajectory is split: {record['gaps']}")
    table = Table("column", "role", "min", "max", "mean", "std")
    for role in ("state", "action"):
        for name, row in record[role].items():
            numbers = (f"{row[key]:.6g}" for key in ("min", "max", "mean", "std"))
            kind = "state, angle" if name in record["angle"] and role == "state" else role
            table.add_row(name, kind, *numbers)
    for name, row in record.get("static", {}).items():
        table.add_row(name, "static", *(f"{row[key]:.6g}" for key in ("min", "max", "mean", "std")))
    if "reward" in record:
        numbers = (f"{record['reward'][key]:.6g}" for key in ("min", "max", "mean", "std"))
        table.add_row("", "reward", *numbers)
    console.print(table)
    if "action_levels" in record:
        levels = record["action_levels"].items()
        console.print("transitions per action: " + ", ".join(f"{k}: {v}" for k, v in levels))


def show_table(console: Console, report: ReportTable) -> None:
    """Show a table of the report package, cell by cell the same as on a page."""
    from rich.table import Table

    table = Table(
        *report.columns,
        title=report.caption,
        title_justify="left",
    )
    for row in report.rows:
        table.add_row(*row)
    console.print(table)


def show_rollout(console: Console, rollout: Rollout) -> None:
    """Show one predicted course: action, then the state after it with its band."""
    from rich.table import Table

    band = f"{100 * rollout.coverage:.0f} % band" if rollout.calibrated else "members' spread only"
    if rollout.simultaneous:
        band += " (of the whole course)"
    columns = range(len(rollout.columns))
    at_once = max(1, (console.width - 20) // 22)  # many states: one table below the other
    for first in range(0, len(columns), at_once):
        part = columns[first : first + at_once]
        table = Table(title=f"state after each action, with its {band}", title_justify="left")
        table.add_column("step", justify="right")
        table.add_column("action", justify="right")
        table.add_column("basis (support)")
        for d in part:
            table.add_column(rollout.columns[d])
        for h, action in enumerate(rollout.actions):
            cells = (
                banded(
                    float(rollout.centre[h, d]),
                    float(rollout.lower[h, d]),
                    float(rollout.upper[h, d]),
                )
                for d in part
            )
            basis = _basis(rollout.support, h)
            table.add_row(str(rollout.steps[h]), _action(action), basis, *cells)
        console.print(table)


def _basis(support: Support, step: int) -> str:
    from twinfold.uncertainty.support import BASIS

    return f"{BASIS[support.basis[step]]} ({support.score[step]:.2f})"


def plot_rollout(path: Path, rollout: Rollout, title: str) -> None:
    """Write a picture of one predicted course."""
    from twinfold.report.curves import Curves
    from twinfold.report.static_figures import save_rollout

    curves = Curves(rollout.steps, rollout.centre, rollout.lower, rollout.upper, rollout.members)
    save_rollout(path, curves, rollout.columns, title)


def _action(action: Any) -> str:
    """Return a level, or the values of all columns."""
    values = action.tolist()
    if not isinstance(values, list):
        return str(values)
    return ", ".join(f"{value:.6g}" for value in values)


def show_policies(console: Console, records: list[dict[str, Any]]) -> None:
    """Show the trained policies, one row each; hidden physics in the task's order."""
    from rich.table import Column, Table

    table = Table(
        *(Column("task", no_wrap=True), "policy", "by", "trained on", "steps", "target", "own"),
        *(f"agent {i}" for i in range(len(records[0]["return_test_agents"]))),
        title="Mean returns of the greedy policies on their own agent and on the test agents",
        title_justify="left",
    )
    for record in records:
        table.add_row(
            record["task"],
            record["name"],
            record["algorithm"],
            "/".join(f"{value:g}" for value in record["agent"].values()),
            str(record["steps"]),
            f"{record['target_return']:g}",
            f"{record['return_own_agent']['mean']:.0f}",
            *(f"{row['mean']:.0f}" for row in record["return_test_agents"]),
        )
    console.print(table)


def show_settings(console: Console, config: dict[str, Any]) -> None:
    """Show the settings that a plan was made with."""
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in config.items())
    console.print(f"planned with: {settings}")
