"""Names in sentences and on terminals, and predictions with their bands."""

from __future__ import annotations

import math
import unicodedata
from xml.dom.minidom import parseString

import numpy as np
import pytest
from hypothesis import given, strategies as st

from twinfold.utils.text import and_more, banded, clipped, cut, listed, percent, printable


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


@given(st.text())
def test_a_printable_text_has_nothing_hidden_and_is_well_formed(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in (
            "Cc",
            "Zl",
            "Zp",
            "Cs",
        )
        assert unicodedata.bidirectional(character) not in ("LRE", "RLE", "LRO", "RLO", "PDF")
        assert unicodedata.bidirectional(character) not in ("LRI", "RLI", "FSI", "PDI")
    parseString(f"<p>{shown.replace('&', '').replace('<', '')}</p>")
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\rb\x00\x7f\x9b2J", r"a\rb\x00\x7f\x9b2J"),
        ("\u202eabc\u2028\u2066", r"\u202eabc\u2028\u2066"),
        ("\udcff\uffff\U000e0041", r"\udcff\uffff\U000e0041"),
        ("own\tlayout\nstays: é 漢 می\u200cشود 👩\u200d🔬 \\x1b", None),
    ],
)
def test_hidden_characters_are_written_as_python_writes_them(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


NUMBERS = st.floats(-1e300, 1e300)


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_a_band_is_seen_to_hold_its_value_and_to_have_a_width(numbers: list[float]) -> None:
    lower, value, upper = sorted(numbers)
    middle, ends = banded(value, lower, upper).removesuffix("]").split(" [")
    low, high = ends.split("..")
    assert float(low) <= float(middle) <= float(high)
    assert (low == high) == (lower == upper)
    width = upper - lower
    if math.isfinite(width):  # rounded to a tenth of the width's first digit, or better
        near = 0.051 * width if width > 0 else 0.00051 * abs(value)
        for shown, exact in ((middle, value), (low, lower), (high, upper)):
            assert abs(float(shown) - exact) <= near


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ((101312.4, 101290.1, 101334.9), "101312 [101290..101335]"),
        ((0.5, 0.49, 0.51), "0.500 [0.490..0.510]"),
        ((1.3e12, 1.29e12, 1.31e12), "1.300e+12 [1.290e+12..1.310e+12]"),
        ((1.2e-9, -1e-9, 3e-9), "1.2e-9 [-1.0e-9..3.0e-9]"),
        ((-1e-9, -0.5, 0.5), "0.0 [-0.5..0.5]"),
        ((0.001, -0.019, 0.018), "0.001 [-0.019..0.018]"),
        ((5.0, 5.0, 5.0), "5.000 [5.000..5.000]"),
        ((0.0, 0.0, 0.0), "0 [0..0]"),
        ((1.0, -math.inf, math.inf), "1.000 [-inf..inf]"),
        ((math.nan, 0.0, 1.0), "–"),
    ],
)
def test_a_prediction_is_shown_to_the_place_that_its_band_asks_for(
    figures: tuple[float, float, float], text: str
) -> None:
    assert banded(*figures) == text


def test_a_value_is_cut_and_on_one_line() -> None:
    assert clipped("a\nb") == r"'a\nb'"
    assert clipped([1] * 1000, 12) == "[1, 1, 1,..."
    assert clipped("a  b") == "'a  b'"
    assert clipped(np.float64(0.5)) == "0.5"
    assert clipped(10**5000) == "an integer of more than 4000 digits"
    assert cut("one\n  two") == "one two"


def test_shares_in_per_cent_never_show_a_power_of_ten_for_all() -> None:
    assert [percent(share) for share in (1.0, 0.9951, 0.99, 0.123, 0.0)] == [
        "100 %", "100 %", "99 %", "12 %", "0 %"
    ]  # fmt: skip
