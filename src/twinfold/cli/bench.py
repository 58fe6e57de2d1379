"""``twinfold bench``: run a suite of experiments and show its tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from twinfold.cli.console import interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag, Names, split
from twinfold.errors import UsageError

HELP = """Run the experiments of the PerSim paper, and others of their kind.

A suite is a TOML file; suites/table1.toml and suites/table2.toml are the
paper's Tables 1 and 2. Profiles say how much is measured: quick or paper.
"""

app = App(name="bench", help=HELP, help_format="plaintext")

Ids = Annotated[list[int] | None, Parameter(negative="", consume_multiple=False)]


def records_path(suite: str, profile: str, given: Path | None) -> Path:
    """Return where the records of a suite are kept."""
    return given or Path("results") / f"{suite}-{profile}.jsonl"


@app.command
def run(
    suite: str,
    /,
    *,
    profile: str = "quick",
    records: Path | None = None,
    work: Path = Path("runs/bench"),
    task: Names = None,
    dataset: Names = None,
    method: Names = None,
    agent: Ids = None,
    force: Flag = False,
    dry_run: Flag = False,
    quiet: Flag = False,
    json: Flag = False,
) -> None:
    """Measure what a suite asks for and has no record yet.

    Every figure is a line of JSON, written as soon as it is known. After an
    interrupt, or with other parts asked for, the same command goes on.

      twinfold bench run table1 --profile quick
      twinfold bench run table2 --task cart_pole --dataset random,pure

    Args:
        suite: Path of a suite, or its name in ./suites.
        profile: How much is measured, by the names in the suite.
        records: File of records; results/SUITE-PROFILE.jsonl if left out.
        work: Directory of the fits, which all suites share.
        task: Only these tasks.
        dataset: Only these data sets.
        method: Only these methods.
        agent: Only these agents.
        force: Measure again what was recorded with other settings.
        dry_run: Only list the cells and which are done.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print a record of what was done.
    """
    from twinfold.benchmark.suite import load_suite

    chosen = load_suite(suite)
    chosen.profile(profile)
    path = records_path(chosen.name, profile, records)
    set_up_jax()
    from twinfold.benchmark.pending import Part, plan_run
    from twinfold.benchmark.runner import run_suite

    part = Part(tasks=_asked(task), datasets=_asked(dataset), methods=_asked(method), agents=agent)
    if dry_run:
        _show_plan(plan_run(chosen, profile, path, part), path, json)
        return
    with (
        interruptible(lambda: f"the same command goes on; what is measured is in {path}"),
        talking(quiet) as talk,
    ):
        plan = run_suite(
            chosen,
            profile,
            path,
            work,
            part=part,
            force=force,
            log=talk.line,
            progress=talk.progress,
        )
    measured = len(plan.todo) + len(plan.changed)
    if json:
        print_json({"records": str(path), "measured": measured, "skipped": len(plan.done)})
    else:
        print(f"{path}: {measured} cells measured, {len(plan.done)} were there")


def _asked(values: list[str] | None) -> tuple[str, ...] | None:
    return None if values is None else split(values)


def _show_plan(plan: Any, path: Path, json: bool) -> None:
    cells = [
        *((cell, "done") for cell in plan.done),
        *((cell, "other settings") for cell in plan.changed),
        *((cell, "to run") for cell in plan.todo),
    ]
    if json:
        print_json(
            {"records": str(path), "cells": [{**c._asdict(), "status": s} for c, s in cells]}
        )
        return
    for cell, status in cells:
        print(f"{status:<14}  {cell}")
    print(
        f"{path}: {len(plan.done)} done, {len(plan.changed)} with other settings, "
        f"{len(plan.todo)} to run"
    )


@app.command
def table(
    suite: str,
    /,
    *,
    profile: str = "quick",
    records: Path | None = None,
    out: Path | None = None,
    csv: Path | None = None,
    plot: Path | None = None,
    short: Flag = False,
    json: Flag = False,
) -> None:
    """Show what was measured beside the paper's figures.

    The page is made from the records alone; what was not run says so. Without
    --short and --json it is also written beside the records.

      twinfold bench table table1
      twinfold bench table table2 --profile paper --plot table2.png

    Args:
        suite: Path of a suite, or its name in ./suites.
        profile: How much was measured, by the names in the suite.
        records: File of records; results/SUITE-PROFILE.jsonl if left out.
        out: Markdown file to write; results/SUITE-PROFILE.md if left out.
        csv: Table to write, one line per agent.
        plot: Picture to write: .png, .pdf or .svg.
        short: One row per task and data set, with the agent that fares worst.
        json: Print a record instead.
    """
    from twinfold.benchmark import comparison as summary, tables
    from twinfold.benchmark.records import read_records
    from twinfold.benchmark.suite import load_suite
    from twinfold.utils.files import atomic_write_text

    chosen = load_suite(suite)
    found = chosen.profile(profile)
    path = records_path(chosen.name, profile, records)
    if not path.is_file():
        raise UsageError(
            f"no records {path}: `twinfold bench run {suite} --profile {profile}` makes them"
        )
    known = read_records(path)
    entries = summary.summarise(chosen, found, known, path.parent)
    make = tables.short if short else tables.markdown
    text = make(chosen, profile, known, path.parent)
    if csv is not None:
        atomic_write_text(csv, tables.as_csv(entries))
    if plot is not None:
        from twinfold.benchmark.figure import save_picture

        save_picture(plot, chosen, entries)
    if out is None and not (short or json):
        out = path.with_suffix(".md")
    if out is not None:
        atomic_write_text(out, text)
    if json:
        print_json(summary.as_record(chosen, profile, known, path.parent))
        return
    print(text, end="")
    for written in (out, csv, plot):
        if written is not None:
            print(written, file=sys.stderr)
