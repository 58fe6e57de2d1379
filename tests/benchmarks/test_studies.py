"""The page of the studies is made from the committed records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "studies.py"


def test_the_page_is_made_from_the_records(tmp_path: Path) -> None:
    made = tmp_path / "studies.md"
    subprocess.run([sys.executable, str(SCRIPT), "page", "--out", str(made)], check=True)
    shown = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    assert shown == made.read_text(encoding="utf-8")


def test_every_figure_of_the_page_is_there_and_small() -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    figures = re.findall(r"\((figures/study-[a-z_-]+\.png)\)", page)
    assert len(figures) >= 5
    for name in figures:
        assert (ROOT / "docs" / name).stat().st_size < 200_000


def test_proposition_1_stands_in_the_records() -> None:
    lines = (ROOT / "results" / "rank.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    free = {r["rank"]: r for r in rows if r["task"] == "unclipped_mountain_car"}
    # Two terms are not enough, three are, and more hardly help.
    assert free[2]["tensor_error"] > free[2]["least_error"] > 0.1
    assert free[3]["tensor_error"] < 0.02
    learned = free[8]["learned"]
    assert [found["numerical_rank"] for found in learned.values()] == [2, 3, 2]


def test_an_unknown_study_is_told_without_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "run", "nothing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "no study 'nothing'; valid: unseen, map" in done.stderr
    assert "Traceback" not in done.stderr
