"""What the page makes of made-up records."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.studies import studies_page
from twinfold.benchmark.studies.study_settings import ScarcitySettings

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = ScarcitySettings(title="Scarcity", runs=(("cart_pole", "random"),))


def row(method: str, count: int, error: float | None, **more: Any) -> dict[str, Any]:
    return {
        "study": "scarcity",
        "task": "cart_pole",
        "dataset": "random",
        "method": method,
        "training_agents": count,
        "agents": [{"agent": 0, "label": "2/0.5", "rmse_mean": error}],
        "median_over_agents": error,
        "returns": None,
        "fit_of": {"steps": 12_500, "seconds": 31.4},
        **more,
    }


def test_rows_are_in_order_of_agents_and_methods_and_the_latest_counts() -> None:
    returns = [{"agent": 0, "label": "2/0.5", "mean": 199.25, "std": 1.0, "n": 3}]
    records = [
        row("cadm", 25, 0.7),
        row("persim", 50, 9.0),
        row("persim", 25, 0.123456),
        row("persim", 50, 0.00001234, returns=returns),
        row("pooled", 25, None),
    ]
    page = studies_page({"scarcity": SETTINGS}, {"scarcity": records})
    lines = [line for line in page.splitlines() if line.startswith(("| 25", "| 50"))]
    assert lines == [
        "| 25 | twinfold | 0.123 | 0.123 | 12,500 | 31 |",
        "| 25 | pooled | diverged | diverged | 12,500 | 31 |",
        "| 25 | CaDM | 0.7 | 0.7 | 12,500 | 31 |",
        "| 50 | twinfold | 0.000012 | 0.000012 | 12,500 | 31 |",
    ]
    assert "| CartPole, random | 50 | twinfold | 199.2 | 3 |" in page


def test_a_study_without_records_is_left_out() -> None:
    page = studies_page({"scarcity": SETTINGS}, {})
    assert page.startswith("# Figures and studies of the paper")
    assert "## " not in page


def test_the_committed_page_is_made_from_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, script = tmp_path / "studies.md", ROOT / "docs" / "make_studies.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--out", str(made)])
    runpy.run_path(str(script), run_name="__main__")
    assert (ROOT / "docs" / "studies.md").read_text("utf-8") == made.read_text("utf-8")


def test_every_figure_of_the_committed_page_is_there_and_small() -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    figures = re.findall(r"\((figures/study-[a-z_-]+\.png)\)", page)
    assert len(figures) >= 5
    for name in figures:
        assert (ROOT / "docs" / name).stat().st_size < 200_000


def test_proposition_1_stands_in_the_committed_records() -> None:
    lines = (ROOT / "results" / "study-rank-quick.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    free = {r["rank"]: r for r in rows if r["task"] == "unclipped_mountain_car"}
    # Two terms are not enough, three are, and more hardly help.
    assert free[2]["tensor_error"] > free[2]["least_error"] > 0.1
    assert free[3]["tensor_error"] < 0.02
    learned = free[8]["learned"]
    assert [found["numerical_rank"] for found in learned.values()] == [2, 3, 2]
