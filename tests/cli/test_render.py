"""Records as tables on the terminal."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from twinfold.cli.render import _parts, show_rollout
from twinfold.simulation.simulator import Rollout
from twinfold.uncertainty.support import Support


@given(st.lists(st.integers(4, 40)), st.integers(-10, 100))
def test_columns_are_shown_once_in_their_order_and_beside_each_other_if_they_fit(
    widths: list[int], room: int
) -> None:
    parts = _parts(widths, room)
    assert [d for part in parts for d in part] == list(range(len(widths)))
    for part in parts:
        assert len(part) == 1 or sum(widths[d] for d in part) <= room
    for part, after in pairwise(parts):
        assert sum(widths[d] for d in [*part, after[0]]) > room


@pytest.mark.parametrize(("actions", "shown"), [(np.zeros((2, 0)), False), (np.ones(2), True)])
def test_where_nobody_acts_no_actions_are_shown(actions: np.ndarray, shown: bool) -> None:
    one, out = np.ones((2, 1)), io.StringIO()
    support = Support(np.ones(2), np.ones(2), np.full(2, 2, np.int8))
    rollout = Rollout(
        "A", ("x",), np.ones(1), actions, np.array([1, 2]), one, one[None], 0 * one, 2 * one, one,
        0.9, True, support,
    )  # fmt: skip
    show_rollout(Console(file=out, width=120), rollout)
    assert ("action" in out.getvalue()) == shown
    assert ("state after each step" in out.getvalue()) != shown
    assert "own data (1.00)" in out.getvalue()
