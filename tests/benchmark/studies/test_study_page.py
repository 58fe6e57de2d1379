"""What the page makes of made-up records."""

from __future__ import annotations

from typing import Any

from twinfold.benchmark.studies import load_studies, studies_page
from twinfold.benchmark.studies.study_settings import ScarcitySettings

SETTINGS = ScarcitySettings(title="Scarcity", runs=(("cart_pole", "random"),))


def row(method: str, count: int, error: float | None, **more: Any) -> dict[str, Any]:
    return {
        "study": "scarcity",
        "task": "cart_pole",
        "dataset": "random",
        "method": method,
        "training_agents": count,
        "agents": [{"agent": 0, "label": "2/0.5", "rmse_mean": error}],
        "median_over_agents": error,
        "returns": None,
        "fit_of": {"steps": 12_500, "seconds": 31.4},
        **more,
    }


def test_rows_are_in_order_of_agents_and_methods_and_the_latest_counts() -> None:
    returns = [{"agent": 0, "label": "2/0.5", "mean": 199.25, "std": 1.0, "n": 3}]
    records = [
        row("cadm", 25, 0.7),
        row("persim", 50, 9.0),
        row("persim", 25, 0.123456),
        row("persim", 50, 0.00001234, returns=returns),
        row("pooled", 25, None),
    ]
    page = studies_page({"scarcity": SETTINGS}, {"scarcity": records})
    lines = [line for line in page.splitlines() if line.startswith(("| 25", "| 50"))]
    assert lines == [
        "| 25 | twinfold | 0.123 | 0.123 | 12,500 | 31 |",
        "| 25 | pooled | diverged | diverged | 12,500 | 31 |",
        "| 25 | CaDM | 0.7 | 0.7 | 12,500 | 31 |",
        "| 50 | twinfold | 0.000012 | 0.000012 | 12,500 | 31 |",
    ]
    assert "| CartPole, random | 50 | twinfold | 199.2 | 3 |" in page


def test_a_study_without_records_is_left_out() -> None:
    page = studies_page({"scarcity": SETTINGS}, {})
    assert page.startswith("# Figures and studies of the paper")
    assert "## " not in page
    assert load_studies() == {}
