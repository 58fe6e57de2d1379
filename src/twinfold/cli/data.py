"""``twinfold data``: collect, import, export, validate, describe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from twinfold.cli.column_flags import RoleFlags, TimeStep
from twinfold.cli.console import console, print_json, set_up_jax, warn
from twinfold.cli.flags import Flag, check_outputs
from twinfold.cli.values import Agents, Place, Seed
from twinfold.errors import InvalidDataError, UsageError

if TYPE_CHECKING:
    from twinfold.data.import_table import Imported
    from twinfold.data.panel import PanelDataset

ExportFormat = Literal["minari", "d3rlpy", "parquet"]

app = App(
    name="data",
    help="Collect, import, export, check and describe panel data.",
    help_format="plaintext",
)


@app.command
def collect(
    *,
    task: str,
    out: Place,
    policy: str = "random",
    agents: Agents = 500,
    seed: Seed = 0,
    json: Flag = False,
) -> None:
    """Record one trajectory of every agent of a built-in task.

    A manifest is written beside the table; it says which column is what, so
    that the other commands need no column flags. Agents 0 to 4 are the paper's
    test agents; the others have random hidden physics.

    Policies: "random"; "pure", trained on the agent nearest to each agent;
    "pure-eps-20" and "pure-eps-40", which take a random action with probability
    0.2 or 0.4 instead; "test", one trained policy for all, unseen in the other
    data. See `twinfold policies list`.

      twinfold data collect --task cart_pole --out cohort.parquet
      twinfold data collect --task half_cheetah --policy pure-eps-20 --out runners.parquet

    Args:
        task: mountain_car, cart_pole or half_cheetah.
        out: Table to write, .parquet or .csv; one that exists is replaced.
        policy: What the agents do: random, test, pure, pure-eps-20 or pure-eps-40.
        agents: Number of agents.
        seed: Of the agents' physics and of the policy; the same seed gives the same table.
        json: Print a record instead of a sentence.
    """
    from twinfold.data.io import TABLE_SUFFIXES

    check_outputs({"out": TABLE_SUFFIXES}, out=out)
    set_up_jax()
    from twinfold.benchmark.collect import collect as collect_panel, provenance
    from twinfold.data.io import save_panel
    from twinfold.tasks import get_task

    chosen = get_task(task)
    dataset = collect_panel(chosen, policy, agents, seed)
    save_panel(dataset, out, provenance(chosen, policy, agents, seed))
    _tell_written(dataset, out, json)


def _tell_written(panel: PanelDataset, out: Path, json: bool) -> None:
    """Say what was written where."""
    if json:
        print_json(
            {
                "out": str(out),
                "agents": panel.n_agents,
                "transitions": panel.n_transitions,
                "fingerprint": panel.fingerprint(),
            }
        )
    else:
        from twinfold.utils.text import counted

        transitions = counted(panel.n_transitions, "transition")
        print(f"{out}: {counted(panel.n_agents, 'agent')}, {transitions}")


@app.command(name="import")
def import_(
    table: Place,
    /,
    *,
    columns: RoleFlags = RoleFlags(),
    out: Place | None = None,
    each: Flag = False,
    replace: Flag = False,
    json: Flag = False,
) -> int:
    """Guess which column is what and how values are written; write the manifest.

    Every guess is shown with its reason, and a flag that is given wins. The
    manifest goes beside the table, which stays as it is; it is written only if
    the table can be used by it (else the exit code is 3).

      twinfold data import cohort.csv
      twinfold data import cohort.csv --action dose --action-type continuous

    A data set of Minari, d3rlpy or with D4RL's arrays becomes a table, with its
    manifest:

      twinfold data import main_data.hdf5 --out cohort.parquet

    Args:
        table: A .csv, .tsv or .parquet file, compressed text (.csv.gz, .csv.zst), or a folder of
            Parquet files; or a .hdf5 or .h5 file or a folder of Minari.
        columns: What is known of the columns.
        out: Table to write, .parquet or .csv, of a data set of reinforcement learning.
        each: Take every episode of such a set for an agent, where it does not say whose it is.
        replace: Write the manifest anew if there is one.
        json: Print a record instead of tables.
    """
    from twinfold.data.import_table import import_table
    from twinfold.data.rl.convert import is_episodes

    if is_episodes(table):
        _import_episodes(table, out, each, json)
        return 0
    if out is not None:
        raise UsageError("--out goes with a data set of Minari, d3rlpy or D4RL; a table stays")
    known = columns.known(table)
    found = import_table(table, known, columns.form.given(), replace=replace)
    if json:
        print_json(found.record())
    else:
        _show_import(found)
    return 0 if found.written else InvalidDataError.exit_code


def _show_import(found: Imported) -> None:
    """Show what a table is taken for, what is wrong with it, and what was written."""
    from twinfold.cli.render import show_import

    show_import(console(), found)
    problems = [] if found.report is None else list(found.report.problems)
    others = {
        "agent": ", or add a column with its name if all rows are of one agent",
        "time": ", or add a column that counts each agent's rows if they stand in their order",
        "action": ", or --no-action if nobody acts",
    }
    problems += [
        f"no column could be told to be the {role}: give --{role}{others.get(role, '')}"
        for role in found.missing
    ]
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    for line in found.report.warnings if found.report else ():
        warn(line)
    print(f"manifest: {found.place}" if found.written else "nothing was written")


def _import_episodes(source: Path, out: Path | None, each: bool, json: bool) -> None:
    """Write a data set of reinforcement learning as a table."""
    from twinfold.data.io import TABLE_SUFFIXES, save_panel
    from twinfold.data.rl.convert import panel_of_episodes

    if out is None:
        raise UsageError("a data set of episodes needs --out, the table to write")
    check_outputs({"out": TABLE_SUFFIXES}, out=out)
    panel = panel_of_episodes(source, each=each)
    save_panel(panel, out, {"imported": source.name})
    _tell_written(panel, out, json)
    for line in panel.warnings:
        warn(line)


@app.command
def export(
    table: Place,
    /,
    *,
    out: Place,
    to: ExportFormat,
    columns: RoleFlags = RoleFlags(),
    json: Flag = False,
) -> None:
    """Write a table for another library: a folder for Minari, a file for d3rlpy, or Parquet.

    Trajectories become episodes; what the other format has no place for (ids,
    names of columns, times) is kept beside, so that `data import` brings the
    same panel back.

      twinfold data export cohort.parquet --to d3rlpy --out cohort.h5
      twinfold data export cohort.parquet --to minari --out cohort-v0

    Args:
        table: A .csv, .tsv or .parquet file, or a folder of Parquet; one row per agent and time.
        out: Place to write.
        to: minari, d3rlpy or parquet.
        columns: Which column is what.
        json: Print a record instead of a sentence.
    """
    from twinfold.data.io import load_panel
    from twinfold.data.rl.convert import write_episodes

    suffixes = {"minari": (), "d3rlpy": (".h5", ".hdf5"), "parquet": (".parquet", ".pq")}
    check_outputs({"out": suffixes[to]}, out=out)
    panel = load_panel(table, columns.roles(table), form=columns.form.given())
    write_episodes(panel, out, to)
    _tell_written(panel, out, json)


@app.command
def validate(
    table: Place,
    /,
    *,
    columns: RoleFlags = RoleFlags(),
    time_step: TimeStep = None,
    json: Flag = False,
) -> int:
    r"""Check a table: one line per problem, and what to do about it.

    Exit code 3 if there is a problem, 0 otherwise; warnings alone are no
    problem. Without column flags the manifest beside the table is used.

      twinfold data validate cohort.csv --agent patient --time day \
          --state weight,glucose --action dose --action-type continuous

    Args:
        table: A .csv, .tsv or .parquet file, or a folder of Parquet; one row per agent and time.
        columns: Which column is what.
        time_step: Time between two rows, or auto, regular, variable, as in `twinfold fit`.
        json: Print a record instead of lines.
    """
    from twinfold.data.io import read_with_roles
    from twinfold.data.validate import check

    try:
        read = read_with_roles(table, columns.roles(table), columns.form.given())
        step = read.time_step if time_step is None else time_step
        report = check(read.frame, read.roles, time_step=step, form=read.form)
        problems, warnings = report.problems, (*read.guessed, *report.warnings)
    except InvalidDataError as error:
        problems, warnings = error.problems, ()
    if json:
        print_json({"table": str(table), "problems": list(problems), "warnings": list(warnings)})
    else:
        for line in problems:
            print(f"error: {line}", file=sys.stderr)
        for line in warnings:
            warn(line)
        if not problems:
            print(f"{table}: valid")
    return InvalidDataError.exit_code if problems else 0


@app.command
def describe(
    table: Place,
    /,
    *,
    columns: RoleFlags = RoleFlags(),
    time_step: TimeStep = None,
    plot: Place | None = None,
    json: Flag = False,
) -> None:
    """Show agents, transitions per agent, ranges, and what the data covers.

    Without column flags the manifest beside the table is used.

      twinfold data describe cohort.parquet --plot coverage.png

    Args:
        table: A .csv, .tsv or .parquet file, or a folder of Parquet; one row per agent and time.
        columns: Which column is what.
        time_step: Time between two rows, or auto, regular, variable, as in `twinfold fit`.
        plot: Picture of the coverage to write: .png, .pdf or .svg.
        json: Print a record instead of tables.
    """
    from twinfold.data.describe import describe as describe_panel
    from twinfold.data.io import load_panel
    from twinfold.report.data_figure import SUFFIXES, coverage_figure

    check_outputs({"plot": SUFFIXES}, plot=plot)
    roles = columns.roles(table)
    dataset = load_panel(table, roles, form=columns.form.given(), time_step=time_step)
    record = describe_panel(dataset)
    if plot is not None:
        coverage_figure(dataset, plot)
    if json:
        print_json(record)
        return
    from twinfold.cli.render import show_description

    show_description(console(), record)
    for line in dataset.warnings:
        warn(line)
    if plot is not None:
        print(f"picture: {plot}")
