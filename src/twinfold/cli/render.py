"""Records as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinfold.utils.text import banded

if TYPE_CHECKING:
    from rich.console import Console

    from twinfold.data.import_table import Imported
    from twinfold.report.tables import Table as ReportTable
    from twinfold.simulation.simulator import Rollout
    from twinfold.uncertainty.support import Support


def show_description(console: Console, record: dict[str, Any]) -> None:
    """Show the result of ``describe``."""
    from rich.table import Table

    from twinfold.utils.text import counted

    per_agent, step = record["transitions_per_agent"], record["time_step"]
    step = step if isinstance(step, str) else f"{step:.10g}"
    console.print(
        f"{counted(record['agents'], 'agent')}, {counted(record['transitions'], 'transition')} in "
        f"{counted(record['segments'], 'trajectory')}; time step {step}"
    )
    console.print(
        "transitions per agent: "
        + ", ".join(f"{name} {value:g}" for name, value in per_agent.items())
    )
    if record["left_out"]["agents"]:
        left_out = counted(record["left_out"]["agents"], "agent")
        console.print(f"left out, without a transition: {left_out}")
    if record["gaps"]:
        console.print(f"places where a trajectory is split: {record['gaps']}")
    table = Table("column", "role", "min", "max", "mean", "std")
    for role in ("state", "action"):
        for name, row in record[role].items():
            numbers = (f"{row[key]:.6g}" for key in ("min", "max", "mean", "std"))
            kind = "state, angle" if name in record["angle"] and role == "state" else role
            table.add_row(name, kind, *numbers)
    for role in ("static", "exogenous"):
        for name, row in record.get(role, {}).items():
            numbers = (f"{row[key]:.6g}" for key in ("min", "max", "mean", "std"))
            table.add_row(name, role, *numbers)
    if "reward" in record:
        numbers = (f"{record['reward'][key]:.6g}" for key in ("min", "max", "mean", "std"))
        table.add_row("", "reward", *numbers)
    console.print(table)
    if "action_levels" in record:
        levels = record["action_levels"].items()
        console.print("transitions per action: " + ", ".join(f"{k}: {v}" for k, v in levels))


def show_import(console: Console, found: Imported) -> None:
    """Show what a table is taken for, and why."""
    from rich.table import Table
    from rich.text import Text

    columns = Table("column", "role", "why")
    for name, (role, why) in found.columns.items():
        columns.add_row(Text(name), role or "not used", Text(why))
    console.print(columns)
    if not found.settings:
        return
    settings = Table("setting", "value", "why")
    for name, guess in found.settings.items():
        value = guess.value if isinstance(guess.value, str) else ", ".join(map(str, guess.value))
        settings.add_row(name.replace("_", "-"), Text(repr(value)), Text(guess.why))
    console.print(settings)


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
    """Show one predicted trajectory: actions, if there are any, and states with their band."""
    from rich.table import Table

    band = f"{100 * rollout.coverage:.0f} % band" if rollout.calibrated else "members' spread only"
    if rollout.simultaneous:
        band += " (of the whole trajectory)"
    cells = [_states(rollout, h) for h in range(len(rollout.actions))]
    heads: dict[str, Literal["left", "right"]] = {
        "step": "right",
        "action": "right",
        "basis (support)": "left",
    }
    first = [
        [str(rollout.steps[h]), _action(action), _basis(rollout.support, h)]
        for h, action in enumerate(rollout.actions)
    ]
    acted = any(action for _, action, _ in first)
    if not acted:
        del heads["action"]
        first = [[step, basis] for step, _, basis in first]
    after = "action" if acted else "step"
    room = console.width - sum(_widths(list(heads), first)) - 1
    for part in _parts(_widths(rollout.columns, cells), room):
        table = Table(title=f"state after each {after}, with its {band}", title_justify="left")
        for head, justify in heads.items():
            table.add_column(head, justify=justify)
        for d in part:
            table.add_column(rollout.columns[d])
        for left, states in zip(first, cells, strict=True):
            table.add_row(*left, *(states[d] for d in part))
        console.print(table)


def _states(rollout: Rollout, step: int) -> list[str]:
    """Return the states after a step, each with its band."""
    rows = zip(rollout.centre[step], rollout.lower[step], rollout.upper[step], strict=True)
    return [banded(float(value), float(lower), float(upper)) for value, lower, upper in rows]


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return how much of a table's width each of its columns takes, with its border."""
    return [3 + max(len(row[d]) for row in [heads, *rows]) for d in range(len(heads))]


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns that fit beside each other: many states, one table below the other."""
    parts: list[list[int]] = []
    left = 0
    for d, width in enumerate(widths):
        if not parts or width > left:
            parts.append([])
            left = room
        parts[-1].append(d)
        left -= width
    return parts


def _basis(support: Support, step: int) -> str:
    from twinfold.uncertainty.support import BASIS

    return f"{BASIS[support.basis[step]]} ({support.score[step]:.2f})"


def plot_rollout(path: Path, rollout: Rollout, title: str) -> None:
    """Write a picture of one predicted trajectory."""
    from twinfold.report.curves import Curves
    from twinfold.report.static_figures import save_rollout

    curves = Curves(rollout.steps, rollout.centre, rollout.lower, rollout.upper, rollout.members)
    save_rollout(path, curves, rollout.columns, title)


def show_parts(console: Console, names: Any, steps: Any, noise: Any, ignorance: Any) -> None:
    """Show what a band is made of, as standard deviations of each state column."""
    from rich.table import Table

    table = Table(
        "step",
        *(f"{name}: {part}" for name in names for part in ("noise", "ignorance")),
        title="standard deviation by the noise of the world, and by what is not known",
        title_justify="left",
    )
    for h, step in enumerate(steps):
        pairs = zip(noise[h], ignorance[h], strict=True)
        table.add_row(str(step), *(f"{value:.3g}" for pair in pairs for value in pair))
    console.print(table)


def _action(action: Any) -> str:
    """Return a level, or the values of all columns."""
    values = action.tolist() if hasattr(action, "tolist") else action
    if not isinstance(values, list):
        return str(values)
    return ", ".join(f"{v:.6g}" if isinstance(v, float) else str(v) for v in values)


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
