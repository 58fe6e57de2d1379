"""Which rows begin a stretch that several predicted steps can be compared with."""

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from twinfold.data.transitions import Transitions
from twinfold.training.ensemble import unbroken


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 50))
def test_unbroken_stretches_lie_in_one_segment_and_in_the_given_rows(
    lengths: list[int], length: int, seed: int
) -> None:
    segment = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    rng, number = np.random.default_rng(seed), len(segment)
    empty = np.zeros((number, 1))
    data = Transitions(segment, empty, empty, empty, segment, np.arange(number, dtype=np.int32))
    rows = np.flatnonzero(rng.random(number) < 0.8).astype(np.int32)
    expected = [
        row
        for row in rows
        if all(k in rows for k in range(row, row + length))
        and len(set(segment[row : row + length])) == 1
    ]
    assert unbroken(data, rows, length).tolist() == expected
