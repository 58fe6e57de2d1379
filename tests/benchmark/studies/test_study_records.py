"""Records of studies: found by what they are of and by their settings; damage is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.studies.study_records import (
    append_study,
    find_study,
    latest_records,
    read_studies,
    study_record,
)
from twinfold.benchmark.studies.study_settings import RankSettings
from twinfold.errors import RunError, UsageError

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = RankSettings(title="x", runs=(("cart_pole", "random"),))


def record(rank: int, figure: float, settings: RankSettings = SETTINGS) -> dict[str, Any]:
    identity = {"task": "cart_pole", "dataset": "random", "rank": rank}
    return study_record("another", identity, settings, {"error": figure})


def test_a_record_is_found_again_by_identity_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rank.jsonl"
    assert read_studies(path) == []
    rows = [record(1, 0.5), record(2, 0.25), record(1, float("nan"))]
    for row in rows:
        append_study(path, row)
    known = read_studies(path)
    assert known == rows
    found = find_study(known, SETTINGS, task="cart_pole", rank=1)
    assert found is not None
    assert found["error"] is None  # the latest, and what is no number is kept as none
    # More ranks and another title change no figure; another seed does.
    more = SETTINGS.model_copy(update={"ranks": (1, 2, 30), "title": "y"})
    assert find_study(known, more, rank=2) == rows[1]
    assert find_study(known, SETTINGS.model_copy(update={"seed": 1}), rank=2) is None
    assert find_study(known, SETTINGS, rank=3) is None
    # What a record says beyond what is asked for does no harm.
    known[1]["settings"]["older"] = 1
    assert find_study(known, SETTINGS, rank=2) == known[1]


def test_the_latest_of_each_run_counts_in_the_order_of_the_first() -> None:
    rows = [record(1, 0.5), record(2, 0.25), record(1, 0.125)]
    assert [row["error"] for row in latest_records(rows)] == [0.125, 0.25]


@pytest.mark.parametrize(
    "line", ["{", '{"format": "twinfold-bench"}', "[]", '{"format": "twinfold-study"}', "1e999"]
)
def test_a_damaged_or_foreign_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rank.jsonl"
    append_study(path, record(1, 0.5))
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RunError, match="line 2"):
        read_studies(path)


def test_a_torn_last_line_is_dropped_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rank.jsonl"
    append_study(path, record(1, 0.5))
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    append_study(path, record(2, 0.25))
    assert [row["rank"] for row in read_studies(path)] == [1, 2]
    path.write_text(whole + "somebody's notes")
    with pytest.raises(UsageError, match="no record of a study"):
        append_study(path, record(2, 0.25))
    assert path.read_text() == whole + "somebody's notes"


def committed(study: str) -> dict[str, Any]:
    """The first record of a study among the committed ones."""
    lines = (ROOT / "results" / f"study-{study}-quick.jsonl").read_text("utf-8").splitlines()
    return json.loads(lines[0])


def test_committed_records_are_read() -> None:
    for study in ("unseen", "map", "carts", "bands", "rank"):
        assert read_studies(ROOT / "results" / f"study-{study}-quick.jsonl")


@pytest.mark.parametrize(
    ("study", "place", "value", "told"),
    [
        ("rank", ["learned"], ..., "'?learned'? is missing"),
        ("rank", ["least_error"], "much", "'?least_error'? cannot be 'much'"),
        ("rank", ["task"], "pendulum", "there is no task 'pendulum'"),
        ("rank", ["settings"], [], "'?settings'? cannot be"),
        ("rank", ["settings", "tolerance"], None, "settings.tolerance'? cannot be None"),
        ("unseen", ["ways", "nothing", "agents", 2], "x", "ways.nothing.agents.2"),
        ("unseen", ["seconds"], [1.0], "'?seconds'? cannot be"),
        ("map", ["pca", 3], [0.5], "pca is no table of .* rows and 2 columns"),
        ("map", ["covariates", "extra"], [0.5], "covariates.extra has 1 agents"),
        ("map", ["r2", "smooth"], {}, "r2: smooth says nothing of"),
        ("bands", ["agents", 0, "high", 1], [], "agents.0.high is no table"),
        ("bands", ["agents", 0, "label"], 5, "agents.0.label"),
        ("carts", ["predicted", "cadm", 0], [0.0], "predicted.cadm is no table of 4 rows"),
        ("carts", ["predicted", "other"], [[0.0]], "there is no model 'other'"),
        ("carts", ["rmse_shown"], {"persim": 1.0}, "rmse_shown says nothing of"),
        ("carts", ["states", 0], "y", "a cart has the states x and theta"),
        ("carts", ["label"], "10", "'?label'? cannot be '10'"),
    ],
)
def test_a_record_of_other_types_or_sizes_is_told_by_its_line(
    tmp_path: Path, study: str, place: list[Any], value: Any, told: str
) -> None:
    """Each was a traceback of `bench page`, far from the file."""
    record = committed(study)
    inner: Any = record
    for name in place[:-1]:
        inner = inner[name]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(committed(study)) + "\n" + json.dumps(record) + "\n")
    with pytest.raises(RunError, match=f"line 2 is no such record: .*{told}.*to measure anew"):
        read_studies(path)
