"""Records as tables on the terminal."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from twinfold.cli.render import _parts


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
