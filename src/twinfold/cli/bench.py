"""``twinfold bench``: run a suite of experiments and show its tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App

from twinfold.cli.bench_flags import PartFlags, is_study, loaded, recorded, records_path
from twinfold.cli.bench_studies import (
    StudyFlags,
    chosen_studies,
    refuse_study_flags,
    run_studies,
    show_jobs,
    study_records,
    tell_run,
)
from twinfold.cli.bench_views import RESULTS, figure, page, status
from twinfold.cli.console import interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Flag, Names, all_or_none, check_outputs, names
from twinfold.cli.values import Place
from twinfold.errors import TwinfoldError, UsageError, one_of

if TYPE_CHECKING:
    from twinfold.benchmark.suite import Suite

HELP = """Run the experiments of the PerSim paper, and others of their kind.

A suite is a TOML file; suites/table1.toml and suites/table2.toml are the
paper's Tables 1 and 2, suites/figures.toml holds its figures. Profiles say
how much is measured: smoke, quick or paper.
"""

app = App(name="bench", help=HELP, help_format="plaintext")
for command in (status, figure, page):
    app.command(command)


@app.command
def run(
    suite: str,
    /,
    *,
    profile: str = "quick",
    records: Place | None = None,
    work: Place = Path("runs/bench"),
    only: PartFlags = PartFlags(),
    studies: StudyFlags = StudyFlags(),
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
      twinfold bench run figures --study map,rank

    Args:
        suite: Path of a suite, or its name in ./suites.
        profile: How much is measured, by the names in the suite.
        records: File of records; results/SUITE-PROFILE.jsonl if left out. Of studies the
            directory; results, with a file per study, if left out.
        work: Directory of the fits, which all suites share.
        only: The part of the suite to run.
        studies: The part of a suite that holds studies.
        force: Measure again what was recorded with other settings.
        dry_run: Only list the cells and which are done.
        quiet: Say nothing on standard error unless something is wrong.
        json: Print a record of what was done.
    """
    if is_study(suite):
        settings = chosen_studies(suite, profile, only, studies.study)
        if dry_run:
            show_jobs(settings, profile, records or RESULTS, json)
            return
        places = (records or RESULTS, work, studies.fit)
        tell_run(run_studies(settings, profile, *places, force=force, quiet=quiet), json)
        return
    refuse_study_flags(studies, suite)
    chosen = loaded(suite, profile)
    path = records_path(chosen.name, profile, records)
    check_outputs({"records": (), "work": ()}, records=path, work=work / "fit")
    set_up_jax()
    from twinfold.benchmark.pending import plan_run
    from twinfold.benchmark.runner import run_suite

    part = only.part()
    if dry_run:
        _show_plan(plan_run(chosen, profile, path, part), path, json)
        return
    with (
        interruptible(lambda: f"the same command goes on; what is measured is in {path}"),
        talking(quiet) as talk,
    ):
        voice = {"log": talk.line, "progress": talk.progress}
        plan = run_suite(chosen, profile, path, work, part=part, force=force, **voice)
    failed, skipped = len(plan.failed), len(plan.done)
    measured = len(plan.todo) + len(plan.changed) - failed
    if json:
        record = {"records": str(path), "measured": measured, "skipped": skipped}
        print_json(record | ({"failed": failed} if failed else {}))
    else:
        print(f"{path}: {measured} cells measured, {skipped} were there")
    _tell_failed(plan)


def _tell_failed(plan: Any) -> None:
    """Say which cells could not be measured.

    Raises:
        TwinfoldError: there are some.
    """
    if plan.failed:
        cell, why = next(iter(plan.failed.items()))
        raise TwinfoldError(
            f"{len(plan.failed)} cells could not be measured. The first is {cell}: {why}\n"
            f"`twinfold bench status` lists them; the same command tries them again"
        )


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
    for cell, state in cells:
        print(f"{state:<14}  {cell}")
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
    records: Place | None = None,
    out: Place | None = None,
    csv: Place | None = None,
    plot: Place | None = None,
    short: Flag = False,
    method: Names = None,
    json: Flag = False,
) -> None:
    """Show what was measured beside the paper's figures.

    The page is made from the records alone; what was not run says so. Without
    --short and --json it is also written beside the records.

      twinfold bench table table1
      twinfold bench table table1 --short --method persim
      twinfold bench table table2 --profile paper --plot table2.png

    Args:
        suite: Path of a suite, or its name in ./suites.
        profile: How much was measured, by the names in the suite.
        records: File of records; results/SUITE-PROFILE.jsonl if left out.
        out: Markdown file to write; results/SUITE-PROFILE.md if left out.
        csv: Table to write, one line per agent.
        plot: Picture to write: .png, .pdf or .svg.
        short: One row per task and data set, with the agent that fares worst.
        method: Only these methods, with --short.
        json: Print a record instead.
    """
    if is_study(suite):
        if short or method or csv or plot:
            raise UsageError(
                f"--short, --method, --csv and --plot are of tables; {suite} has studies"
            )
        _tell_studies(suite, profile, records or RESULTS, out, json)
        return
    chosen, path = recorded(suite, profile, records)
    if out is None and not (short or json):
        out = path.with_suffix(".md")
    only = () if method is None else tuple(names(method))
    if only and not short:
        raise UsageError("--method chooses rows of --short; the whole page has every method")
    if unknown := [name for name in only if name not in chosen.methods]:
        raise UsageError(f"--method: no {unknown[0]!r} in this suite; {one_of(chosen.methods)}")
    record, text = _write_table(chosen, profile, path, only if short else None, (out, csv, plot))
    if json:
        print_json(record)
        return
    print(text, end="")
    for written in (out, csv, plot):
        if written is not None:
            print(written, file=sys.stderr)


def _tell_studies(suite: str, profile: str, folder: Path, out: Path | None, json: bool) -> None:
    """Print the tables of a suite that holds studies, and write them."""
    from twinfold.benchmark.studies import studies_tables
    from twinfold.benchmark.suite_files import find_suite
    from twinfold.utils.files import atomic_write_text

    settings = chosen_studies(suite, profile, PartFlags())
    found = study_records(settings, suite, profile, folder)
    if json:
        print_json({"studies": found})
        return
    target = out or folder / f"{find_suite(suite).stem}-{profile}.md"
    check_outputs({"out": ()}, out=target)
    text = studies_tables(settings, found)
    atomic_write_text(target, text)
    print(text, end="")
    print(target, file=sys.stderr)


def _write_table(
    suite: Suite,
    profile: str,
    records: Path,
    short: Sequence[str] | None,
    files: tuple[Path | None, ...],
) -> tuple[dict[str, Any], str]:
    """Write page, table and picture, those that are asked for; return the record and the page.

    With ``short`` the page is a row for each of these methods, of all if there are none.
    """
    from twinfold.benchmark import comparison, tables
    from twinfold.benchmark.figure import SUFFIXES, save_picture
    from twinfold.benchmark.records import read_records
    from twinfold.utils.files import atomic_write_text

    out, csv, plot = files
    check_outputs({"out": (), "csv": (), "plot": SUFFIXES}, out=out, csv=csv, plot=plot)
    known = read_records(records)
    entries = comparison.summarise(suite, suite.profile(profile), known, records.parent)
    if short is None:
        text = tables.markdown(suite, profile, known, records.parent)
    else:
        text = tables.short(suite, profile, known, records.parent, short)
    with all_or_none(*files) as drafts:
        if csv is not None:
            atomic_write_text(drafts[csv], tables.as_csv(entries))
        if plot is not None:
            save_picture(drafts[plot], suite, entries)
        if out is not None:
            atomic_write_text(drafts[out], text)
    return comparison.as_record(suite, profile, known, records.parent), text
