"""Records of studies: found by what they are of and by their settings; damage is told."""

from __future__ import annotations

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

SETTINGS = RankSettings(title="x", runs=(("cart_pole", "random"),))


def record(rank: int, figure: float, settings: RankSettings = SETTINGS) -> dict[str, Any]:
    identity = {"task": "cart_pole", "dataset": "random", "rank": rank}
    return study_record("rank", identity, settings, {"error": figure})


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
