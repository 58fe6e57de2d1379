"""``twinfold bench`` for suites that hold studies: figures and experiments beside the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from twinfold.cli.bench_flags import PartFlags
from twinfold.cli.console import interruptible, print_json, set_up_jax, talking
from twinfold.cli.flags import Names, check_outputs, names
from twinfold.cli.values import Place
from twinfold.errors import UsageError, one_of

if TYPE_CHECKING:
    from twinfold.benchmark.studies import StudySettings

Studies = Mapping[str, "StudySettings"]


@Parameter(name="*")
@dataclass(frozen=True)
class StudyFlags:
    """What only suites of studies have.

    Attributes:
        study: Only these studies, of a suite that holds studies.
        fit: Run directory to study in place of a fit of the suite; studies map and bands.
    """

    study: Names = None
    fit: Place | None = None


def refuse_study_flags(flags: StudyFlags, suite: str) -> None:
    """Refuse flags of studies for a suite of tables.

    Raises:
        UsageError: one is given.
    """
    for name in ("study", "fit"):
        if getattr(flags, name) is not None:
            raise UsageError(f"--{name} is of suites that hold studies; {suite} holds a table")


def chosen_studies(suite: str, profile: str, only: PartFlags, study: Names = None) -> Studies:
    """Return the settings of the studies that are asked for.

    Args:
        suite: path or name of a suite of the kind ``study``.
        profile: how much is measured.
        only: tasks and data sets; methods and agents are settings of a study.
        study: names of studies; all if None.

    Raises:
        UsageError: a name is not in the suite, or nothing is left.
    """
    from twinfold.benchmark.studies import load_studies
    from twinfold.benchmark.suite_files import find_suite

    for flag in ("method", "agent", "training_agents"):
        if getattr(only, flag) is not None:
            word = flag.replace("_", "-")
            raise UsageError(f"--{word} is of suites of tables; {suite} holds studies: --study")
    found = load_studies(find_suite(suite), profile)
    asked = names(study, found)
    if unknown := [name for name in asked if name not in found]:
        raise UsageError(f"{suite} has no study {unknown[0]!r}; {one_of(found)}")
    part = only.part()
    kept = {}
    for name in asked or found:
        runs = tuple(
            (task, dataset)
            for task, dataset in found[name].runs
            if task in (part.tasks or (task,)) and dataset in (part.datasets or (dataset,))
        )
        if runs:
            kept[name] = found[name].model_copy(update={"runs": runs})
    if not kept:
        raise UsageError(f"{suite} has no study with all of what was asked for")
    return kept


def run_studies(
    studies: Studies,
    profile: str,
    folder: Path,
    work: Path,
    fit: Path | None,
    *,
    force: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Measure what has no record yet and return what was done, by study.

    Args:
        studies: settings by name.
        profile: how much is measured.
        folder: of the records.
        work: folder of fits.
        fit: run directory to study in place of a fit.
        force: measure again what is there.
        quiet: say nothing.
    """
    from twinfold.benchmark.studies import (
        read_studies,
        run_on_fit,
        run_study,
        study_records_path,
    )

    paths = {name: study_records_path(folder, name, profile) for name in studies}
    check_outputs(dict.fromkeys(paths, ()), **paths)
    set_up_jax()
    done = {}
    with (
        interruptible(lambda: f"the same command goes on; what is measured is in {folder}"),
        talking(quiet) as talk,
    ):
        for name, settings in studies.items():
            before = len(read_studies(paths[name]))
            if fit is not None:
                found = [run_on_fit(name, settings, fit, paths[name], talk.line)]
            else:
                found = run_study(name, settings, paths[name], work, talk.line, force=force)
            new = len(read_studies(paths[name])) - before
            done[name] = {
                "records": str(paths[name]),
                "measured": new,
                "skipped": len(found) - new,
            }
    return done


def tell_run(done: Mapping[str, Any], json: bool) -> None:
    """Print what was done, by study."""
    if json:
        print_json({"studies": done})
        return
    for what in done.values():
        print(f"{what['records']}: {what['measured']} measured, {what['skipped']} were there")


def show_jobs(studies: Studies, profile: str, folder: Path, json: bool) -> None:
    """Print which records there are and which would be made."""
    from twinfold.benchmark.studies import (
        find_study,
        read_studies,
        study_jobs,
        study_records_path,
    )

    rows = []
    for name, settings in studies.items():
        known = read_studies(study_records_path(folder, name, profile))
        for job in study_jobs(name, settings, Path()):
            there = find_study(known, settings, **job.identity) is not None
            rows.append((name, job, "done" if there else "to run"))
    if json:
        print_json({"jobs": [{"study": n, **j.identity, "status": s} for n, j, s in rows]})
        return
    for name, job, state in rows:
        print(f"{state:<14}  {name}: {job.said}")
    done = sum(state == "done" for *_, state in rows)
    print(f"{folder}: {done} done, {len(rows) - done} to run")


def study_records(studies: Studies, suite: str, profile: str, folder: Path) -> dict[str, Any]:
    """Return the records of studies by name.

    Raises:
        UsageError: there are none at all.
    """
    from twinfold.benchmark.studies import read_studies, study_records_path

    found = {name: read_studies(study_records_path(folder, name, profile)) for name in studies}
    if not any(found.values()):
        raise UsageError(
            f"no records of {suite} in {folder}: `twinfold bench run {suite} --profile {profile}` "
            "makes them"
        )
    return found


def draw_studies(studies: Studies, suite: str, profile: str, folder: Path, out: Path) -> list[Path]:
    """Draw the figures of studies into a folder and return where they are.

    Raises:
        UsageError: there are no records, or the folder is a file.
    """
    from twinfold.benchmark.studies import draw_study

    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; a suite of studies needs a folder for figures")
    if out.suffix:
        raise UsageError(f"--out {out}: a suite of studies has several figures; give a folder")
    records = study_records(studies, suite, profile, folder)
    check_outputs({"out": ()}, out=out / "figure.png")
    return [
        path for name, own in studies.items() for path in draw_study(name, own, records[name], out)
    ]
