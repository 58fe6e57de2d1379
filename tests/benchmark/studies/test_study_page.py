"""What the page makes of made-up records."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.studies import draw_study, studies_page
from twinfold.benchmark.studies.study_settings import (
    BandSettings,
    MapSettings,
    RankSettings,
    UnseenSettings,
)

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = RankSettings(title="Rank", runs=(("cart_pole", "random"),))


def row(rank: int, error: float | None) -> dict[str, Any]:
    spectra = {"agents": {"numerical_rank": rank}}
    return {
        "study": "rank",
        "task": "cart_pole",
        "dataset": "random",
        "rank": rank,
        "tensor_error": error,
        "least_error": 0.5,
        "rmse": {"median": error},
        "learned": spectra,
        "true": spectra,
        "settings": {"tolerance": 0.01},
    }


def test_the_latest_record_of_a_run_counts_and_what_diverged_says_so() -> None:
    records = [row(1, 0.7), row(2, 9.0), row(3, None), row(2, 0.00001234)]
    page = studies_page({"rank": SETTINGS}, {"rank": records})
    assert [line for line in page.splitlines() if line.startswith("| CartPole")] == [
        "| CartPole, random | 1 | 0.7 | 0.5 | 0.7 | 1 | 1 |",
        "| CartPole, random | 2 | 0.000012 | 0.5 | 0.000012 | 2 | 2 |",
        "| CartPole, random | 3 | diverged | 0.5 | diverged | 3 | 3 |",
    ]
    assert "above 1 % of the largest" in page
    assert "![Error and singular values](figures/study-rank.png)" in page


def unseen(dataset: str, ways: list[str]) -> dict[str, Any]:
    found = {"median": 0.5, "low": 0.25, "high": 1.0, "agents": [0.5, 0.5]}
    return {
        "study": "unseen",
        "task": "cart_pole",
        "dataset": dataset,
        "unseen_agents": [0, 1],
        "ways": dict.fromkeys(ways, found),
        "static_explained": 0.5,
        "settings": {"agents": 9, "known": [1]},
    }


def test_a_way_that_one_record_lacks_leaves_the_others_in_their_columns(tmp_path: Path) -> None:
    """Its columns moved to the left, under the heading of another task."""
    settings = UnseenSettings(title="Unseen", runs=(("cart_pole", "random"),), agents=9, unseen=5)
    records = [unseen("random", ["nothing"]), unseen("pure", ["nothing", "1 transitions"])]
    page = studies_page({"unseen": settings}, {"unseen": records})
    assert "| 1 transition | – | 0.5 (0.25–1) |" in page
    assert [path.name for path in draw_study("unseen", settings, records, tmp_path)]


def agents_map(dataset: str, r2: float | None) -> dict[str, Any]:
    reads = {"force": r2}
    return {
        "study": "map",
        "task": "cart_pole",
        "dataset": dataset,
        "covariates": {"force": [1.0, 2.0, None]},
        "pca": [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]],
        "tsne": [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]],
        "explained_by_pca": [0.75, 0.25],
        "components": 2,
        "r2": {"linear": reads, "smooth": reads, "pca_map": reads, "tsne_map": reads},
        "settings": {"folds": 2},
    }


def test_maps_of_two_data_sets_of_a_task_are_two_pictures(tmp_path: Path) -> None:
    """The second was drawn over the first, and shown for both."""
    settings = MapSettings(title="Maps", runs=(("cart_pole", "random"),))
    one, two = agents_map("random", 0.5), agents_map("a/b", None)
    files = [path.name for path in draw_study("map", settings, [one, two], tmp_path)]
    assert files == ["study-map-cart_pole-random.png", "study-map-cart_pole-a_b.png"]
    page = studies_page({"map": settings}, {"map": [one, two]})
    assert [page.count(f"(figures/{name})") for name in files] == [1, 1]
    assert "| CartPole, a/b | force | – | – | – | – | 2 |" in page
    # One data set of each task is the usual case, and its picture has the task's name alone.
    assert draw_study("map", settings, [one], tmp_path)[0].name == "study-map-cart_pole.png"


@pytest.mark.parametrize("far", [None, 1e60, 1e308, -1e308])
def test_a_band_that_diverged_is_drawn_without_what_cannot_be(
    tmp_path: Path, far: float | None
) -> None:
    settings = BandSettings(title="Bands", runs=(("cart_pole", "random"),))
    rows = [[0.0], [far]]
    agent = {"label": "10/0.5", "true": [[0.0], [0.5], [1.0]], "predicted": rows}
    record = {
        "task": "cart_pole",
        "dataset": "random",
        "columns": ["x"],
        "coverage": 0.9,
        "agents": [{**agent, "low": rows, "high": rows}],
    }
    (path,) = draw_study("bands", settings, [record], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_study_without_records_is_left_out() -> None:
    page = studies_page({"rank": SETTINGS}, {})
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
    figures = re.findall(r"\((figures/[a-z_-]+\.png)\)", page)
    assert len(figures) >= 5
    assert {"figures/scarcity.png", "figures/scarcity_return.png"} <= {*figures}
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
