"""Make docs/studies.md and its figures from the records of the studies.

    python docs/make_studies.py
    python docs/make_studies.py --out studies.md    # that page alone, without figures

The records are made by ``twinfold bench run unseen`` and ``twinfold bench run figures``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from twinfold.benchmark.studies import (
    draw_study,
    load_studies,
    read_studies,
    studies_page,
    study_records_path,
)

ROOT = Path(__file__).resolve().parent.parent
SUITES = [ROOT / "suites" / name for name in ("unseen.toml", "figures.toml")]


def main() -> None:
    """Write the page, and the figures beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="file of the page; figures are then left out")
    given = parser.parse_args()
    settings = {name: own for suite in SUITES for name, own in load_studies(suite).items()}
    results = ROOT / "results"
    known = {name: read_studies(study_records_path(results, name, "quick")) for name in settings}
    out = given.out or ROOT / "docs" / "studies.md"
    out.write_text(studies_page(settings, known), encoding="utf-8")
    if given.out is None:
        for name, own in settings.items():
            for path in draw_study(name, own, known[name], ROOT / "docs" / "figures"):
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
