"""A small table that the tests of ``twinfold.data`` start from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest


@pytest.fixture
def roles() -> dict[str, Any]:
    return {
        "agent": "machine id",
        "time": "t",
        "state": ["température", "p/bar"],
        "action": ["valve"],
        "action_type": "discrete",
    }


@pytest.fixture
def table() -> pd.DataFrame:
    """Agents a, b, c with 4, 1 and 3 rows; the last row of each has no action."""
    return pd.DataFrame(
        {
            "machine id": ["a"] * 4 + ["b"] + ["c"] * 3,
            "t": [0, 1, 2, 3, 0, 5, 6, 7],
            "température": np.arange(8.0),
            "p/bar": np.arange(8.0) ** 2,
            "valve": [3, 5, 3, np.nan, np.nan, 5, 5, np.nan],
            "note": "not used",
        }
    )
