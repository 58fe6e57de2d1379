from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.pending import Part
from twinfold.benchmark.records import append_record
from twinfold.benchmark.status import lines_of, status_of
from twinfold.benchmark.suite import Suite


@pytest.fixture
def some(tiny_returns: Suite, hand_made: Any, tmp_path: Path) -> Path:
    """Four of twelve cells: one is as it should be, the others are not."""
    path = tmp_path / "some.jsonl"
    cells = list(tiny_returns.cells(tiny_returns.profile("quick")))
    good, odd, bad, old = (
        hand_made(tiny_returns, "quick", cell, mean=value, std=1.0, n=2)
        for cell, value in zip(cells, (5.0, None, None, 1.0), strict=False)
    )
    bad["error"] = "no data"
    old["settings"]["plan"]["search"] = {"horizon": 99}
    for record in (good, odd, bad, old):
        append_record(path, record)
    return path


def test_cells_are_counted_by_what_became_of_them(tiny_returns: Suite, some: Path) -> None:
    status = status_of(tiny_returns, "quick", some)
    first = status.groups["cart_pole", "persim"]
    assert (first.cells, first.done, first.diverged, first.left) == (2, 2, 1, 0)
    second = status.groups["cart_pole", "true-env-mpc"]
    assert (second.cells, second.failed, second.changed, second.left) == (4, 1, 1, 3)
    total = status.total
    assert (total.cells, total.done, total.left) == (12, 2, 9)
    assert total.done + total.changed + total.left == total.cells
    assert list(status.reasons.values()) == ["no data"]
    assert [cell.agent for cell in status.odd] == [3]
    assert json.loads(json.dumps(status.record()))["failures"][0]["reason"] == "no data"


def test_the_time_left_is_that_of_cells_of_the_same_kind(
    tiny_returns: Suite, some: Path, hand_made: Any
) -> None:
    # Of the true dynamics with our planner a cell took 2 s, and nothing was fitted.
    status = status_of(tiny_returns, "quick", some)
    group = status.groups["cart_pole", "true-env-mpc"]
    assert (group.left, group.seconds, group.untimed) == (3, 2.0, 2)
    other = status.groups["mountain_car", "persim"]
    assert (other.left, other.untimed) == (2, 2)
    assert other.time_left() == "not known"
    # A second repeat of a timed kind: a fit of 30 s, once, and two cells of 2 s.
    paper = status_of(tiny_returns, "paper", some, Part(tasks=["cart_pole"], methods=["persim"]))
    (group,) = paper.groups.values()
    assert (group.cells, group.left, group.seconds) == (4, 2, 34.0)
    assert group.time_left() == "about 34 s"
    assert status.groups["cart_pole", "persim"].time_left() == "none"


def test_a_status_is_shown(tiny_returns: Suite, some: Path, bench: Any) -> None:
    text = lines_of(status_of(tiny_returns, "quick", some))
    assert text[0].startswith("tiny-returns, profile quick: ")
    assert text[1].split() == [
        "task", "method", "cells", "done", "diverged", "failed", "changed", "left", "time", "left"
    ]  # fmt: skip
    assert text[2].split()[:7] == ["cart_pole", "persim", "2", "2", "1", "0", "0"]
    assert any(line.startswith("failed: cart_pole, true-env-mpc") for line in text)
    assert any(line.startswith("diverged: cart_pole, random, persim") for line in text)
    done = bench("status", "tiny-returns", "--records", some)
    assert done.out.splitlines() == text
    everything = bench("status", "--json")
    assert [one["suite"] for one in json.loads(everything.out)["suites"]] == [
        "tiny", "tiny-returns"
    ]  # fmt: skip
    assert "is the file of one suite" in bench("status", "--records", some).err
    assert bench("status", "nothing").code == 2
    assert "no suite in ./suites has a profile 'full'" in bench("status", "--profile", "full").err
