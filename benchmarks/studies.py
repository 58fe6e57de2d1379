"""Figures and studies of the paper beside its tables: run, draw, and the page of all.

What is measured, on which data and with which budget, stands in ``suites/unseen.toml`` and
``suites/figures.toml``; the studies themselves are in ``twinfold.benchmark.studies``. Records go to
``results/STUDY.jsonl``; what is there already is not run again. Fits are kept in ``runs/studies``.

    python benchmarks/studies.py run unseen
    python benchmarks/studies.py run map --fit runs/mine
    python benchmarks/studies.py figure unseen
    python benchmarks/studies.py page
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from twinfold.benchmark.studies import STUDIES, load_studies, read_studies
from twinfold.errors import TwinfoldError

ROOT = Path(__file__).resolve().parent.parent
SUITES = [ROOT / "suites" / name for name in ("unseen.toml", "figures.toml")]


def main() -> None:
    """Run what is missing of a study, draw its figures, or write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "figure", "page"))
    parser.add_argument("names", nargs="*", help=f"studies: {', '.join(STUDIES)}; all if none")
    parser.add_argument("--suite", type=Path, action="append", help="TOML files in place of ours")
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="folder of records")
    parser.add_argument("--fits", type=Path, default=ROOT / "runs" / "studies")
    parser.add_argument("--fit", type=Path, help="run directory to study: map and bands")
    parser.add_argument("--out", type=Path, help="folder of figures, or file of the page")
    given = parser.parse_args()
    try:
        settings = load_studies(*(given.suite or SUITES))
        unknown = [name for name in given.names if name not in settings]
        if unknown:
            raise SystemExit(f"no study {unknown[0]!r}; valid: {', '.join(settings)}")
        chosen = {name: settings[name] for name in given.names or settings}
        if given.what == "run":
            from twinfold.benchmark.studies import run_on_fit, run_study

            for name, own in chosen.items():
                records = given.results / f"{name}.jsonl"
                if given.fit is None:
                    run_study(name, own, records, given.fits, _say)
                else:
                    run_on_fit(name, own, given.fit, records, _say)
            return
        known = {name: read_studies(given.results / f"{name}.jsonl") for name in chosen}
        if given.what == "page":
            from twinfold.benchmark.studies import studies_page

            out = given.out or ROOT / "docs" / "studies.md"
            out.write_text(studies_page(chosen, known), encoding="utf-8")
            return
        from twinfold.benchmark.studies import draw_study

        for name, own in chosen.items():
            for path in draw_study(name, own, known[name], given.out or ROOT / "docs/figures"):
                _say(f"{path}: {path.stat().st_size // 1000} kB")
    except TwinfoldError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on with what is missing")
        raise SystemExit(130) from None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
