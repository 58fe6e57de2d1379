"""Tables in the dialects of the world are read to the same panel as the plain one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from twinfold.data import PanelDataset, TableFormat, check, load_panel, read_table, write_table
from twinfold.data.columns import as_numbers
from twinfold.data.table_format import as_written, settle_numbers, settle_times
from twinfold.errors import InvalidDataError, UsageError

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["u"], "action_type": "continuous",
}  # fmt: skip


def plain() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-28", periods=8).strftime("%Y-%m-%d")
    frame = pd.DataFrame(
        {
            "id": np.repeat(["Zoë", "007"], 8),
            "t": [*days, *days],
            "x": (1e4 * rng.normal(size=16)).round(2),
            "u": rng.normal(size=16).round(3),
        }
    )
    frame.loc[[7, 15], "u"] = np.nan
    return frame


def written(frame: pd.DataFrame, number: Any, day: Any, separator: str, blank: str) -> str:
    rows = [separator.join(frame.columns)]
    for agent, time, *values in frame.itertuples(index=False):
        texts = [blank if np.isnan(value) else number(value) for value in values]
        rows.append(separator.join([str(agent), day(time), *texts]))
    return "\n".join(rows) + "\n"


def german(value: float) -> str:
    text = f"{value:,.3f}"
    return text.replace(",", "_").replace(".", ",").replace("_", ".")


DIALECTS = {
    "german": (
        lambda f: written(f, german, lambda t: ".".join(t.split("-")[::-1]), ";", "k.A."),
        {"decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y", "missing": ["k.A."]},
        "utf-8",
    ),
    "french": (
        lambda f: written(f, lambda v: f"{v:,.3f}".replace(",", "\u202f").replace(".", ","),
                          lambda t: t, ";", "-999"),
        {"decimal": ",", "thousands": " ", "missing": ["-999"], "encoding": "utf-16"},
        "utf-16",
    ),
    "american": (
        lambda f: written(f, lambda v: f"{v:,.3f}",
                          lambda t: "{1}/{2}/{0}".format(*t.split("-")), "\t", "."),
        {"thousands": ",", "date_format": "%m/%d/%Y", "missing": ".", "encoding": "cp1252"},
        "cp1252",
    ),
    "days as numbers": (
        lambda f: written(f, str, lambda t: t.replace("-", ""), ",", "-1"),
        {"date_format": "%Y%m%d", "missing": ["-1"]},
        "utf-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
def test_a_dialect_gives_the_plain_panel(tmp_path: Path, name: str, packing: str) -> None:
    make, form, encoding = DIALECTS[name]
    data = make(plain()).encode(encoding)
    file = tmp_path / f"table.{'tsv' if name == 'american' else 'csv'}{packing}"
    if packing == ".zst":
        file.write_bytes(pa.compress(data, "zstd", asbytes=True))
    else:
        file.write_bytes(gzip.compress(data) if packing else data)
    panel = load_panel(file, ROLES, form=form)
    assert panel.fingerprint() == PanelDataset.from_frame(plain(), ROLES).fingerprint()
    assert panel.agent_ids == ("007", "Zoë")


def test_the_manifest_keeps_the_format(tmp_path: Path) -> None:
    make, form, _ = DIALECTS["german"]
    (tmp_path / "table.csv").write_text(make(plain()))
    manifest = {"format": "twinfold-panel", "version": 1, "roles": ROLES, "table_format": form}
    (tmp_path / "table.manifest.json").write_text(json.dumps(manifest))
    assert load_panel(tmp_path / "table.csv").n_transitions == 14
    with pytest.raises(InvalidDataError) as told:  # a flag changes one setting alone
        load_panel(tmp_path / "table.csv", form={"date_format": "%Y-%m-%d"})
    assert [line.split(":")[0] for line in told.value.problems] == ["column 't' (time)"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([",.", ",", ", ", ".,"]))
def test_numbers_of_any_marks_are_read_exactly(value: float, marks: str) -> None:
    decimal, thousands = marks[0], marks[1:]
    text = f"{value:,.17g}" if abs(value) < 1e15 else f"{value:.17g}"
    swap = {",": thousands, ".": decimal}
    text = "".join(swap.get(char, char) for char in text)
    form = TableFormat(decimal=decimal, thousands=thousands)  # pyright: ignore[reportArgumentType]
    series = pd.Series([text, "1" + decimal + "5"])
    assert as_numbers(settle_numbers(series, form).series).values.tolist() == [value, 1.5]


def test_another_mark_is_refused_rather_than_guessed() -> None:
    frame = plain().astype({"x": str})
    report = check(frame, ROLES, form={"decimal": ","})
    assert "is no number in 16 rows" in report.problems[0]
    assert "(decimal ,)" in report.problems[0]
    assert "numbers are read with --decimal ,; give --decimal . if all" in report.problems[0]


def test_times_that_do_not_fit_are_named() -> None:
    frame = plain()
    frame.loc[3, "t"] = "31/01/2024"
    report = check(frame, ROLES, form={"date_format": "%Y-%m-%d"})
    named = "column 't' (time): '31/01/2024 (not %Y-%m-%d)' is no time at row 3"
    assert report.problems[0].startswith(named)
    assert report.problems[0].endswith("tell the form of all by --date-format")
    fine = settle_times(pd.Series([20240131, 20240201]), TableFormat(date_format="%Y%m%d"))
    assert fine.tolist() == [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-01")]


def test_offsets_from_utc_may_change_within_a_column() -> None:
    form = TableFormat(date_format="%d.%m.%Y %H:%M %z")
    texts = pd.Series(["31.03.2024 01:30 +0100", "31.03.2024 03:30 +0200"])
    times = settle_times(texts, form)
    assert times.diff().dropna().tolist() == [pd.Timedelta("1h")]
    zoned = settle_times(texts, form.model_copy(update={"time_zone": "Europe/Berlin"}))
    assert zoned.tolist() == times.tolist()


@pytest.mark.parametrize("time", ["2024-01-31", "31", 31, "2024-01-31T00:00", "1 day"])
def test_a_time_in_another_form_is_not_read_as_what_it_looks_like(time: object) -> None:
    frame = plain()
    frame["t"] = [f"2024-{month:02d}-01" for month in range(1, 9)] * 2  # the 1st to 8th of January
    frame["t"] = frame["t"].astype(object)
    frame.loc[3, "t"] = time
    report = check(frame, ROLES, form={"date_format": "%Y-%d-%m"})
    assert f"'{time} (not %Y-%d-%m)' is no time at row 3" in report.problems[0]
    every = check(frame.assign(t=time), ROLES, form={"date_format": "%Y-%d-%m"})
    assert "is no time in 16 rows" in every.problems[0]


@pytest.mark.parametrize("form", ["", "%Q", "xyz", "mixed", "ISO8601", "100%%", "%Y-%Y", "(", "%"])
def test_a_form_of_dates_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(UsageError, match=r"'date_format' cannot be .*: no form of dates: .* such"):
        TableFormat.parse({"date_format": form})


@pytest.mark.parametrize("zone", ["", " ", "dateutil/nowhere", "UTC+5", "../x", "Europe", "\0"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(UsageError, match=r"'time_zone' cannot be .*: no time zone; one is such as"):
        TableFormat.parse({"time_zone": zone})


def test_a_list_is_no_text_for_a_missing_value() -> None:
    with pytest.raises(UsageError, match=r"'missing.0' cannot be"):
        TableFormat.parse({"missing": [["x"]]})


def test_times_are_written_as_they_were() -> None:
    form = TableFormat(date_format="%d.%m.%Y %H:%M", time_zone="Europe/Berlin")
    texts = pd.Series(["24.10.2026 23:00", "25.10.2026 02:00", "25.10.2026 02:00"])
    times = settle_times(texts, form)
    assert times.diff().dropna().tolist() == [pd.Timedelta("3h"), pd.Timedelta("1h")]
    assert as_written(times, form).tolist() == texts.tolist()
    numbers = pd.Series([1, 2])
    assert as_written(numbers, form) is numbers


def test_bounds_are_missing_or_kept_and_said() -> None:
    frame = plain().astype({"x": str})
    frame.loc[[4, 9], "x"] = ["<0.05", "> 1e4"]
    missing = check(frame, ROLES)
    assert missing.warnings[0].startswith(
        "column 'x': 2 censored values such as '<0.05', first at row 4, agent 'Zoë', taken as "
        "missing"
    )
    words = frame.copy()
    words.loc[11, "x"] = "BLQ"
    assert "column 'x': 3 censored values" in check(words, ROLES).warnings[0]
    report = check(words, ROLES, form={"censored": True})
    assert "taken as the bound itself, words as missing" in report.warnings[0]
    panel = PanelDataset.from_frame(frame, ROLES, form={"censored": True})
    assert panel.state[:, 0].tolist()[12] == 0.05  # sorted: agent 007 first
    assert panel.state[:, 0].tolist()[1] == 1e4


def test_bounds_without_numbers_are_words() -> None:
    words = pd.Series(["<50", ">=50", "<50"])
    for form in (TableFormat(), TableFormat(censored=True), TableFormat(decimal=",")):
        assert settle_numbers(words, form).series.tolist() == words.tolist()


def test_missing_values_are_never_ids() -> None:
    frame = plain().replace({"007": "-999"})
    assert PanelDataset.from_frame(frame, ROLES, form={"missing": "-999"}).n_agents == 2


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"decimal": ";"}, "'decimal' cannot be ';'"),
        ({"decimal": ",", "thousands": ","}, "must differ"),
        ({"encoding": "klingon"}, "no encoding of text"),
        ({"encoding": "base64"}, "no encoding of text"),
        ({"sep": ","}, "unknown setting 'sep'"),
    ],
)
def test_a_wrong_format_is_told(form: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        TableFormat.parse(form)


def test_ids_are_joined_on_request() -> None:
    frame = plain()
    frame["id"] = ["A7"] * 4 + [" a7\u200b "] * 4 + ["A07"] * 4 + ["B"] * 4
    frame.loc[8:11, "t"] = ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"]
    frame["u"] = frame["u"].fillna(0)
    apart = check(frame, ROLES).warnings
    assert any(
        "'A7', ' a7\\u200b ', 'A07' look alike and are taken for 3 agents" in w for w in apart
    )
    panel = PanelDataset.from_frame(frame, ROLES, form={"join_ids": True})
    assert panel.agent_ids == ("A7", "B")


def test_ids_shortened_by_a_spreadsheet_are_named() -> None:
    frame = plain().replace({"007": "1.23457E+15"})
    assert "'1.23457E+15' looks like a number that a spreadsheet" in check(frame, ROLES).warnings[0]


def test_any_frame_is_read_as_pandas_is() -> None:
    frame = plain()
    expected = PanelDataset.from_frame(frame, ROLES).fingerprint()
    table = pa.Table.from_pandas(frame)
    frames: list[Any] = [table, table.to_batches()[0], table.to_reader()]
    try:
        import polars  # pyright: ignore[reportMissingImports]

        frames += [polars.from_pandas(frame), polars.from_pandas(frame).lazy()]
    except ImportError:
        pass
    try:
        import duckdb  # pyright: ignore[reportMissingImports]

        frames.append(duckdb.sql("select * from frame"))
    except ImportError:
        pass
    for other in frames:
        assert PanelDataset.from_frame(other, ROLES).fingerprint() == expected
    whole = pa.table({"id": [2**60, None], "t": [0, 1], "x": [0.0, 1.0], "u": [0.0, None]})
    assert "no id at row 1" in check(whole, ROLES).problems[0]
    with pytest.raises(UsageError, match="a data frame is needed"):
        PanelDataset.from_frame({"id": [1]}, ROLES)


def test_a_folder_of_parquet_is_one_table(tmp_path: Path) -> None:
    frame = plain()
    folder = tmp_path / "cohort.v1"
    for name, part in frame.groupby("id"):
        (folder / f"id={name}").mkdir(parents=True)
        write_table(part.drop(columns="id"), folder / f"id={name}" / "part-0.parquet")
    (folder / "_metadata.parquet").write_bytes(b"no table")
    expected = PanelDataset.from_frame(frame, ROLES).fingerprint()
    assert load_panel(folder, ROLES).fingerprint() == expected
    pq.write_table(pa.table({"t": [1]}), folder / "id=007" / "part-1.parquet")
    with pytest.raises(InvalidDataError, match=r"part-1.parquet has no column 'x'"):
        read_table(folder)
    (tmp_path / "empty").mkdir()
    pq.write_to_dataset(
        pa.table({"ward": [7, None], "x": [1.0, 2.0]}), tmp_path / "wards", partition_cols=["ward"]
    )
    wards = read_table(tmp_path / "wards").sort_values("x")
    assert wards["ward"].isna().tolist() == [False, True]
    assert wards["ward"].tolist()[0] == 7
    with pytest.raises(UsageError, match="holds no Parquet file"):
        read_table(tmp_path / "empty")


def test_a_damaged_or_misnamed_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(b"id,t\n")
    with pytest.raises(InvalidDataError, match="cannot be unpacked by gzip"):
        read_table(tmp_path / "a.csv.gz")
    (tmp_path / "a.parquet.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="of compressed files text alone is read"):
        read_table(tmp_path / "a.parquet.gz")
    (tmp_path / "a.csv").write_bytes("id,t\né,1\n".encode("cp1252"))
    with pytest.raises(InvalidDataError, match="--encoding, such as cp1252"):
        read_table(tmp_path / "a.csv")


def test_the_printed_minus_is_one() -> None:
    for minus in "\u2212\u2013\ufe63":
        texts = pd.Series([f"{minus}1.5", "2", f"{minus}.5"])
        assert settle_numbers(texts, TableFormat()).series.astype(float).tolist() == [-1.5, 2, -0.5]
        comma = pd.Series([f"{minus}1,5", "2"])
        found = settle_numbers(comma, TableFormat(decimal=",")).series
        assert found.astype(float).tolist() == [-1.5, 2]
    words = pd.Series(["\u2013high", "low"])
    assert settle_numbers(words, TableFormat()).series.tolist() == words.tolist()


@pytest.mark.parametrize("word", ["n.d.", "below LOQ", "not detected", "< LLOQ", "below the limit"])
def test_words_for_below_a_limit(word: str) -> None:
    for form in (TableFormat(), TableFormat(censored=True)):  # they have no bound
        found = settle_numbers(pd.Series(["1.5", word, "2"]), form)
        assert found.censored.tolist() == [False, True, False]
        assert found.series.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("text", "mark"), [("4'256.9", "'"), ("4\u202f256.9", " "), ("1_000", "_")]
)
def test_a_mark_between_thousands_is_told(text: str, mark: str) -> None:
    frame = plain().astype({"x": object})
    frame.loc[3, "x"] = text
    assert f'give --thousands "{mark}"' in check(frame, ROLES).problems[0]


@pytest.mark.parametrize(
    ("texts", "advice"),
    [
        (["4,256", "1,250"], "a mark between thousands? give --thousands ,"),
        (["4,256,100"], "a mark between thousands? give --thousands ,"),
        (["4,256.5"], "a mark between thousands? give --thousands ,"),
        (["4,256", "1,25"], "a decimal comma? give --decimal , if all"),
        (["4,256"], "a decimal comma? give --decimal , if all"),
        (["0,256", "1,250"], "a decimal comma? give --decimal , if all"),
        (["4.256,50"], "give --decimal , --thousands ."),
        (["5 mg/dl"], "if 'mg/dl' is a unit, write the numbers without it"),
        (["12%"], "if '%' is a unit"),
        (["five"], "replace it by a number"),
    ],
)
def test_what_stands_beside_digits_is_told(texts: list[str], advice: str) -> None:
    frame = plain().astype({"x": object})
    frame.loc[range(3, 3 + len(texts)), "x"] = texts
    assert advice in check(frame, ROLES).problems[0]
