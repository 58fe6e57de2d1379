"""How far known inputs that are held may go: as they did in the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, strategies as st

from twinfold.data.levels import coded_places
from twinfold.data.panel import PanelDataset
from twinfold.models.known_inputs import KNOWN, draws_of, wander

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
N, T = 4, 60


def shops(days: Any = None) -> PanelDataset:
    """A weekday in words between two numbers, of shops whose weeks begin on other days."""
    rng, step = np.random.default_rng(0), np.arange(N * T)
    words = [DAYS[(k + 2 * (k // T)) % 7] for k in step] if days is None else days
    frame = pd.DataFrame(
        {"id": step // T, "t": step % T, "x": rng.normal(size=N * T),
         "heat": rng.normal(size=N * T), "day": words, "rain": rng.random(N * T)}
    )  # fmt: skip
    roles = {"agent": "id", "time": "t", "state": ["x"], "exogenous": ["heat", "day", "rain"]}
    return PanelDataset.from_frame(frame, roles)


def drawn(panel: PanelDataset, held: Any, steps: int = 20) -> tuple[Any, list[slice]]:
    """Paths of inputs that are held, ``(n, S, H, E)``, and where words are."""
    changes = wander(panel.transitions())
    known = panel.known_inputs()
    assert changes is not None
    assert known is not None
    places = coded_places(panel.roles.exogenous, panel.levels)
    words = [place for name, place in places if name in panel.levels]
    told = np.repeat(np.asarray(held, float)[:, None], steps + 1, axis=1)
    since = np.broadcast_to(np.arange(steps + 1), told.shape[:2])
    return draws_of(changes, told, since, known.min(axis=0), known.max(axis=0), words), words


def test_the_day_after_is_the_next_one() -> None:
    panel = shops()
    known = panel.known_inputs()
    assert known is not None
    paths, (words,) = drawn(panel, known[:7])
    assert len(paths) == KNOWN.draws
    assert panel.levels["day"] == tuple(sorted(DAYS))
    days = [panel.levels["day"][k] for k in known[:7, words].argmax(axis=1)]
    for s, day in enumerate(days):
        expected = [DAYS[(DAYS.index(day) + h) % 7] for h in range(21)]
        for one in paths[:, s, :, words]:
            found = [panel.levels["day"][k] for k in one.argmax(axis=1)]
            same = sum(found[: h + 1] == expected[: h + 1] for h in range(21))
            assert same >= 2
            assert set(found[same - 1 :]) == {found[same - 1]}  # where a trajectory ends, it stays


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=N * T, max_size=N * T))
def test_there_is_one_word_at_a_time_and_numbers_stay_where_the_data_has_them(
    days: list[str],
) -> None:
    panel = shops(days)
    known = panel.known_inputs()
    assert known is not None
    paths, (words,) = drawn(panel, known[[0, 5]])
    np.testing.assert_array_equal(
        np.unique(paths[..., words]), [1.0] if len(set(days)) == 1 else [0.0, 1.0]
    )
    np.testing.assert_array_equal(paths[..., words].sum(axis=-1), 1)
    np.testing.assert_array_equal(
        paths[:, :, 0], np.broadcast_to(known[[0, 5]], paths[:, :, 0].shape)
    )
    assert (paths >= known.min(axis=0)).all()
    assert (paths <= known.max(axis=0)).all()


def test_after_a_word_that_no_row_has_any_other_may_come() -> None:
    panel = shops()
    unknown = np.array([[0.0, *[0.0] * 7, 0.5]])
    paths, (words,) = drawn(panel, unknown)
    assert (paths[:, 0, 0, words] == 0).all()
    assert len(np.unique(paths[:, 0, 1, words].argmax(axis=1))) > 3


def test_without_words_the_same_changes_are_taken_for_every_question() -> None:
    panel = shops()
    changes = wander(panel.transitions())
    assert changes is not None
    numbers = changes[..., [0, 8]]
    held = np.zeros((3, 5, 2))
    since = np.broadcast_to(np.arange(5), (3, 5))
    paths = draws_of(numbers, held, since, np.full(2, -99.0), np.full(2, 99.0))
    rows = np.random.default_rng((0, 29)).permutation(len(numbers))[: KNOWN.draws]
    np.testing.assert_allclose(paths, np.broadcast_to(numbers[rows, None, :5], paths.shape))
