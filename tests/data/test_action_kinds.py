"""What kind of action a column holds, told from its values where nobody says it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import PanelDataset, Roles, load_panel
from twinfold.data import check
from twinfold.data.action_kinds import guess_kind
from twinfold.errors import UsageError

ROLES = {"agent": "id", "time": "t", "state": "x"}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["fill", "drain", "hold"], "discrete"),
        ([True, False, True], "discrete"),
        ([0, 1, 1], "discrete"),
        ([-1, 0, 1], "discrete"),
        ([0.0, 2.0, 4.0], "continuous"),  # doses by the tablet
        ([0.5, 1.0, 1.0], "continuous"),
        (list(range(11)), "continuous"),
        ([1.0, np.nan, 2.0], "discrete"),
    ],
)
def test_choices_and_amounts(values: list[Any], kind: str) -> None:
    assert guess_kind(pd.Series(values)) == kind


def table(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": np.repeat(["a", "b", "c"], 10), "t": np.tile(np.arange(10), 3),
        "x": rng.normal(size=30).round(3), "mode": rng.integers(0, 2, 30),
        "amount": rng.normal(size=30).round(2),
    })  # fmt: skip
    frame.to_csv(folder / "t.csv", sep=";", decimal=",", index=False)
    return folder / "t.csv"


def test_a_table_without_an_action_type(tmp_path: Path) -> None:
    path = table(tmp_path)
    panel = load_panel(path, {**ROLES, "action": ["mode", "amount"]}, form={"decimal": ","})
    assert panel.roles.kinds == ("discrete", "continuous")
    assert "'mode' is taken for choices" in panel.warnings[0]
    assert "'amount' is taken for amounts" in panel.warnings[1]
    said = {**ROLES, "action": ["mode", "amount"], "action_type": ["discrete", "continuous"]}
    told = load_panel(path, said, form={"decimal": ","})
    assert told.fingerprint() == panel.fingerprint()
    assert not any("is taken for" in line for line in told.warnings)
    # A frame in memory is read as the file is.
    frame, mapping = pd.read_csv(path, sep=";", decimal=","), {**ROLES, "action": "mode"}
    same = PanelDataset.from_frame(frame, mapping)
    assert (same.roles.kinds, len(same.warnings)) == (("discrete",), 1)
    assert check(frame, mapping).warnings == same.warnings
    (problem,) = check(frame.drop(columns="mode"), mapping).problems[:1]
    assert "no column 'mode'" in problem
    with pytest.raises(UsageError, match="'action_type' is missing; say discrete or continuous"):
        Roles.parse(mapping)


def test_a_type_without_an_action_is_still_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="action needs at least one column"):
        load_panel(table(tmp_path), {**ROLES, "action_type": "discrete"})
