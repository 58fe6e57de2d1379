"""Actions that were not recorded: nothing is learned of what they led to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset
from twinfold.errors import InvalidDataError

ROLES: dict[str, Any] = {
    "agent": "id", "time": "t", "state": "x", "action": "a", "action_type": "discrete",
}  # fmt: skip


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat(["A", "B"], 8), "t": np.tile(np.arange(8), 2)})
    return frame.assign(x=rng.normal(size=16), a=rng.integers(0, 2, 16))


@pytest.mark.parametrize(("align", "lost"), [("next", 3), ("same-row", 4)])
def test_trajectories_are_split_after_an_action_that_was_not_recorded(
    align: str, lost: int
) -> None:
    frame = table()
    frame.loc[lost, "a"] = -1
    panel = PanelDataset.from_frame(frame, {**ROLES, "align": align}, form={"missing": "-1"})
    assert panel.n_transitions == 13
    np.testing.assert_array_equal(panel.segment, np.repeat([0, 1, 2], [4, 4, 8]))
    levels = panel.action_levels
    assert levels is not None
    assert levels.tolist() == [0, 1]
    warnings = [line for line in panel.warnings if "column 'a'" in line]
    assert len(warnings) == 1
    assert f"no action in 1 row before the end of a trajectory, first at row {lost}" in warnings[0]


def test_words_can_stand_for_no_action_too() -> None:
    frame = table().assign(a=np.where(np.arange(16) == 10, "unknown", "fill"))
    panel = PanelDataset.from_frame(frame, ROLES, form={"missing": "unknown"})
    assert panel.roles.levels == (("fill",),)
    assert panel.n_transitions == 13


def test_blanks_within_trajectories_split_them_too_unless_they_are_most() -> None:
    frame = table().astype({"a": float})
    frame.loc[[3, 10], "a"] = np.nan
    panel = PanelDataset.from_frame(frame, ROLES)
    assert panel.n_transitions == 12
    assert "no action in 2 rows before the end of a trajectory, first at row 3" in panel.warnings[0]
    frame.loc[frame.index % 4 != 0, "a"] = np.nan
    with pytest.raises(InvalidDataError, match="before the end of a trajectory"):
        PanelDataset.from_frame(frame, ROLES)
    declared = PanelDataset.from_frame(frame.fillna({"a": -1}), ROLES, form={"missing": "-1"})
    assert declared.n_transitions == 4


def test_a_last_row_has_no_action_to_lose() -> None:
    frame = table()
    frame.loc[7, "a"] = -1
    panel = PanelDataset.from_frame(frame, ROLES, form={"missing": "-1"})
    assert panel.n_transitions == 14
    assert panel.warnings == ()


def test_an_empty_action_column_may_be_left_out() -> None:
    with pytest.raises(InvalidDataError, match="leave it out if nobody acts"):
        PanelDataset.from_frame(table().assign(a=np.nan), ROLES)
