"""What a stranger's table is taken for, with help or without; only a manifest is written."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import import_table, load_panel, read_manifest
from twinfold.data.guess_format import guess_date_format, guess_marks, guess_missing
from twinfold.errors import InvalidDataError, UsageError


def table(seed: int = 0, agents: int = 6, rows: int = 12) -> pd.DataFrame:
    """Patients with a dose that acts, a weight that does not change, and a comment."""
    rng = np.random.default_rng(seed)
    parts = []
    for n in range(agents):
        dose = rng.integers(0, 2, rows) * rng.choice([5.0, 10.0], rows)
        level = np.zeros(rows)
        for t in range(1, rows):
            level[t] = 0.8 * level[t - 1] + dose[t - 1] + rng.normal()
        part = {"patient": f"P{n}", "day": range(rows), "level": level.round(3), "dose": dose}
        parts.append(pd.DataFrame(part).assign(weight=60.0 + n, note="none", unit=1))
    return pd.concat(parts, ignore_index=True)


def test_roles_are_told_and_only_the_manifest_is_written(tmp_path: Path) -> None:
    file = tmp_path / "cohort.csv"
    table().to_csv(file, index=True)  # with the numbers of the rows, as pandas writes them
    before = file.read_bytes()
    found = import_table(file)
    assert found.roles == {
        "agent": "patient", "time": "day", "state": ["level"], "action": ["dose"],
        "action_type": "continuous", "static": ["weight"],
    }  # fmt: skip
    assert found.columns["note"] == ("", "it is empty")  # "none" is no value
    assert found.columns["unit"][1] == "constant (1)"
    assert found.columns["Unnamed: 0" if "Unnamed: 0" in found.columns else ""][0] == ""
    assert file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cohort.csv", "cohort.manifest.json"]
    assert load_panel(file).n_agents == 6
    with pytest.raises(UsageError, match="is there already; --replace"):
        import_table(file)
    again = import_table(file, {"action": ["dose"], "state": ["level", "weight"]}, replace=True)
    assert again.roles["state"] == ["level", "weight"]
    assert again.columns["weight"] == ("state", "as given")


def test_a_dialect_is_told(tmp_path: Path) -> None:
    frame = table()
    days = pd.date_range("2024-01-28", periods=12).strftime("%d.%m.%Y")
    frame["day"] = np.tile(days, 6)
    text = frame.astype({"dose": object, "level": object})
    text.loc[[11, 23], "dose"] = "k.A."
    file = tmp_path / "kohorte.csv"
    text.loc[:, ["dose", "level"]] = text[["dose", "level"]].map(
        lambda v: v if v == "k.A." else f"{v:.3f}".replace(".", ",")
    )
    text["patient"] = "Zoë " + text["patient"]
    text.to_csv(file, sep=";", index=False, encoding="cp1252")
    found = import_table(file)
    assert found.form.given() == {
        "decimal": ",", "date_format": "%d.%m.%Y", "missing": ["k.A."], "encoding": "cp1252"
    }  # fmt: skip
    panel = load_panel(file)
    assert panel.agent_ids[0] == "Zoë P0"
    assert panel.n_transitions == 66
    np.testing.assert_allclose(panel.state[:12, 0], table()["level"][:12], atol=1e-3)


@pytest.mark.parametrize("shift", [0, 1])
def test_alignment_is_told_by_figures(tmp_path: Path, shift: int) -> None:
    frame = table(agents=20)
    frame["dose"] = frame.groupby("patient")["dose"].shift(shift)
    frame[frame["dose"].notna()].to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.settings["align"].value == ("same-row" if shift else "next")
    assert "with the action of the row" in found.settings["align"].why
    manifest = read_manifest(tmp_path / "a.csv")
    assert manifest is not None
    assert manifest.roles.align == ("same-row" if shift else "next")


def test_alignment_is_told_by_what_is_empty(tmp_path: Path) -> None:
    frame = table()
    frame["dose"] = frame.groupby("patient")["dose"].shift(1)
    frame.rename(columns={"dose": "feed"}).to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.columns["feed"] == ("action", "empty in the first row of each trajectory")
    assert found.settings["align"].value == "same-row"
    found = import_table(tmp_path / "a.csv", {"action": ["feed"]}, replace=True)  # named or not
    assert found.roles["align"] == "same-row"


def test_bounds_among_numbers_are_no_words(tmp_path: Path) -> None:
    frame = table().astype({"level": object})
    frame.loc[11::12, "level"] = "<0.05"  # in all last rows
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv", form={"censored": True})
    assert found.roles["state"] == ["level"]
    assert read_manifest(tmp_path / "a.csv").table_format.censored  # pyright: ignore


def test_what_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    table().rename(columns={"dose": "given"}).to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.missing == ("action",)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]
    found = import_table(tmp_path / "a.csv", {"action": "given"})
    assert found.roles["state"] == ["level"]
    frame = table().query("patient == 'P0'").drop(columns="patient")
    frame[["day", "level"]].to_csv(tmp_path / "b.csv", index=False)
    alone = import_table(tmp_path / "b.csv")
    assert alone.missing == ("agent",)
    assert alone.columns["day"] == ("time", "by its name")


def test_an_amount_that_goes_up_and_down_is_no_time(tmp_path: Path) -> None:
    """Where times cannot be read, or there are none, they are asked for."""
    frame = table()
    frame["level"] += 0.01 * np.arange(len(frame)) % 0.07  # no two are the same
    frame.drop(columns="day").to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.missing == ("time",)
    assert found.columns["patient"][0] == "agent"
    frame["day"] = [f"{day + 1}. Januar 2024" for day in frame["day"]]
    frame.to_csv(tmp_path / "b.csv", index=False)
    found = import_table(tmp_path / "b.csv")
    assert found.roles["time"] == "day"
    assert found.report is not None
    assert "column 'day' (time): '1. Januar 2024' is no time" in found.report.problems[0]


def test_the_only_column_that_changes_is_no_action_whatever_its_name(tmp_path: Path) -> None:
    frame: Any = table()[["patient", "day", "level"]]
    frame.columns = ["patient", "day", "Rate"]
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.roles["state"] == ["Rate"]
    assert found.missing == ("action",)


def test_dose_and_sample_rows_are_told(tmp_path: Path) -> None:
    lines = ["ID,TIME,DV,AMT,EVID,MDV,SITE"]
    for who, t in ((who, t) for who in (1, 2, 3) for t in (0, 2, 4)):
        lines += [f"{who},{t},{t + who / 4},.,0,0,A"] + ([f"{who},{t},.,25,1,1,A"] * (t < 4))
    (tmp_path / "a.csv").write_text("\n".join(lines))
    found = import_table(tmp_path / "a.csv")
    assert found.roles["state"] == ["DV"]
    assert found.roles["action"] == ["AMT"]
    assert found.report is not None
    assert found.report.ok, found.report.problems
    assert found.columns["EVID"] == ("", "says whether a dose or a sample stands in a row")
    assert found.columns["SITE"] == ("", "constant (A)")


def test_words_exogenous_columns_and_a_panel_without_actions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = table().drop(columns=["dose", "note", "unit"])
    frame["mode"] = rng.choice(["fill", "drain"], len(frame))
    frame["amount"] = rng.normal(size=len(frame))
    frame["weekday"] = np.array(["Mon", "Tue", "Wed"])[frame["day"] % 3]
    frame["outside"] = np.sin(frame["day"]).round(4)
    frame["site"] = np.where(frame["patient"] < "P3", "north", "south")
    frame["comment"] = [f"row {i}" for i in range(len(frame))]
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.roles == {
        "agent": "patient", "time": "day", "state": ["level"], "action": ["mode", "amount"],
        "action_type": ["discrete", "continuous"], "static": ["weight", "site"],
        "exogenous": ["weekday", "outside"],
    }  # fmt: skip
    assert found.columns["comment"] == ("", "72 different words")
    assert load_panel(tmp_path / "a.csv").n_transitions == 66
    frame.drop(columns=["mode", "amount"]).to_csv(tmp_path / "b.csv", index=False)
    assert import_table(tmp_path / "b.csv").missing == ("action",)
    found = import_table(tmp_path / "b.csv", {"action": [], "action_type": "none"})
    assert found.report is not None
    assert found.report.ok
    assert "action_type" not in found.settings


def test_a_table_with_problems_gets_no_manifest(tmp_path: Path) -> None:
    frame = table()
    again = frame.iloc[:1].assign(level=lambda row: row["level"] + 1)
    frame = pd.concat([frame, again])
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.report is not None
    assert "1 row with the same agent and time" in found.report.problems[0]
    assert found.record()["manifest"] is None
    assert list(tmp_path.iterdir()) == [tmp_path / "a.csv"]


def test_names_of_reinforcement_learning(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 60
    theta = (np.cumsum(rng.normal(0.4, 0.1, n)) + np.pi) % (2 * np.pi) - np.pi
    frame = pd.DataFrame({"episode": np.repeat([0, 1, 2], 20), "step": np.tile(np.arange(20), 3),
                          "agent_id": 7, "theta": theta, "speed": rng.normal(size=n),
                          "action": rng.integers(0, 3, n), "reward": rng.normal(size=n),
                          "done": np.arange(n) % 20 == 19})  # fmt: skip
    frame.to_parquet(tmp_path / "a.parquet")
    assert import_table(tmp_path / "a.parquet").roles == {
        "agent": "agent_id", "time": "step", "episode": "episode", "state": ["theta", "speed"],
        "angle": ["theta"], "action": ["action"], "action_type": "discrete", "reward": "reward",
        "terminated": "done",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "separator", "marks"),
    [
        (["1.5", "2", "3e4"], ",", None),
        (["1,5", "2"], ";", (",", "")),
        (["1,234", "5,678"], ",", (".", ",")),
        (["1,234", "5,678"], ";", (",", "")),
        (["1.234,5", "12"], ";", (",", ".")),
        (["1,234.5", "12"], ";", (".", ",")),
        (["1 234,5", "12"], ";", (",", " ")),
        (["1'234.5", "12"], ";", (".", "'")),
        (["high", "low"], ",", None),
    ],
)
def test_marks(values: list[str], separator: str, marks: Any) -> None:
    guess = guess_marks({"x": pd.Series(values, dtype=object)}, separator)
    assert (guess and guess.value) == marks


def test_texts_and_numbers_for_no_value() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(5, 1, 60).round(2).astype(str).astype(object)
    y = x.copy()
    x[::10], x[3], x[4] = "?", "<0.05", "NA"
    y[::7] = "-999"
    words = np.array(["high", "low"], object)[np.arange(60) % 2]
    columns = {name: pd.Series(v) for name, v in (("x", x), ("y", y), ("w", words))}
    assert [guess.value for guess in guess_missing(columns)] == ["?", "-999"]
    mixed = pd.Series(["1,5", "2,5", "1.9", "2,0", "?"], dtype=object)  # a fault, not a missing one
    assert [guess.value for guess in guess_missing({"x": mixed}, (",", ""))] == ["?"]
    x[5] = "-999.0"  # far from all others here too
    assert [g.value for g in guess_missing({"x": pd.Series(x), "y": pd.Series(y)})] == ["?", "-999"]
    # There alone it may be a value: the checks tell of it.
    assert [g.value for g in guess_missing({"x": pd.Series(x)})] == ["?"]


@pytest.mark.parametrize(
    ("form", "told"),
    [("%d.%m.%Y", "%d.%m.%Y"), ("%m/%d/%Y", "%m/%d/%Y"), ("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M"),
     ("%Y-%m-%d", None), ("%d%b%Y", "%d%b%Y"), ("%d/%m/%y", "%d/%m/%y"),
     *((form, form) for form in ("%Y-%m-%d %I:%M %p", "%Y-%m-%d %H:%M:%S,%f", "%a %b %d %Y"))],
)  # fmt: skip
def test_forms_of_dates(form: str, told: str | None) -> None:
    for start in ("2024-01-01", "2024-03-05"):  # twelve days: day and month could be exchanged
        times = pd.Series(pd.date_range(start, periods=8).strftime(form))
        guess = guess_date_format(times)
        assert (guess and guess.value) == told
    offsets = pd.Series(["30.03.2024 12:00 +0100", "31.03.2024 12:00 +0200"])
    guess = guess_date_format(offsets)
    assert guess is not None
    assert guess.value == "%d.%m.%Y %H:%M %z"
    assert guess_date_format(pd.Series(["1.5", "2"])) is None
    assert guess_date_format(pd.Series(["a", "b"])) is None


def test_tables_of_doses_and_samples_have_columns_of_their_own(tmp_path: Path) -> None:
    rows = []
    for name, dose in (("1", 100), ("2", 80)):
        for t in range(0, 24, 4):
            rows.append(
                (name, t, "." if t else dose, 1 - bool(t), 1 if t else 2, 0 if t else 2, 12)
            )
            rows[-1] = (*rows[-1], f"{dose * 0.1 * 0.8**t:.3f}" if t else ".")
    frame = pd.DataFrame(rows, columns=["ID", "TIME", "AMT", "EVID", "CMT", "ADDL", "II", "DV"])
    file = tmp_path / "doses.csv"
    frame.to_csv(file, index=False)
    found = import_table(file)
    roles = {name: role for name, (role, _) in found.columns.items()}
    assert roles == {"ID": "agent", "TIME": "time", "AMT": "action", "DV": "state", "EVID": "",
                     "CMT": "", "ADDL": "", "II": ""}  # fmt: skip
    assert found.columns["ADDL"][1] == "doses that it adds need rows of their own"


@pytest.mark.parametrize(
    ("content", "words"),
    [("id,t,x,a\n", "it has columns but no rows"), (",,,\n1,2,3,4\n", "no column has a name")],
)
def test_a_table_with_nothing_in_it_is_said_to_be_so(
    tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InvalidDataError, match=words):
        import_table(tmp_path / "a.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_of_very_many_columns_agent_and_time_are_found_at_once(tmp_path: Path) -> None:
    """Each column as the agent with each as the time would be half a million pairs."""
    rows = np.arange(12)
    numbers = {f"x{i}": (rows * (i + 3)) // 4 % 6 for i in range(700)}
    frame = pd.DataFrame({**numbers, "machine": rows // 4, "minute": rows % 4, "act": rows % 2})
    frame.to_csv(tmp_path / "wide.csv", index=False)
    start = time.process_time()
    found = import_table(tmp_path / "wide.csv", {"action": ["act"]})
    assert time.process_time() - start < 30
    assert (found.roles["agent"], found.roles["time"]) == ("machine", "minute")


def test_times_that_come_back_are_told_apart_by_an_episode(tmp_path: Path) -> None:
    """An evening and a morning of each patient, on the same clock; a second look at one row."""
    evening, morning = table(seed=0), table(seed=1)
    frame = pd.concat([evening.assign(visit="evening"), morning.assign(visit="morning")])
    frame.to_csv(tmp_path / "a.csv", index=False)
    found = import_table(tmp_path / "a.csv")
    assert found.roles["episode"] == "visit"
    assert load_panel(tmp_path / "a.csv").n_transitions == 2 * 6 * 11
    twice = pd.concat([evening, evening.iloc[[5]].assign(weight=99.0)])  # the row is a fault
    twice.to_csv(tmp_path / "b.csv", index=False)
    assert "episode" not in import_table(tmp_path / "b.csv").roles
