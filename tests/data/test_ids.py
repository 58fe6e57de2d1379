"""Ids stay what they were and are found however they are typed."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.data.ids import (
    canonical_ids,
    did_you_mean,
    factorize_ids,
    in_order,
    look_alikes,
    match_ids,
    natural_key,
    unusable_ids,
)

UUIDS = [uuid.UUID(int=i) for i in range(3)]


@pytest.mark.parametrize(
    ("given_ids", "kept"),
    [
        (["007", "7"], ("007", "7")),
        (list(np.array([3, 1])), (3, 1)),
        ([3.0, 1.0], (3, 1)),  # integers that a reader turned to floats
        ([1.5, 2.0], (1.5, 2.0)),
        (UUIDS, tuple(str(value) for value in UUIDS)),
        ([1, "a"], ("1", "a")),
        ([Decimal(4), Decimal(5)], (4, 5)),
        ([True, False], ("True", "False")),
        ([2**64 - 1, 5], (2**64 - 1, 5)),
        ([2**64, 5], (str(2**64), "5")),
        ([2**63, -1], (str(2**63), "-1")),
        ([Decimal("1e5000"), Decimal(5)], ("1E+5000", "5")),
    ],
)
def test_canonical_ids(given_ids: list[object], kept: tuple[object, ...]) -> None:
    ids = canonical_ids(given_ids)
    assert ids == kept
    assert [type(value) for value in ids] == [type(value) for value in kept]


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(["b", None, "a", "b", ""]),
        pd.Series(["b", None, "a", "b", ""], dtype=object),
        pd.Series(["b", None, "a", "b", ""], dtype="category"),
        pd.Series(["b", pd.NA, "a", "b", ""], dtype="string"),
    ],
)
def test_factorize_keeps_first_appearance_and_finds_nulls(series: pd.Series) -> None:
    codes, ids, null = factorize_ids(series)
    assert ids == ("b", "a")
    assert codes.tolist() == [0, -1, 1, 0, -1]
    assert null.tolist() == [False, True, False, False, True]


def test_forms_of_one_id_are_one_agent() -> None:
    codes, ids, _ = factorize_ids(pd.Series([1, "1", "x"], dtype=object))
    assert ids == ("1", "x")
    assert codes.tolist() == [0, 0, 1]


@pytest.mark.parametrize("ids", [("u10", "u2", "a"), (10, 2, -1), ("10", "007", "2")])
def test_ids_in_their_order_keep_their_rows(ids: tuple[Any, ...]) -> None:
    index, ordered = in_order(np.array([0, 2, -1, 1, 0]), ids)
    assert ordered == ids[::-1]
    assert index.tolist() == [2, 0, -1, 1, 2]


def test_match_by_value_then_by_text() -> None:
    assert match_ids((3, 7, 12), ["7", 12, 3.0, "3.5", "007"]).tolist() == [1, 2, 0, -1, -1]
    assert match_ids(("007", "7", "a"), [7, "007", "A"]).tolist() == [1, 0, -1]


@given(st.lists(st.one_of(st.integers(), st.text(min_size=1)), unique_by=str, max_size=20))
def test_every_known_id_finds_itself(values: list[int | str]) -> None:
    ids = canonical_ids(values)
    assert match_ids(ids, ids).tolist() == list(range(len(ids)))
    assert match_ids(ids, [str(value) for value in ids]).tolist() == list(range(len(ids)))


def test_natural_order() -> None:
    names = ["ep10", "ep2", "b", "ep2x", "a1b10", "a1b9"]
    assert sorted(names, key=natural_key) == ["a1b9", "a1b10", "b", "ep2", "ep2x", "ep10"]
    assert sorted([10, 9, 2], key=natural_key) == [2, 9, 10]
    long = ["9" * 5000, "1" + "0" * 5000, "007", "07", "8"]
    assert sorted(long, key=natural_key) == ["007", "07", "8", *long[:2]]


def test_hint_ignores_case_and_spaces_and_lists_are_short() -> None:
    assert "Did you mean ' Time'?" in did_you_mean("time", ["x", " Time"], "columns")
    many = [f"unit{n:05d}" for n in range(30_000)]
    assert "Did you mean 'unit00007'?" in did_you_mean("unitt00007", many, "agents")
    assert "Did you mean 'unit29999'?" in did_you_mean("UNIT29999", many, "agents")
    long = did_you_mean("zzz", list(range(100)), "agents")
    assert "100 in all" in long
    assert "Did you mean" not in long


def test_ids_that_have_lost_digits_or_cannot_be_written() -> None:
    values = [2.0**53, 2.0**53 - 1, np.inf, np.nan, "\ud800", "a", 10**5000, 2**60]
    bad = unusable_ids(pd.Series(values, dtype=object))
    assert bad.tolist() == [True, False, True, False, True, False, True, False]
    assert unusable_ids(pd.Series([1e16, 1.0])).tolist() == [True, False]


def test_long_values_are_shown_short() -> None:
    assert len(did_you_mean("x" * 10**6, ["y" * 10**6], "agents")) < 200


@pytest.mark.parametrize(
    "alike",
    [
        ["A-1", "A\u20131", "A_1", "a 1"],
        ["AB12", "\u0410\u041212", "\u0391\u039212"],  # Latin, Cyrillic, Greek
        ["12", "012", "12.0", " 12"],
        ["-3", "\u22123"],
    ],
)
def test_ids_that_programs_and_keyboards_confuse_look_alike(alike: list[str]) -> None:
    assert look_alikes(alike) == [alike]


def test_ids_that_differ_in_what_counts_do_not() -> None:
    assert look_alikes(["A1", "A-1", "A11", "1", "-1", "1.5", "15", "10", "1.50"]) == []
