from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.records import append_record, cell_of, compact, differences, read_records
from twinfold.benchmark.suite import Suite
from twinfold.errors import RunError, UsageError, WriteError


@pytest.fixture
def records(tiny: Suite, hand_made: Any) -> list[dict]:
    cells = tiny.cells(tiny.profile("quick"))
    return [
        hand_made(tiny, "quick", cell, rmse_mean=0.1 * k, r2_median=0.9)
        for k, cell in enumerate(cells)
    ]


def test_what_is_appended_is_read(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "new" / "records.jsonl"
    assert read_records(path) == {}
    for record in records:
        append_record(path, record)
    assert list(read_records(path).values()) == records
    assert len(path.read_bytes().splitlines()) == len(records)


def test_a_torn_last_line_is_dropped(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, records[0])
    append_record(path, records[1])
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 3):
        path.write_bytes(whole[:-cut])
        assert list(read_records(path).values()) == records[:1]
        append_record(path, records[2])
        assert list(read_records(path).values()) == [records[0], records[2]]


def test_a_file_that_is_one_torn_line_holds_nothing(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"format": "twinfold-be')
    assert read_records(path) == {}
    append_record(path, records[0])
    assert list(read_records(path).values()) == records[:1]


def test_the_later_record_of_a_cell_counts_and_compacting_keeps_it(
    tmp_path: Path, tiny: Suite, records: list[dict]
) -> None:
    path = tmp_path / "records.jsonl"
    order = list(tiny.cells(tiny.profile("quick")))
    for record in reversed(records):
        append_record(path, record)
    changed = {**records[1], "figures": {"rmse_mean": 7.0}}
    append_record(path, changed)
    foreign = {**records[0], "agent": 4}  # of an earlier form of the suite
    append_record(path, foreign)
    compact(path, order)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [records[0], changed, *records[2:], foreign]


def test_writers_at_the_same_time_do_not_mix_lines(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "records.jsonl"

    def write(record: dict) -> None:
        for repeat in range(20):
            append_record(path, {**record, "repeat": repeat})

    threads = [threading.Thread(target=write, args=(record,)) for record in records]
    for thread in threads:
        thread.start()
    compact(path, [])
    for thread in threads:
        thread.join()
    assert len(read_records(path)) == 20 * len(records)


def test_what_is_not_finite_is_null(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, {**records[0], "figures": {"rmse_mean": float("inf"), "n": 3}})
    (record,) = read_records(path).values()
    assert record["figures"] == {"rmse_mean": None, "n": 3}
    assert "Infinity" not in path.read_text()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"version": 2}, "line 1 has version 2 of the record format.*reads version 1.*--records"),
        ({"format": "other"}, "line 1 is no record of a benchmark"),
        ({"version": True}, "line 1 has version True of the record format"),
        ({"figures": ...}, "line 1 is no such record: setting 'prediction.figures' is missing"),
        ({"figures": {"rmse_mean": "0.5"}}, "'prediction.figures.rmse_mean' cannot be '0.5'"),
        ({"settings": {"fit": 3}}, "'prediction.settings.data' is missing"),
        ({"agent": True}, "'prediction.agent' cannot be True"),
        ({"repeat": -1}, "'prediction.repeat' cannot be -1"),
        ({"budget": [3]}, "'prediction.budget' cannot be"),
        ({"seconds": None}, "'prediction.seconds' cannot be None"),
        ({"kind": "other"}, "'other'"),
        ({"note": ["a list"]}, "'prediction.note' cannot be"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(
    tmp_path: Path, records: list[dict], changes: dict, named: str
) -> None:
    path = tmp_path / "records.jsonl"
    record = {**records[0], **changes}
    kept = {name: value for name, value in record.items() if value is not ...}
    path.write_text(json.dumps(kept) + "\n")
    with pytest.raises(RunError, match=named):
        read_records(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [("[" * 10**5, "nested"), ('{"a": NaN}', "NaN"), ('{"a": 1, "a": 2}', "twice"), ("7", "is no")],
)
def test_a_line_that_is_not_strict_json_is_named(
    tmp_path: Path, records: list[dict], line: str, told: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps(records[0]) + "\n" + line + "\n")
    with pytest.raises(RunError, match=f"line 2.*{told}.*; restore the file, or remove that line"):
        read_records(path)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="it is a pipe"):
        read_records(path)


def test_damage_before_the_last_line_is_an_error(tmp_path: Path, records: list[dict]) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"format": \n' + json.dumps(records[0]) + "\n")
    with pytest.raises(RunError, match=r"line 1.*no valid JSON"):
        read_records(path)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, records: list[dict]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*file"):
        append_record(tmp_path / "file" / "records.jsonl", records[0])
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "file")
    with pytest.raises(UsageError, match=r"link\.jsonl is a link"):
        append_record(tmp_path / "link.jsonl", records[0])
    assert (tmp_path / "file").read_text() == ""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UsageError, match=r"last line of .*notes is no record of a benchmark"):
        append_record(tmp_path / "notes", records[0])
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_full_disk_keeps_the_records(tmp_path: Path, records: list[dict], killing: Any) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, records[0])
    before = path.read_bytes()
    told = r"cannot write .*records\.jsonl: No space left"
    with killing.disk(tmp_path, 2, full=True), pytest.raises(WriteError, match=told):
        append_record(path, records[1])
    assert path.read_bytes() == before


def test_differences_name_settings_and_take_absent_ones_for_their_default() -> None:
    recorded = {"fit": {"steps": 500, "widths": [16]}, "plan": None, "episodes": 2}
    wanted = {"fit": {"steps": 500, "widths": (16,), "band": 0.9}, "plan": None, "episodes": 2}
    default = {"fit.band": 0.9}.get
    assert differences(recorded, wanted, default) == []
    wanted = {"fit": {"steps": 800, "widths": (16,), "band": 0.8}, "plan": None, "episodes": 2}
    assert differences(recorded, wanted, default) == [
        "fit.steps: 500, not 800",
        "fit.band: 0.9, not 0.8",
    ]
    assert differences({"fit": {"steps": 500, "old": 1}}, {"fit": {"steps": 500}}, default) == [
        "fit.old: 1, not null"
    ]


def test_a_record_knows_its_cell(tiny: Suite, records: list[dict]) -> None:
    assert [cell_of(record) for record in records] == list(tiny.cells(tiny.profile("quick")))
