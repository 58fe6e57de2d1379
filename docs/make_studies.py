"""Make docs/studies.md and its figures from the records of the studies and of the scarcity suites.

    python docs/make_studies.py
    python docs/make_studies.py --out studies.md    # that page alone, without figures

The records are made by ``twinfold bench run`` of ``unseen``, ``figures``, ``scarcity`` and
``scarcity_return``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from twinfold.benchmark import (
    load_suite,
    read_records,
    save_picture,
    sizes_markdown,
    summarise,
)
from twinfold.benchmark.studies import (
    draw_study,
    load_studies,
    read_studies,
    studies_page,
    study_records_path,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"
SUITES = [ROOT / "suites" / name for name in ("unseen.toml", "figures.toml")]
SIZES = [ROOT / "suites" / name for name in ("scarcity.toml", "scarcity_return.toml")]
PROFILE = "quick"


def main() -> None:
    """Write the page, and the figures beside it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="file of the page; figures are then left out")
    given = parser.parse_args()
    settings = {name: own for suite in SUITES for name, own in load_studies(suite).items()}
    known = {name: read_studies(study_records_path(RESULTS, name, PROFILE)) for name in settings}
    suites = [load_suite(path).resolved(PROFILE) for path in SIZES]
    sizes = [
        (one, PROFILE, read_records(RESULTS / f"{one.name}-{PROFILE}.jsonl")) for one in suites
    ]
    page = studies_page(settings, known)
    page += "\n" + sizes_markdown(
        "Few agents to learn from (the paper's F.6)", sizes, RESULTS, "figures/"
    )
    out = given.out or ROOT / "docs" / "studies.md"
    out.write_text(page.rstrip() + "\n", encoding="utf-8")
    if given.out is not None:
        return
    figures = ROOT / "docs" / "figures"
    drawn = [
        p for name, own in settings.items() for p in draw_study(name, own, known[name], figures)
    ]
    for suite, profile, records in sizes:
        drawn.append(figures / f"{suite.name}.png")
        entries = summarise(suite, suite.profile(profile), records, RESULTS)
        save_picture(drawn[-1], suite, entries)
    for path in drawn:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
