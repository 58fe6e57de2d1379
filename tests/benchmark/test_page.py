from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.comparison import Entry, summarise
from twinfold.benchmark.page import write_results
from twinfold.benchmark.page_tables import best_of, data_tables, improvement_table, reference_table
from twinfold.benchmark.records import append_record
from twinfold.benchmark.suite import Suite


@pytest.fixture
def two(tiny: Suite, hand_made: Any) -> tuple[Suite, dict]:
    """Ours and a baseline: clearly apart for agent 0, not so for agent 3."""
    suite = tiny.model_copy(update={"methods": ("persim", "cadm")})
    found = {}
    for cell in suite.cells(suite.profile("quick")):
        rmse = 0.01 if cell.agent == 0 and cell.method == "persim" else 1.0
        figures = {"rmse_mean": rmse, "rmse_low": 0.9 * rmse, "rmse_high": 1.1 * rmse}
        values = [0.9 * rmse, rmse, 1.1 * rmse]
        found[cell] = hand_made(suite, "quick", cell, **figures, r2_median=0.5, values=values)
    return suite, found


def entries_of(two: tuple[Suite, dict], folder: Path) -> list[Entry]:
    suite, found = two
    entries = summarise(suite, suite.profile("quick"), found, folder)
    return [entry for entry in entries if entry.row.task == "cart_pole"]


def test_the_best_is_marked_only_where_intervals_are_apart(two: Any, tmp_path: Path) -> None:
    entries = entries_of(two, tmp_path)
    clear = [entry for entry in entries if entry.agent == 0]
    best = best_of(clear)
    assert best is not None
    assert best.row.method == "persim"
    assert best_of([entry for entry in entries if entry.agent == 3]) is None
    assert best_of(clear[:1]) is None  # alone
    unknown = [dataclasses.replace(entry, low=None, high=None) for entry in clear]
    assert best_of(unknown) is None
    broken = [clear[0], dataclasses.replace(clear[1], ours=float("nan"), low=None, high=None)]
    assert best_of(broken) is clear[0]
    (table,) = data_tables(entries)
    assert table.bold == {(0, 1)}
    assert table.rows[0][:2] == ("PerSim", "0.01\n[0.009, 0.011]")
    assert table.rows[1] == ("   in the paper", "0.014", "0.06")
    assert table.html().count('class="strong"') == 1


def test_larger_returns_are_better_and_the_truth_does_not_compete(
    tiny_returns: Suite, hand_made: Any, tmp_path: Path
) -> None:
    suite = tiny_returns.model_copy(update={"methods": ("persim", "cadm", "true-env-mpc")})
    worth = {"persim": 100.0, "cadm": 50.0, "true-env-mpc": 200.0}
    found = {
        cell: hand_made(suite, "quick", cell, mean=worth[cell.method], std=0.5, n=5)
        for cell in suite.cells(suite.profile("quick"))
    }
    entries = summarise(suite, suite.profile("quick"), found, tmp_path)
    group = [e for e in entries if (e.row.task, e.agent) == ("cart_pole", 0)]
    best = best_of(group)
    assert best is not None
    assert best.row.method == "persim"
    truth = reference_table([e for e in entries if e.row.task == "cart_pole"])
    assert truth is not None
    assert truth.rows[0][0] == "true dynamics, our planner"
    assert truth.rows[-1] == ("best possible", "200", "200")


def test_how_often_ours_is_better_is_over_agents(two: Any, tmp_path: Path) -> None:
    table = improvement_table(entries_of(two, tmp_path))
    assert table is not None
    # All pairs of agent 0 are won, half of those of agent 3.
    assert table.rows[0][0] == "Vanilla CaDM"
    assert table.rows[0][1].startswith("0.75 [")
    assert table.rows[0][2] == "2"


def test_the_page_holds_no_markup_of_others_and_asks_for_nothing(two: Any, tmp_path: Path) -> None:
    suite, found = two
    suite = suite.model_copy(update={"title": "<script>alert(1)</script>"})
    first, second, *_ = found.values()
    first["note"] = "<img src=x onerror=alert(2)>"
    second["error"] = "<b>no</b>"
    write_results(tmp_path / "page.html", "quick", [(suite, found)], tmp_path)
    text = (tmp_path / "page.html").read_text()
    for tag in ("<script>alert", "<img", "<b>no"):
        assert tag not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    words = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)=\"(?!#|data:)", words)
    assert "What went wrong" in words
    assert "a fit took" in words


def test_a_page_without_figures_has_no_script_of_theirs(tiny: Suite, tmp_path: Path) -> None:
    write_results(tmp_path / "page.html", "quick", [(tiny, {})], tmp_path)
    assert len((tmp_path / "page.html").read_text()) < 100_000


def test_several_sizes_are_a_curve(tiny: Suite, hand_made: Any, tmp_path: Path) -> None:
    suite = tiny.model_copy(update={"training_agents": (6, 500)})
    cells = list(suite.cells(suite.profile("quick")))
    assert {cell.n_agents for cell in cells} == {6, 500}
    found = {
        cell: hand_made(suite, "quick", cell, rmse_mean=1.0 / (cell.n_agents or 1), r2_median=0.0)
        for cell in cells
    }
    assert {record["settings"]["data"]["agents"] for record in found.values()} == {6, 500}
    entries = summarise(suite, suite.profile("quick"), found, tmp_path)
    papers = {entry.row.n_agents: entry.paper for entry in entries if entry.agent == 0}
    assert papers[6] is None  # it has figures of 500 agents only
    assert papers[500] is not None
    write_results(tmp_path / "page.html", "quick", [(suite, found)], tmp_path)
    text = (tmp_path / "page.html").read_text()
    assert "Data set random, 6 training agents" in text
    assert "training agents, one trajectory each" in text


def test_the_commands_write_page_and_picture(bench: Any, two: Any) -> None:
    assert "`twinfold bench run` makes them" in bench("page").err
    assert bench("figure", "tiny", "--out", "tiny.png").code == 2
    path = Path("results/tiny-quick.jsonl")
    for cell, record in two[1].items():
        if cell.method == "persim":
            append_record(path, record)
    done = bench("page")  # all suites with records
    assert done.code == 0, done.err
    assert done.err == "results/quick.html\n"
    assert "no records results/tiny-returns-quick.jsonl" in bench("page", "tiny-returns").err
    assert bench("page", "--out", "page.pdf").code == 2
    done = bench("figure", "tiny", "--out", "tiny.png")
    assert done.code == 0, done.err
    assert Path("tiny.png").read_bytes()[:4] == b"\x89PNG"
    assert bench("figure", "tiny", "--out", "tiny.gif").code == 2
