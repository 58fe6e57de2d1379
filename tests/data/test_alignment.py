"""Inputs in the row of their outcome are moved up when a table is read, and down when written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset, check, load_panel, save_panel
from twinfold.data.alignment import as_next
from twinfold.data.roles import Roles
from twinfold.errors import InvalidDataError

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": ["x"], "action": ["a"], "action_type": "continuous",
    "reward": "r",
}  # fmt: skip


def aligned(discrete: bool = False) -> pd.DataFrame:
    """Two agents of 6 rows, the first with a gap; a last row has neither action nor reward."""
    rng = np.random.default_rng(0)
    t = [0, 1, 2, 5, 6, 7, 0, 1, 2, 3, 4, 5]
    frame = pd.DataFrame({"id": np.repeat(["A", "B"], 6), "t": t, "x": rng.normal(size=12),
                          "a": rng.integers(0, 3, 12) if discrete else rng.normal(size=12),
                          "r": rng.normal(size=12)})  # fmt: skip
    frame.loc[[2, 5, 11], ["a", "r"]] = np.nan
    return frame


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with actions and rewards in the row of their outcome."""
    return frame.assign(**{name: frame[name].shift(1) for name in ("a", "r")})


@pytest.mark.parametrize("discrete", [False, True])
def test_it_is_the_panel_of_the_aligned_table(discrete: bool) -> None:
    kind = {"action_type": "discrete"} if discrete else {}
    expected = PanelDataset.from_frame(aligned(discrete), {**ROLES, **kind})
    frame = moved(aligned(discrete)).sample(frac=1, random_state=1, ignore_index=True)
    panel = PanelDataset.from_frame(frame, {**ROLES, **kind, "align": "same-row"})
    for name in ("state", "action", "reward", "segment", "time", "agent"):
        np.testing.assert_array_equal(getattr(panel, name), getattr(expected, name))
    again = PanelDataset.from_frame(panel.to_frame(), panel.roles)
    assert again.fingerprint() == panel.fingerprint()
    pd.testing.assert_frame_equal(
        panel.to_frame(), moved(aligned(discrete)), check_dtype=False, check_column_type=False
    )


def test_what_stands_in_first_rows_does_not_matter() -> None:
    frame = moved(aligned())
    fine = PanelDataset.from_frame(frame, {**ROLES, "align": "same-row"})
    frame.loc[[0, 3, 6], ["a", "r"]] = [np.inf, 1e300]
    assert PanelDataset.from_frame(frame, {**ROLES, "align": "same-row"}).fingerprint() == (
        fine.fingerprint()
    )
    frame.loc[4, "a"] = np.nan
    report = check(frame, {**ROLES, "align": "same-row"})
    assert report.ok
    told = "no action in 1 row before the end of a trajectory, first at row 4, agent 'A'"
    assert any(told in line for line in report.warnings)


def test_missing_actions_in_first_rows_alone_get_the_right_advice() -> None:
    frame = moved(aligned())
    with pytest.raises(InvalidDataError) as told:
        PanelDataset.from_frame(frame, {**ROLES, "reward": None})
    assert str(told.value).endswith("give --align same-row")
    frame.loc[[1, 4, 7], "a"] = np.nan  # most of them
    with pytest.raises(InvalidDataError, match="fill it in, or drop the row"):
        PanelDataset.from_frame(frame, {**ROLES, "reward": None})


def test_the_manifest_keeps_it(tmp_path: Path) -> None:
    roles = {**ROLES, "align": "same-row"}
    panel = PanelDataset.from_frame(moved(aligned()), roles)
    save_panel(panel, tmp_path / "a.csv")
    assert json.loads((tmp_path / "a.manifest.json").read_text())["roles"]["align"] == "same-row"
    assert load_panel(tmp_path / "a.csv").fingerprint() == panel.fingerprint()
    with pytest.raises(InvalidDataError, match="--align same-row"):  # changed, it is another table
        load_panel(tmp_path / "a.csv", {"align": "next"})
    save_panel(PanelDataset.from_frame(aligned(), ROLES), tmp_path / "b.csv")
    text = (tmp_path / "b.manifest.json").read_text()
    assert "align" not in text  # as written before there was that role
    assert "table_format" not in text


def test_questions_are_moved_within_each_query() -> None:
    roles = Roles.parse({**ROLES, "align": "same-row"})
    frame = pd.DataFrame({"query_id": ["p", "q", "q", "p", "q"], "t": [8, 3, 2, 7, 4],
                          "a": [1.0, 2.0, 9.0, 9.0, 3.0]})  # fmt: skip
    out = as_next(frame, roles, "query_id")
    assert out.loc[[3, 2, 1], "a"].tolist() == [1.0, 2.0, 3.0]
    assert out.loc[[0, 4], "a"].isna().all()
    assert as_next(frame, Roles.parse(ROLES), "query_id") is frame
    assert as_next(frame.drop(columns="a"), roles, "query_id").shape == (5, 2)


def test_inputs_of_a_first_row_are_not_missed_where_they_stand_with_their_outcome() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": np.repeat(["a", "b", "c"], 8), "t": np.tile(np.arange(8), 3),
        "x": rng.normal(size=24), "warm": rng.normal(size=24),
        "day": rng.choice(["Mon", "Tue"], 24),
    })  # fmt: skip
    roles = {"agent": "id", "time": "t", "state": "x", "exogenous": ["warm", "day"]}
    frame.loc[frame.t == 0, ["warm", "day"]] = None
    same = PanelDataset.from_frame(frame, {**roles, "align": "same-row"})
    assert not any("no value" in line for line in same.warnings)
    above = PanelDataset.from_frame(frame, roles)
    assert sum("no value in 3 rows, first at row 0" in line for line in above.warnings) == 2
    frame.loc[13, "day"] = None
    same = PanelDataset.from_frame(frame, {**roles, "align": "same-row"})
    (line,) = [line for line in same.warnings if "no value" in line]
    assert line.startswith(
        "column 'day' (exogenous): no value in 1 row, first at row 13, agent 'b'"
    )
