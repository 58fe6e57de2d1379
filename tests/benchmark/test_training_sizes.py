"""Curves over the number of training agents, and what is said where agents are fewest."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.benchmark.comparison import Entry, summarise
from twinfold.benchmark.figure import save_picture
from twinfold.benchmark.page import write_results
from twinfold.benchmark.suite import Suite
from twinfold.benchmark.tables import markdown
from twinfold.benchmark.training_sizes import (
    fewest_sentences,
    size_curves,
    size_table,
    sizes_markdown,
)
from twinfold.report.comparison_figures import Dot, size_figure

METHODS = ("persim", "cadm", "per-agent")


@pytest.fixture
def sizes(tiny: Suite) -> Suite:
    """One task, two numbers of agents, three methods; an agent alone is measured once."""
    changes = {"tasks": ("cart_pole",), "training_agents": (6, 500), "methods": METHODS}
    quick = tiny.profile("quick").model_dump() | {
        "without": [{"method": "per-agent", "n_agents": 500}]
    }
    profile = type(tiny.profile("quick")).model_validate(quick)
    return tiny.model_copy(update={**changes, "profiles": {"quick": profile}})


def made(
    suite: Suite, hand_made: Any, errors: dict[tuple[str, int, int], list[float | None]]
) -> Any:
    """Records of errors by method, number of agents and agent."""
    found = {}
    for cell in suite.cells(suite.profile("quick")):
        assert cell.n_agents is not None
        values = errors.get((cell.method, cell.n_agents, cell.agent))
        if values is not None:
            mean = None if None in values else float(np.mean([v for v in values if v is not None]))
            found[cell] = hand_made(
                suite, "quick", cell, rmse_mean=mean, r2_median=0.5, values=values
            )
    return found


def entries_of(suite: Suite, records: Any, folder: Path) -> list[Entry]:
    return summarise(suite, suite.profile("quick"), records, folder)


ERRORS: dict[tuple[str, int, int], list[float | None]] = {
    ("persim", 6, 0): [0.01, 0.03],
    ("persim", 6, 3): [0.5, 0.5],
    ("persim", 500, 0): [0.01, 0.01],
    ("persim", 500, 3): [0.01, 0.01],
    ("cadm", 6, 0): [1.0, 3.0],
    ("cadm", 6, 3): [0.2, 0.2],
    ("cadm", 500, 0): [1.0, None],
    ("cadm", 500, 3): [1.0, 1.0],
    ("per-agent", 6, 0): [4.0, 4.0],
    ("per-agent", 6, 3): [1.0, 1.0],
}


def test_a_point_is_the_geometric_mean_over_agents_of_their_mean_errors(
    sizes: Suite, hand_made: Any, tmp_path: Path
) -> None:
    curves = {
        c.row.method: c
        for c in size_curves(entries_of(sizes, made(sizes, hand_made, ERRORS), tmp_path))
    }
    ours = curves["persim"].points
    assert ours[6].value == pytest.approx(math.sqrt(0.02 * 0.5))
    # Agents are strata: only the first one's trajectories differ.
    assert ours[6].low == pytest.approx(math.sqrt(0.01 * 0.5))
    assert ours[6].high == pytest.approx(math.sqrt(0.03 * 0.5))
    assert (ours[500].low, ours[500].high) == pytest.approx((0.01, 0.01))


def test_no_point_leaves_an_agent_out(sizes: Suite, hand_made: Any, tmp_path: Path) -> None:
    some = {key: values for key, values in ERRORS.items() if key != ("persim", 500, 3)}
    entries = entries_of(sizes, made(sizes, hand_made, some), tmp_path)
    curves = size_curves(entries)
    assert [set(curve.points) for curve in curves] == [{6}, {6}, {6}]
    assert [curve.constant for curve in curves] == [False, False, True]
    table = size_table(curves)
    assert table.columns == ("method", "N = 6", "N = 500")
    assert [row[2] for row in table.rows] == [
        "not run for 1 of 2",
        "diverged for 1 of 2",
        "the same",
    ]


def test_returns_have_a_mean_and_older_records_no_interval(
    tiny_returns: Suite, hand_made: Any, tmp_path: Path
) -> None:
    suite = tiny_returns.model_copy(
        update={"training_agents": (6, 500), "tasks": ("cart_pole",), "methods": ("persim",)}
    )
    worth = {0: 100.0, 3: 200.0}
    found = {
        cell: hand_made(suite, "quick", cell, mean=worth[cell.agent], std=1.0, n=5)
        for cell in suite.cells(suite.profile("quick"))
    }
    (curve,) = size_curves(summarise(suite, suite.profile("quick"), found, tmp_path))
    assert curve.points[6].value == 150.0
    assert math.isnan(curve.points[6].low)
    assert size_table([curve]).rows == (("PerSim", "150", "150"),)
    save_picture(
        tmp_path / "a.png", suite, summarise(suite, suite.profile("quick"), found, tmp_path)
    )


def test_it_is_said_for_which_agents_another_method_is_better_where_agents_are_fewest(
    sizes: Suite, hand_made: Any, tmp_path: Path
) -> None:
    (said,) = fewest_sentences(entries_of(sizes, made(sizes, hand_made, ERRORS), tmp_path))
    assert said == (
        "CartPole, random: with 6 training agents PerSim is at least as good as each of 2 other "
        "methods for 1 of 2 test agents; not for 10/0.85: 0.5, Vanilla CaDM 0.2."
    )
    near = {**ERRORS, ("persim", 6, 3): [0.1, 0.9], ("cadm", 6, 3): [0.2, 0.4]}
    (said,) = fewest_sentences(entries_of(sizes, made(sizes, hand_made, near), tmp_path))
    assert said.endswith("10/0.85: 0.5, Vanilla CaDM 0.3 (the intervals meet).")
    diverged = {**ERRORS, ("persim", 6, 0): [None]}
    (said,) = fewest_sentences(entries_of(sizes, made(sizes, hand_made, diverged), tmp_path))
    assert "for 0 of 2" in said
    alone = {key: values for key, values in ERRORS.items() if key[0] == "persim"}
    assert fewest_sentences(entries_of(sizes, made(sizes, hand_made, alone), tmp_path)) == []


def test_table_page_and_section_show_the_curves(
    sizes: Suite, hand_made: Any, tmp_path: Path
) -> None:
    records = made(sizes, hand_made, ERRORS)
    line = "| Vanilla CaDM | 0.632 [0.447, 0.775] | diverged for 1 of 2 |"
    text = markdown(sizes, "quick", records, tmp_path)
    assert line in text
    assert "| random | per agent (control), 6 agents |" in text
    assert "per agent (control), 500 agents" not in text  # left out by the profile
    write_results(tmp_path / "page.html", "quick", [(sizes, records)], tmp_path)
    text = (tmp_path / "page.html").read_text()
    assert "with 6 training agents PerSim" in text
    assert "training agents, one trajectory each" in text
    section = sizes_markdown(
        "Few agents", [(sizes, "quick", records), (sizes, "quick", {})], tmp_path, "figures/"
    )
    assert section.startswith("## Few agents\n")
    assert line in section
    assert section.count("(figures/tiny.png)") == 1
    assert "- `tiny`, `cart_pole`: 10 of 10 cells run" in section
    assert "- Error, CartPole, random: with 6 training agents" in section


def test_a_picture_has_a_panel_also_where_nothing_was_run(sizes: Suite, tmp_path: Path) -> None:
    save_picture(tmp_path / "none.png", sizes, entries_of(sizes, {}, tmp_path))
    assert (tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")


def test_a_curve_has_a_gap_where_nothing_is_known() -> None:
    some = {6: Dot("6", 1.0, 0.5, 3.0), 500: Dot("500", 2.0)}
    methods = {"some": some, "one": {12: Dot("12", 4.0)}, "alone": {6: Dot("6", 5.0, 4.0, 6.0)}}
    figure: Any = size_figure(methods, "error", log=True, constant=["alone"])
    assert [tuple(curve.x) for curve in figure.data] == [(6, 12, 500)] * 3
    assert [tuple(curve.y) for curve in figure.data] == [
        (1.0, None, 2.0),
        (None, 4.0, None),
        (5.0, 5.0, 5.0),
    ]
    assert tuple(figure.data[0].error_y.array) == (2.0, 0.0, 0.0)
    assert figure.data[2].line.dash == "dot"


def test_a_command_runs_some_numbers_of_training_agents(bench: Any) -> None:
    suite = Path("suites/tiny.toml")
    suite.write_text("training_agents = [6, 12, 500]\n" + suite.read_text())
    shown = bench("run", "tiny", "--training-agents", "500,6", "--dry-run", "--json")
    assert shown.code == 0, shown.err
    assert {cell["n_agents"] for cell in json.loads(shown.out)["cells"]} == {6, 500}
    refused = bench("run", "tiny", "--training-agents", "7", "--dry-run")
    assert refused.code == 2
    assert "has no number of training agents 7; valid: 6, 12, 500" in refused.err
    assert bench("run", "tiny", "--training-agents", "many", "--dry-run").code == 2
