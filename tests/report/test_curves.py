from __future__ import annotations

import numpy as np
import pytest

from twinfold.errors import UsageError
from twinfold.report.curves import Curves, grid, state_names

TIMES, CENTRE = np.arange(4), np.zeros((4, 2))


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"times": np.arange(3)}, r"times of shape \(3,\)"),
        ({"centre": np.zeros(4)}, r"centre of shape \(4,\)"),
        ({"truth": np.zeros((4, 3))}, r"truth of shape \(4, 3\)"),
        ({"members": np.zeros((5, 3, 2))}, r"members of shape \(5, 3, 2\)"),
        ({"lower": np.zeros((4, 2))}, "both its lower and its upper"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, named) -> None:
    with pytest.raises(UsageError, match=named):
        Curves(**({"times": TIMES, "centre": CENTRE} | arrays))


def test_lists_are_taken_as_arrays() -> None:
    curves = Curves([0, 1], [[1.0], [2.0]], truth=[[1.0], [3.0]])  # pyright: ignore[reportArgumentType]
    assert curves.centre.shape == (2, 1)
    assert curves.truth is not None
    assert curves.truth.shape == (2, 1)


def test_names_fit_the_states() -> None:
    curves = Curves(TIMES, CENTRE)
    assert state_names(curves, ()) == ("state 1", "state 2")
    assert state_names(curves, ["x", "y"]) == ("x", "y")
    with pytest.raises(UsageError, match="1 names for 2 states: x"):
        state_names(curves, ["x"])


@pytest.mark.parametrize("n_states", range(1, 20))
def test_the_grid_has_room_for_every_state_and_no_empty_row(n_states: int) -> None:
    rows, columns = grid(n_states)
    assert rows * columns >= n_states > (rows - 1) * columns
