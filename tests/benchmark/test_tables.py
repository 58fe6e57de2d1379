from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinfold.benchmark.comparison import summarise
from twinfold.benchmark.figure import save_picture
from twinfold.benchmark.records import append_record, cell_of, read_records
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.suite_parts import Row
from twinfold.benchmark.tables import as_csv, markdown, notes, short
from twinfold.errors import UsageError


def rows_of(page: str) -> list[list[str]]:
    """The cells of all Markdown tables of a page."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


@pytest.fixture
def errors(tiny: Suite, hand_made: Any) -> dict:
    """All of the quick profile: better than the paper for agent 0, worse for agent 3."""
    found = {}
    for cell in tiny.cells(tiny.profile("quick")):
        rmse, r2 = {0: (0.001, 0.999), 3: (5.0, -12.3)}[cell.agent]
        figures = {"rmse_mean": rmse, "rmse_low": 0.9 * rmse, "rmse_high": 1.1 * rmse}
        found[cell] = hand_made(tiny, "quick", cell, r2_median=r2, **figures)
    return found


def test_a_cell_shows_ours_beside_the_papers(tiny: Suite, errors: dict, tmp_path: Path) -> None:
    rows = rows_of(markdown(tiny, "quick", errors, tmp_path))
    assert rows[0] == ["data", "method", "0 (2/0.5)", "3 (10/0.85)"]
    assert rows[2] == [
        "random",
        "PerSim",
        "**0.001** [0.0009, 0.0011] / 0.014",
        "5 [4.5, 5.5] / 0.06",
    ]
    assert rows[5] == ["random", "PerSim", "**1.00** / 0.98", "-12 / 1.00"]


def test_repeats_are_averaged_with_their_spread(
    tiny: Suite, hand_made: Any, tmp_path: Path
) -> None:
    records = {}
    for cell in tiny.cells(tiny.profile("paper")):
        if (cell.task, cell.agent) == ("cart_pole", 0):
            value = 0.010 + 0.002 * cell.repeat
            records[cell] = hand_made(tiny, "paper", cell, rmse_mean=value, r2_median=0.99)
    page = markdown(tiny, "paper", records, tmp_path)
    assert "| **0.011** ± 0.00141 / 0.014 | not run / 0.06 |" in page
    assert "± the standard deviation over repeats" in page
    assert "`cart_pole`: 2 of 4 cells run: 2 repeats, 3 trajectories of 5 steps per agent" in page
    first = next(iter(records))
    page = markdown(tiny, "paper", {first: records[first]}, tmp_path)
    assert "**0.01** (1 of 2 repeats) / 0.014" in page


def test_a_page_says_which_fits_had_other_settings(
    tiny: Suite, errors: dict, tmp_path: Path
) -> None:
    assert "other settings" not in markdown(tiny, "quick", errors, tmp_path)
    record = next(iter(errors.values()))
    record["settings"]["fit"]["seed"] += 1  # of a repeat
    assert "other settings" not in markdown(tiny, "quick", errors, tmp_path)
    record["settings"]["fit"]["steps"] += 1
    page = markdown(tiny, "quick", errors, tmp_path)
    assert "of these 1 (`random`) by fits with other settings than the suite's" in page


def test_what_was_not_run_says_so(tiny: Suite, tmp_path: Path) -> None:
    page = markdown(tiny, "quick", {}, tmp_path)
    assert "| random | PerSim | not run / 0.014 | not run / 0.06 |" in page
    assert "- `cart_pole`: 0 of 2 cells run\n" in page
    assert "**" not in page.split("## CartPole")[1]
    assert "At least as good" not in page


def test_a_figure_that_is_not_finite_is_shown_and_never_good(
    tiny: Suite, hand_made: Any, tmp_path: Path
) -> None:
    cell = next(iter(tiny.cells(tiny.profile("quick"))))
    records = {cell: hand_made(tiny, "quick", cell, rmse_mean=None, r2_median=None)}
    page = markdown(tiny, "quick", records, tmp_path)
    assert "| random | PerSim | diverged / 0.014 |" in page
    assert "in 0 of 1 cells" in page
    row = rows_of(short(tiny, "quick", records, tmp_path))[2]
    assert row[-1] == "–"


@pytest.fixture
def returns(tiny_returns: Suite, hand_made: Any) -> dict:
    worth = {"mountain_car": -60.0, "cart_pole": 199.0}
    return {
        cell: hand_made(
            tiny_returns,
            "quick",
            cell,
            mean=worth[cell.task] - (100.0 if cell.planner == "paper" else 0.0),
            std=1.5,
            n=2,
        )
        for cell in tiny_returns.cells(tiny_returns.profile("quick"))
    }


def test_returns_stand_beside_the_papers_with_both_planners(
    tiny_returns: Suite, returns: dict, tmp_path: Path
) -> None:
    (tmp_path / "mountain_car_optimum.csv").write_text(
        "gravity,optimal_return_mean\n0.0001,-44.6\n0.0005,-49.7\n0.001,-63.3\n0.0025,-96.6\n"
    )
    rows = rows_of(markdown(tiny_returns, "quick", returns, tmp_path))
    assert ["random", "PerSim", "**199** ± 1.5 / 197.7 ± 7.82", "**199** ± 1.5 / 193 ± 6.6"] in rows
    car = rows[-6:]
    assert car[2] == [
        "random",
        "PerSim",
        "-60 ± 1.5 / -57.7 ± 5.63",
        "**-60** ± 1.5 / -186.6 ± 4.25",
    ]
    assert car[3][:2] == ["–", "true dynamics, our planner"]
    assert car[3][2:] == ["-60 ± 1.5 / -54 ± 4.1", "**-60** ± 1.5 / -182.9 ± 22.9"]
    assert car[4][1] == "true dynamics, the paper's planner"
    assert car[4][2].startswith("-160 ± 1.5 / -54 ")
    assert car[5] == ["–", "best possible", "-44.6", "-96.6"]


@pytest.mark.parametrize(
    "text",
    [
        "gravity,optimal_return_mean\n0.0001,high\n",
        "gravity,optimal_return_mean\n0.0001,nan\n",
        "gravity,optimal_return_mean\n7,-44.6\n",
        "gravity\n0.0001\n",
        "gravity,optimal_return_mean\n0.0001\n",
    ],
)
def test_a_damaged_file_of_the_optimum_is_named(
    tiny_returns: Suite, returns: dict, tmp_path: Path, text: str
) -> None:
    (tmp_path / "mountain_car_optimum.csv").write_text(text)
    with pytest.raises(UsageError, match=r"mountain_car_optimum.csv, line 2, is no best possible"):
        markdown(tiny_returns, "quick", returns, tmp_path)


def test_records_of_another_kind_are_refused(tiny: Suite, returns: dict, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"of kind 'return', and suite 'tiny' is of kind 'pred"):
        markdown(tiny, "quick", returns, tmp_path)


def test_without_the_file_of_the_optimum_the_row_is_left_out(
    tiny_returns: Suite, returns: dict, tmp_path: Path
) -> None:
    page = markdown(tiny_returns, "quick", returns, tmp_path)
    assert "best possible" not in page.split("## MountainCar")[1]
    assert "| – | best possible | 200 | 200 |" in page


def test_the_short_form_has_the_worst_agent_of_every_row(
    tiny: Suite, tiny_returns: Suite, errors: dict, returns: dict, tmp_path: Path
) -> None:
    rows = rows_of(short(tiny, "quick", errors, tmp_path))
    assert rows[2] == ["cart_pole", "random", "PerSim", "3 (10/0.85)", "5", "0.06", "0.012"]
    rows = rows_of(short(tiny_returns, "quick", returns, tmp_path))
    assert [row[:3] for row in rows[2:]] == [
        ["cart_pole", "random", "PerSim"],
        ["cart_pole", "–", "true dynamics, our planner"],
        ["cart_pole", "–", "true dynamics, the paper's planner"],
        ["mountain_car", "random", "PerSim"],
        ["mountain_car", "–", "true dynamics, our planner"],
        ["mountain_car", "–", "true dynamics, the paper's planner"],
    ]
    # A return of -60 costs 1.04 times as much as one of -57.7.
    assert rows[5][3:] == ["0 (0.0001)", "-60", "-57.7", "0.96", "–"]
    assert all(len(row) == 8 for row in rows)
    assert {tuple(row[3:]) for row in rows_of(short(tiny, "quick", {}, tmp_path))[2:]} == {
        ("not run", "–", "–", "–")
    }


def test_a_baseline_stands_beside_the_papers_and_apart_from_ours(
    tiny: Suite, errors: dict, hand_made: Any, tmp_path: Path
) -> None:
    suite = tiny.model_copy(update={"methods": ("persim", "cadm")})
    (cell,) = (c for c in suite.cells(suite.profile("quick")) if c[0::2][:3] == (
        "cart_pole", "cadm", 0))  # fmt: skip
    record = hand_made(suite, "quick", cell, rmse_mean=0.2, r2_median=0.5)
    record["seconds"]["fit"] = 70.0
    records = {**errors, cell: record}
    page = markdown(suite, "quick", records, tmp_path)
    assert "| random | Vanilla CaDM | 0.2 / 0.172 | not run / 0.098 |" in page
    assert "a fit took 30 s, of cadm 70 s; evaluation" in page
    assert "by fits with other settings" not in page
    # Counted is ours alone, and the short form leaves out what of a baseline was not run.
    assert "PerSim in 1 of 2 cells" in page
    methods = [row[:3] for row in rows_of(short(suite, "quick", records, tmp_path))[2:]]
    assert methods == [
        ["cart_pole", "random", "PerSim"],
        ["cart_pole", "random", "Vanilla CaDM"],
        ["mountain_car", "random", "PerSim"],
    ]


def test_oddities_are_told_where_they_matter(tiny: Suite, tiny_returns: Suite) -> None:
    def said(suite: Suite) -> str:
        return "\n".join(notes(suite))

    cheetah = {"tasks": ("half_cheetah",)}
    assert "identical for the data sets pure and random" in said(tiny.model_copy(update=cheetah))
    assert "identical" not in said(tiny)
    assert "exploit the physics" in said(tiny_returns.model_copy(update=cheetah))
    assert "exploit the physics" not in said(tiny_returns)
    assert "MOReL" in said(tiny_returns)
    assert "0.01 to 0.035" in said(tiny)
    for suite in (tiny, tiny_returns):
        assert "three of the five" in said(suite)
        assert "Table 3" in said(suite)


def test_notes_of_the_records_are_shown_once(tiny: Suite, errors: dict, tmp_path: Path) -> None:
    for record in errors.values():
        record["note"] = "The test policy is another."
    assert markdown(tiny, "quick", errors, tmp_path).count("The test policy is another.") == 1


def test_the_budget_is_that_of_the_records(tiny: Suite, errors: dict, tmp_path: Path) -> None:
    _, second = (record for cell, record in errors.items() if cell.task == "cart_pole")
    second["budget"]["trajectories"] = 50
    second["seconds"]["fit"] = 42.0
    second["twinfold"] = "0.2.0"
    line = next(
        line
        for line in markdown(tiny, "quick", errors, tmp_path).splitlines()
        if line.startswith("- `cart_pole`")
    )
    assert "1 repeat, 3 trajectories of 5 steps per agent and repeat or 50 trajectories" in line
    assert "a fit took 30 to 42 s; evaluation 4 s in all (2 cores, cpu)" in line
    assert line.endswith("2026-11-22, twinfold 0.1.0 or 0.2.0")


def test_the_csv_has_a_line_per_row_and_agent(
    tiny_returns: Suite, returns: dict, tmp_path: Path
) -> None:
    entries = summarise(tiny_returns, tiny_returns.profile("quick"), returns, tmp_path)
    rows = list(csv.DictReader(io.StringIO(as_csv(entries))))
    assert len(rows) == 12
    first = rows[0]
    assert (first["task"], first["agent"], first["ours"]) == ("cart_pole", "0", "199.0")
    assert (first["paper"], first["best_offline"]) == ("197.7", "197.7")
    assert first["at_least_as_good"] == "True"
    true = [row for row in rows if row["method"] == "true-env-mpc"]
    assert {row["best_offline"] for row in true} == {""}
    assert entries[0].row == Row("cart_pole", "random", "persim", "twinfold")


def test_factors_compare_errors_costs_and_returns(
    tiny_returns: Suite, returns: dict, tmp_path: Path
) -> None:
    profile = tiny_returns.profile("quick")
    entries = summarise(tiny_returns, profile, returns, tmp_path)
    car = next(e for e in entries if e.row.task == "mountain_car" and e.agent == 3)
    assert car.factor == pytest.approx(186.6 / 60.0)
    pole = next(e for e in entries if e.row.task == "cart_pole" and e.agent == 0)
    assert pole.factor == pytest.approx(199.0 / 197.7)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_picture_is_the_same_for_the_same_records(
    tiny: Suite, errors: dict, tmp_path: Path, suffix: str
) -> None:
    entries = summarise(tiny, tiny.profile("quick"), errors, tmp_path)
    made = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.{suffix}"
        save_picture(path, tiny, entries)
        made.append(path.read_bytes())
    assert made[0][:4] in (b"\x89PNG", b"%PDF", b"<?xm")
    if suffix != "svg":  # its identifiers are random
        assert made[0] == made[1]


def test_a_picture_of_nothing_shows_the_papers_figures(tiny_returns: Suite, tmp_path: Path) -> None:
    entries = summarise(tiny_returns, tiny_returns.profile("quick"), {}, tmp_path)
    save_picture(tmp_path / "none.png", tiny_returns, entries)
    assert (tmp_path / "none.png").stat().st_size > 1000
    with pytest.raises(UsageError, match=r"valid: \.png, \.pdf, \.svg"):
        save_picture(tmp_path / "none.gif", tiny_returns, entries)


def test_tables_need_no_jax() -> None:
    code = (
        "import sys, twinfold.benchmark.tables, twinfold.benchmark.figure\n"
        "assert not {'jax', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_writes_what_it_shows(bench: Any, tiny: Suite, errors: dict) -> None:
    missing = bench("table", "tiny")
    assert missing.code == 2
    assert "`twinfold bench run tiny --profile quick` makes them" in missing.err
    path = Path("results/tiny-quick.jsonl")
    for record in errors.values():
        append_record(path, record)
    assert {cell_of(record) for record in read_records(path).values()} == set(errors)
    done = bench("table", "tiny", "--csv", "tiny.csv", "--plot", "tiny.png")
    assert done.code == 0, done.err
    assert done.out == Path("results/tiny-quick.md").read_text()
    assert (
        Path("tiny.csv").read_text().startswith("task,dataset,method,planner,n_agents,status,agent")
    )
    assert done.err.splitlines() == ["results/tiny-quick.md", "tiny.csv", "tiny.png"]
    brief = bench("table", "tiny", "--short", "--out", "docs/short.md")
    assert brief.out == Path("docs/short.md").read_text()
    assert len(brief.out.splitlines()) == 4
    record = json.loads(bench("table", "tiny", "--json").out)
    assert record["suite"] == "tiny"
    assert record["entries"][0]["ours"] == 0.001
    assert record["entries"][0]["at_least_as_good"] is True
    assert bench("table", "tiny", "--profile", "full").code == 2


@pytest.mark.parametrize(
    ("rival", "said"),
    [
        ({"mean": 150.0, "std": 0.1}, "in 2 of 2 cells"),
        ({"mean": 199.9, "std": 5.0}, "in 2 of 2 cells"),
        ({"mean": 199.9, "std": 0.1}, "in 0 of 2 cells"),
    ],
)
def test_ours_is_counted_beside_what_else_was_run(
    tiny_returns: Suite, hand_made: Any, tmp_path: Path, rival: dict, said: str
) -> None:
    update = {"methods": ("persim", "cql-p"), "tasks": ("cart_pole",), "planners": {}}
    suite = tiny_returns.model_copy(update=update)
    ours = {"mean": 199.0, "std": 0.1}
    records = {}
    for cell in suite.cells(suite.profile("quick")):
        figures = ours if cell.method == "persim" else rival
        records[cell] = hand_made(suite, "quick", cell, n=5, **figures)
    page = markdown(suite, "quick", records, tmp_path)
    assert f"or its interval meets the best's, {said}." in page
    rows = rows_of(short(suite, "quick", records, tmp_path, ["cql-p"]))
    assert {row[2] for row in rows[2:]} == {"CQL-P"}


def test_a_single_episode_is_not_counted_beside_what_else_was_run(
    tiny_returns: Suite, hand_made: Any, tmp_path: Path
) -> None:
    update = {"methods": ("persim", "cql-p"), "tasks": ("cart_pole",), "planners": {}}
    suite = tiny_returns.model_copy(update=update)
    records = {
        cell: hand_made(suite, "quick", cell, n=1 if cell.method == "persim" else 5, mean=199.0)
        for cell in suite.cells(suite.profile("quick"))
    }
    assert "interval meets the best's" not in markdown(suite, "quick", records, tmp_path)
    # Beside no other method there is nothing to count.
    alone = {cell: record for cell, record in records.items() if cell.method == "persim"}
    assert "meets" not in markdown(suite, "quick", alone, tmp_path)
