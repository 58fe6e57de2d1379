"""Tables of questions about the two models that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.simulation.what_if import QUERY
from twinfold.tasks import get_task

BERLIN = "Europe/Berlin"


def _cart_queries(lengths: list[int], seed: int = 0) -> pd.DataFrame:
    """Questions q0, q1, ... of the given lengths, each about an agent of its own."""
    rng = np.random.default_rng(seed)
    tables = []
    for q, length in enumerate(lengths):
        first = int(rng.integers(-3, 50))
        table: dict[str, Any] = {QUERY: f"q{q}", "agent_id": (7 * q) % 60}
        table["t"] = np.arange(first, first + length)
        for name in get_task("cart_pole").state_names:
            table[name] = [rng.uniform(-0.05, 0.05)] + [np.nan] * (length - 1)
        table["action"] = rng.integers(0, 2, length)
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="session")
def cart_queries() -> Callable[..., pd.DataFrame]:
    """Make questions about the cart-poles, by how many steps each has."""
    return _cart_queries


@pytest.fixture
def carts() -> pd.DataFrame:
    return _cart_queries([5, 1, 3])


@pytest.fixture
def tanks() -> pd.DataFrame:
    """Two questions in local time; the first runs over a change of the clock."""
    nan = np.nan
    return pd.DataFrame(
        {
            QUERY: [20, 20, 20, 20, 3, 3],
            "tank no.": ["T-004/é"] * 4 + ["T-001/é"] * 2,
            "when": [
                *pd.date_range("2026-03-29 00:00", periods=4, freq="h", tz=BERLIN),
                *pd.date_range("2026-07-01 08:00", periods=2, freq="h", tz=BERLIN),
            ],
            "level": [0.5, nan, nan, nan, 1.5, nan],
            "Temp (°C)": [22.0, nan, nan, nan, 25.0, nan],
            "in flow": [0.0, 0.5, 1.0, nan, 0.3, 0.2],
            "heat;kW": [3.0, -1.0, 0.0, nan, 1.0, 1.5],
        }
    )
