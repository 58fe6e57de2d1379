"""``twinfold bench status``, ``figure`` and ``page``: what the records of suites say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twinfold.cli.bench_flags import PartFlags, is_study, recorded, records_path, several
from twinfold.cli.bench_studies import chosen_studies, draw_studies, study_records
from twinfold.cli.console import print_json
from twinfold.cli.flags import Flag, check_outputs
from twinfold.cli.values import Place

RESULTS = Path("results")


def status(
    *suites: str,
    profile: str = "quick",
    records: Place | None = None,
    only: PartFlags = PartFlags(),
    json: Flag = False,
) -> None:
    """Say how far suites are: cells done, diverged, failed and left, and the time left.

    The time is that of cells of the same kind, by the records. A cell that
    diverged was measured and is not finite; one that failed is tried again by
    the next run.

      twinfold bench status
      twinfold bench status table1 --profile paper --method cadm

    Args:
        suites: Paths of suites, or their names in ./suites; all there if none.
        profile: How much is measured, by the names in the suite.
        records: File of records of one suite; results/SUITE-PROFILE.jsonl if left out. Of studies
            the directory.
        only: The part of the suites that is asked for.
        json: Print a record instead.
    """
    from twinfold.benchmark.status import lines_of, status_of
    from twinfold.benchmark.suite_files import find_suite
    from twinfold.errors import UsageError

    tables, studies = several(suites, profile)
    if records is not None and len(tables) + len(studies) > 1:
        raise UsageError("--records is the file of one suite; name the suite")
    found = [
        status_of(suite, profile, records_path(suite.name, profile, records), only.part())
        for suite in tables
    ]
    if studies:
        from twinfold.benchmark.studies import study_status

        part = only if suites else PartFlags()
        found += [
            study_status(
                find_suite(name).stem,
                profile,
                chosen_studies(name, profile, part),
                records or RESULTS,
            )
            for name in studies
        ]
    if json:
        print_json({"suites": [one.record() for one in found]})
        return
    print("\n\n".join("\n".join(lines_of(one)) for one in found))


def figure(
    suite: str,
    /,
    *,
    out: Place,
    profile: str = "quick",
    records: Place | None = None,
) -> None:
    """Draw what was measured beside the paper's figures.

      twinfold bench figure table2 --out table2.png
      twinfold bench figure figures --out figures

    Args:
        suite: Path of a suite, or its name in ./suites.
        out: Picture to write: .png, .pdf or .svg; of studies the folder for theirs.
        profile: How much was measured, by the names in the suite.
        records: File of records; results/SUITE-PROFILE.jsonl if left out. Of studies the directory.
    """
    if is_study(suite):
        settings = chosen_studies(suite, profile, PartFlags())
        for path in draw_studies(settings, suite, profile, records or RESULTS, out):
            print(path)
        return
    from twinfold.benchmark import comparison
    from twinfold.benchmark.figure import SUFFIXES, save_picture
    from twinfold.benchmark.records import read_records

    check_outputs({"out": SUFFIXES}, out=out)
    chosen, path = recorded(suite, profile, records)
    known = read_records(path)
    entries = comparison.summarise(chosen, chosen.profile(profile), known, path.parent)
    save_picture(out, chosen, entries)
    print(out)


def page(
    *suites: str,
    profile: str = "quick",
    results: Place = Path("results"),
    out: Place | None = None,
) -> None:
    """Write one page with what was measured of all suites; it opens offline.

    Every figure with its interval beside the paper's, the best one marked
    where intervals do not overlap, what was spent, and what is odd.

      twinfold bench page
      twinfold bench page table1 table2 --profile paper --out page.html

    Args:
        suites: Paths of suites, or their names in ./suites; all with records if none.
        profile: How much was measured, by the names in the suites.
        results: Directory of the records, SUITE-PROFILE.jsonl and study-STUDY-PROFILE.jsonl.
        out: Page to write; PROFILE.html beside the records if left out.
    """
    from twinfold.benchmark.page import write_results
    from twinfold.benchmark.records import read_records
    from twinfold.errors import UsageError

    target = results / f"{profile}.html" if out is None else out
    check_outputs({"out": (".html", ".htm")}, out=target)
    tables, studies = several(suites, profile)
    if not suites:  # the paper's tables first
        tables = sorted(tables, key=lambda suite: bool(suite.training_agents))
    chosen = [
        (suite, path)
        for suite in tables
        if (path := results / f"{suite.name}-{profile}.jsonl").exists() or suites
    ]
    missing = [path for _, path in chosen if not path.exists()]
    sections = [] if missing else _study_sections(studies, profile, results, bool(suites))
    if missing or not (chosen or sections):
        name = missing[0] if missing else f"{results}/SUITE-{profile}.jsonl"
        raise UsageError(f"no records {name}: `twinfold bench run` makes them")
    found = [(suite, read_records(path)) for suite, path in chosen]
    write_results(target, profile, found, results, sections)
    print(target, file=sys.stderr)


def _study_sections(suites: list[str], profile: str, results: Path, named: bool) -> list[Any]:
    """Return the sections of suites that hold studies; one without records must not be named."""
    from twinfold.benchmark.studies import studies_sections
    from twinfold.errors import UsageError

    sections = []
    for suite in suites:
        settings = chosen_studies(suite, profile, PartFlags())
        try:
            records = study_records(settings, suite, profile, results)
        except UsageError:
            if named:
                raise
            continue
        sections += studies_sections(settings, records)
    return sections
