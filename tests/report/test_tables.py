from __future__ import annotations

import math

import pytest

from twinfold.report.tables import Table, error_table, number, returns_table, times_lower


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0031234, "0.00312"),
        (-44.52, "-44.5"),
        (186.63, "186.6"),
        (200.0, "200"),
        (12345.6, "12346"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "∞"),
    ],
)
def test_numbers_show_what_is_measured(value, text) -> None:
    assert number(value) == text


def test_errors_stand_beside_the_papers() -> None:
    records = [
        {"agent": 0, "label": "2/0.5", "rmse_mean": 0.005, "r2_median": 0.999},
        {"agent": 1, "rmse_mean": 0.3, "r2_median": -1.5, "rmse_low": 0.2, "rmse_high": 0.4},
    ]
    table = error_table(records, {0: {"rmse_mean": 0.014, "r2_median": 0.98}})
    assert table.rows == (
        ("0 (2/0.5)", "0.005", "0.014", "2.8 × lower", "0.999", "0.98"),
        ("1", "0.3 [0.2, 0.4]", "–", "–", "-1.5", "–"),
    )
    assert error_table(records).columns == ("agent", "mean RMSE", "median R²")


def test_returns_stand_beside_the_papers_and_the_best() -> None:
    record = {"agent": 4, "mean": 180.25, "std": 1.5, "iqm": 181.0, "low": 179.0, "high": 182.0}
    paper = {4: {"return_mean": 185.7, "return_std": 3.49}}
    table = returns_table([record | {"n": 20}], paper, best={4: 200.0})
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        "agent": "4",
        "mean ± std": "180.2 ± 1.5",
        "interquartile mean": "181 [179, 182]",
        "paper": "185.7 ± 3.49",
        "ours is": "5.45 lower",
        "best possible": "200",
        "episodes": "20",
    }
    assert returns_table([record]).columns == ("agent", "mean ± std", "interquartile mean")


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (0.01, 0.04, "4 × lower"),
        (0.04, 0.01, "4 × higher"),
        (0.01, 0.0, "–"),
        (math.nan, 0.01, "–"),
        (math.inf, 0.01, "–"),
        (0.01, None, "–"),
    ],
)
def test_ratios_are_said_in_words(ours, theirs, text) -> None:
    assert times_lower(ours, theirs) == text


def test_cells_are_escaped() -> None:
    html = Table(("<i>",), (("<script>",),), caption="a & b").html()
    assert "<script>" not in html
    assert "<i>" not in html
    assert "&lt;script&gt;" in html
    assert "a &amp; b" in html
