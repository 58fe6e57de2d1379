"""Figures of records in which something diverged, and of numbers next to one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.studies import draw_study
from twinfold.benchmark.studies.study_figures import _r2
from twinfold.benchmark.studies.study_settings import CartSettings

RUNS = (("cart_pole", "random"),)
WHO = {"task": "cart_pole", "dataset": "random"}


def carts(x: float | None) -> dict[str, Any]:
    return {
        **WHO,
        "agent": 1,
        "label": "10/0.5",
        "covariates": {"force": 10.0, "length": 0.5},
        "states": ["x", "x_dot", "theta", "theta_dot"],
        "horizons": [1],
        "true": [[0.0, 0.0, 0.1, 0.0]],
        "predicted": {"persim": [[0.1, 0.0, 0.1, 0.0]], "cadm": [[x, 0.0, 0.5, 0.0]]},
        "rmse_shown": {"persim": 0.1, "cadm": x},
    }


@pytest.mark.parametrize("x", [None, 1e9, 0.3])
def test_a_cart_that_diverged_leaves_the_others_to_be_seen(tmp_path: Path, x: float | None) -> None:
    settings = CartSettings(title="Carts", runs=RUNS)
    (path,) = draw_study("carts", settings, [carts(x)], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.50"),
        (-0.1, "-0.10"),
        (0.994, "0.99"),
        (0.996, "0.996"),
        (0.99996, "0.99996"),
        (0.9999999, "> 0.99999"),
    ],
)
def test_an_r2_never_reads_as_one(value: float, text: str) -> None:
    assert _r2(value) == text
