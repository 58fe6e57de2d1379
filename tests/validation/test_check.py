"""The correction for making many checks, against its definition."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies as st

from twinfold.validation.check import holm


def closed_testing(p: list[float], level: float) -> list[bool]:
    """By definition: rejected if every set that holds it is rejected by Bonferroni."""
    numbers = range(len(p))
    sets = [s for size in numbers for s in itertools.combinations(numbers, size + 1)]
    rejected = {s: min(p[k] for k in s) <= level / len(s) for s in sets}
    return [all(rejected[s] for s in sets if k in s) for k in numbers]


@given(p=st.lists(st.sampled_from([0.0, 0.001, 0.002, 0.0025, 0.004, 0.01, 0.3, 1.0]), max_size=6))
def test_holm_is_closed_testing_by_bonferroni(p: list[float]) -> None:
    assert holm(p, 0.01) == closed_testing(p, 0.01)
