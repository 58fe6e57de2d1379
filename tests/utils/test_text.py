"""Names in sentences: what is listed, and what is only counted."""

from __future__ import annotations

import pytest

from twinfold.utils.text import and_more, clipped, cut, listed


@pytest.mark.parametrize(
    ("names", "most", "text"),
    [
        ([], 2, ""),
        (["a"], 2, "a"),
        (["a", 7], 2, "a, 7"),
        (["a", 7, "c"], 2, "a, 7 and 1 more"),
        (("a", "b", "c", "d"), 1, "a and 3 more"),
    ],
)
def test_the_first_names_are_listed_and_the_others_counted(
    names: list[object], most: int, text: str
) -> None:
    assert listed(names, most) == text


def test_the_separator_stays_before_the_count_unless_it_is_a_comma() -> None:
    assert listed(["a: 1", "b: 2", "c: 3"], 2, "; ") == "a: 1; b: 2; and 1 more"


def test_nothing_more_is_no_words() -> None:
    assert [and_more(number) for number in (-1, 0, 1, 12)] == [
        "",
        "",
        " and 1 more",
        " and 12 more",
    ]


def test_a_value_is_cut_and_on_one_line() -> None:
    assert clipped("a\nb") == r"'a\nb'"
    assert clipped([1] * 1000, 12) == "[1, 1, 1,..."
    assert cut("one\n  two") == "one two"
