"""Flags that say which column of a table is what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

COLUMNS = ["--agent", "id", "--time", "t", "--state", "x"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "id": np.repeat(["a", "b", "c"], 8), "t": np.tile(np.arange(8), 3),
        "x": rng.normal(size=24).round(3), "dose": rng.normal(size=24).round(2),
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def test_the_type_of_an_action_is_told_from_its_values(twinfold: Any, table: Path) -> None:
    done = twinfold("data", "validate", table, *COLUMNS, "--action", "dose")
    assert (done.code, done.out) == (0, f"{table}: valid\n")
    assert "action column 'dose' is taken for amounts (continuous)" in done.err
    given = [*COLUMNS, "--action", "dose", "--action-type", "continuous"]
    assert "is taken for" not in twinfold("data", "validate", table, *given).err


def test_nobody_acts_by_flag_and_by_silence(twinfold: Any, table: Path) -> None:
    done = [twinfold("data", "validate", table, *COLUMNS, *more) for more in ([], ["--no-action"])]
    assert [x.code for x in done] == [0, 0]
    assert done[0].err == done[1].err
    assert "no action column" in done[0].err
    both = twinfold("data", "validate", table, *COLUMNS, "--no-action", "--action", "dose")
    assert (both.code, "give one" in both.err) == (2, True)


def test_what_every_table_needs(twinfold: Any, table: Path) -> None:
    done = twinfold("data", "validate", table, "--agent", "id", "--action", "dose")
    assert done.code == 2
    assert done.err.startswith("error: --time, --state missing")
    done = twinfold("data", "validate", table, *COLUMNS, "--action-type", "discrete")
    assert (done.code, "--action missing" in done.err) == (2, True)
