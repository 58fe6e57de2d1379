"""The page of a validation: everything of the record, nothing that is not, and no markup of users.

The record is made by hand, so that the page is known to need nothing else.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from twinfold.errors import UsageError
from twinfold.report import validation_figures as figures
from twinfold.report.validation_page import validation_page
from twinfold.uncertainty.holdout_statistics import STATISTICS

EVIL = "<script>alert(1)</script>"


def check(name: str, status: str = "pass", **more: Any) -> dict[str, Any]:
    found = {"name": name, "status": status, "figure": f"figure of {name}", "expected": "much"}
    found |= {"advice": f"advice on {name}", "planning": False, "agents": [], "values": {}}
    return found | more


def record(ids: tuple[Any, ...] = ("a", "b", "c"), columns: tuple[str, ...] = ("x", "y")) -> Any:
    steps, width = 4, len(columns)
    rng = np.random.default_rng(0)

    def path() -> list[list[float]]:
        return rng.normal(size=(steps, width)).tolist()

    names = ("model", "persistence", "own mean", "drift", "average agent", "another agent")
    names += ("pooled linear model", "own linear model")
    ratio = {"median_ratio": 0.5, "overall_ratio": 0.625, "better": 3, "agents": 3}
    return {
        "format": "twinfold-validation",
        "version": 2,
        "twinfold": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "run": "runs/tanks",
        "data": "week.csv",
        "verdict": "usable for prediction",
        "reasons": [
            {"check": "against other actions", "status": "fail", "advice": "It does not react."}
        ],
        "would_do": {},
        "controls": {name: dict(ratio) for name in names[1:]},
        "best_control": "drift",
        "criteria": {"level": 0.01, "fewest": 5},
        "fresh": True,
        "nominal": 0.9,
        "agents": len(ids),
        "trained_agents": 2,
        "checks": [
            check(
                "against persistence",
                values={"median_ratio": 0.125, "better": 3, "agents": 3, "p": 0.1},
            ),
            check("against other actions", "fail", planning=True),
            check("break-even horizon", values={"step": 3, "reach": 4, "control": "drift"}),
            check("reference shift: residual autocorrelation", "unknown"),
            check(
                "band",
                values={"coverage": 0.875, "nominal": 0.9, "agents": 3, "horizon": 4, "p": 0.5},
            ),
            check("agents that fit badly", "warn", agents=[ids[0]]),
            check("mistaken identity", "fail", agents=[ids[1]], values={"looks_like": [ids[2]]}),
        ],
        "pictures": {
            "by_horizon": {name: rng.uniform(0.1, 1, steps).tolist() for name in names},
            "calibration": {
                "nominal": [0.1, 0.5, 0.9],
                "observed": [0.2, 0.4, 0.875],
                "horizon": 4,
            },
            "support": {
                "unsupported": [0.0, 0.1, 0.2, 0.5],
                "borrowed": [0.2, 0.3, 0.3, 0.1],
                "own data": [0.8, 0.6, 0.5, 0.4],
            },
            "worst": [
                {
                    "agent": ids[0],
                    "score": 3.5,
                    "columns": list(columns),
                    "truth": path(),
                    "predicted": path(),
                    "lower": path(),
                    "upper": [[None] * width, *path()[1:]],
                }
            ],
            "statistics": {
                name: {"agents": [0.1, 0.2, None], "reference": [0.0, 0.3]} for name in STATISTICS
            },
            "ids": list(ids),
            "factor_map": {
                "ids": list(ids),
                "x": [0.0, 1.0, 2.0],
                "y": [1.0, 0.0, 2.0],
                "trained": [True, True, False],
                "transitions": [7, 8, 9],
            },
        },
    }


class Reader(HTMLParser):
    """Elements, text outside of scripts, and the figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.text, self.scripts = "", []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script":
            self.scripts[-1] += data
        else:
            self.text += " ".join(data.split()) + " "

    def figures(self) -> list[dict[str, Any]]:
        return [json.loads(script) for script in self.scripts if script.startswith("{")]


def test_verdict_and_main_figures_come_first() -> None:
    text = Reader(validation_page(record())).text
    first = text.split("Checks", 1)[0]
    assert "Validation: usable for prediction" in first
    assert "2 checks failed: against other actions, mistaken identity." in first
    assert "1 warning: see below" in first
    assert "1 check could not be made" in first
    assert "Why not better: It does not react." in first
    assert "not to choose actions" in first
    facts = text.split("mixed into every prediction.", 1)[1].split("Error by steps ahead", 1)[0]
    for value in (
        "0.12 ×",
        "88%",
        "90% promised",
        "agents that fit badly 1 a",
        "step 3",
        "drift does as well",
    ):
        assert value in facts, value


def test_what_is_not_promised_is_not_called_so_and_few_agents_make_no_headline() -> None:
    whole = record()
    (band,) = (item for item in whole["checks"] if item["name"] == "band")
    known = {**band["values"], "coverage": 0.25, "agents": 40, "promised": False}
    whole["checks"].append(check("band of known agents", "warn", values=known))
    first = Reader(validation_page(whole)).text.split("Error by steps ahead", 1)[0]
    assert "25% 90% meant, not promised: known; 40 agents, 4 steps" in " ".join(first.split())
    band["values"] = {**band["values"], "agents": 5}
    first = Reader(validation_page(whole)).text.split("Error by steps ahead", 1)[0]
    assert "88% 90% promised; 5 agents, 4 steps" in " ".join(first.split())


def test_every_check_is_in_the_table_failed_ones_first() -> None:
    whole = record()
    page = validation_page(whole)
    table = page.split("<table>", 2)[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row"[^>]*>([^<]*)</th><td class="(\w+)">(\w+)</td>', table)
    assert len(rows) == len(whole["checks"])
    assert [status for _, status, _ in rows] == ["fail"] * 2 + ["warn", "unknown"] + ["pass"] * 3
    assert all(style == status for _, style, status in rows)
    text = Reader(page).text
    for one in whole["checks"]:
        assert one["figure"] in text
        assert (one["advice"] in text) == (one["status"] != "pass")
    assert "b (fits c)" in text


def test_pictures_are_drawn_from_the_record() -> None:
    whole = record()
    drawn = Reader(validation_page(whole)).figures()
    assert len(drawn) == 6
    errors, calibration, worst, support, plane, statistics = drawn
    by_name = {trace["name"]: trace for trace in errors["data"]}
    assert set(by_name) == {
        "the agent's simulator",
        "no change",
        "own mean",
        "average agent",
        "another agent",
        "drift",  # the best of them is always there
        "pooled linear model",
        "own linear model",
    }
    assert {trace["name"] for trace in calibration["data"]} == {"as promised", "observed"}
    assert [trace["name"] for trace in support["data"]] == ["own data", "borrowed", "unsupported"]
    assert {trace.get("name") for trace in worst["data"]} == {"band", "predicted", "true"}
    names = {trace["name"]: trace["text"] for trace in plane["data"] if "text" in trace}
    assert names["reserved or added later"] == ["<b>c</b><br>9 transitions"]
    assert len(names["the nets were trained on"]) == 2
    assert len(statistics["data"]) == 2 * len(STATISTICS)


def test_ids_and_columns_are_never_markup() -> None:
    evil = record((EVIL, f"{EVIL}2", f"</script>{EVIL}"), (EVIL, "<b>y</b>"))
    evil["verdict"], evil["run"], evil["data"] = EVIL, EVIL, EVIL
    evil["reasons"], evil["would_do"] = [{"advice": EVIL}], {"text": EVIL}
    evil["best_control"] = EVIL
    evil["controls"][EVIL] = evil["controls"]["drift"]
    for one in evil["checks"]:
        for key in ("name", "figure", "expected", "advice"):
            one[key] += EVIL
    page = validation_page(evil).replace(get_plotlyjs(), "")
    plain = validation_page(record()).replace(get_plotlyjs(), "")
    assert "alert(1)" in page
    assert not re.search(r"<script>alert", page)
    reader = Reader(page)
    assert reader.elements.count("script") == Reader(plain).elements.count("script")
    assert not any(script.startswith("alert") for script in reader.scripts)
    for figure in reader.figures():  # Plotly reads markup in every label
        for label in labels(figure):
            assert "<script" not in label
            assert "<b>y" not in label


def labels(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [label for item in value.values() for label in labels(item)]
    if isinstance(value, list):
        return [label for item in value for label in labels(item)]
    return [value] if isinstance(value, str) else []


def test_data_that_the_run_has_had_is_said_to_be_no_test_of_the_band() -> None:
    seen = record() | {"fresh": False, "verdict": "usable for planning within support"}
    seen["reasons"] = []
    seen["checks"] = [
        check("against persistence", values={"median_ratio": 0.5, "better": 3, "agents": 3}),
        check("band", values={"factor": 1.5, "nominal": 0.9, "agents": 20, "horizon": 4}),
        check("agents whose own data does not fit"),
        check("break-even horizon", values={"step": None, "reach": 4, "control": "persistence"}),
    ]
    reader = Reader(validation_page(seen))
    assert "None of 4 checks could prove it wrong." in reader.text
    assert "only fresh data tests it" in reader.text
    assert "Does the band hold?" not in reader.text
    assert "Reference shift" not in reader.text
    assert "better than the best simple control, no change" in reader.text
    assert "Why not better" not in reader.text
    assert len(reader.figures()) == 4


def test_a_record_without_reserved_agents_has_a_page() -> None:
    bare = record()
    bare["pictures"]["calibration"] = None
    for row in bare["pictures"]["statistics"].values():
        row["reference"] = []
    bare["checks"] = [check("band", "unknown", figure="nothing to compare with")]
    text = Reader(validation_page(bare)).text
    assert "no promise" in text
    assert "nothing to compare with" in text


def test_what_cannot_be_told_says_what_would_do() -> None:
    open_ = record() | {"verdict": "cannot tell", "would_do": {"agents": 9, "text": "About 9."}}
    open_["checks"] = [check("against persistence", "unknown")]
    text = Reader(validation_page(open_)).text
    assert "Validation: cannot tell" in text
    assert "too little that it is right" in text
    assert "Why not better: It does not react. About 9." in text
    assert "1 could not be made" in text


def test_every_control_is_in_a_table_and_the_best_is_named() -> None:
    whole = record()
    text = Reader(validation_page(whole)).text
    part = text.split("Beside what is simpler", 2)[2]
    for name in whole["controls"]:
        assert name in part
    assert "drift (the best simple one) 0.5 0.62 3 of 3" in " ".join(part.split())


@pytest.mark.parametrize("change", [{"format": "twinfold-bench"}, {"version": 1}, {"format": None}])
def test_other_records_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no record of a validation"):
        validation_page(record() | change)


def test_many_columns_are_cut_to_those_that_leave_the_band_furthest() -> None:
    columns = tuple(f"s{d}" for d in range(9))
    whole = record(columns=columns)
    (row,) = whole["pictures"]["worst"]
    zero = np.zeros((4, 9))
    row |= {"predicted": zero.tolist(), "lower": (zero - 1).tolist(), "upper": (zero + 1).tolist()}
    truth = zero.copy()
    truth[2, [8, 1, 5, 3]] = [9.0, 8.0, -7.0, 6.0]
    row["truth"] = truth.tolist()
    figure: Any = figures.worst_panels([row])
    titles = [note.text for note in figure.layout.annotations]
    assert titles[:4] == ["s1", "s3", "s5", "s8"]
    assert titles[4] == "a (3.5 ×)"
    assert "Those of 9 columns" in Reader(validation_page(whole)).text


def test_long_ids_that_begin_alike_keep_a_row_each() -> None:
    (row,) = record()["pictures"]["worst"]
    rows = []
    for end in "xyz":
        rows.append(copy.deepcopy(row) | {"agent": "patient-0123456789-" + end})
    figure: Any = figures.worst_panels(rows)
    assert sum(trace.name == "true" for trace in figure.data) == 3 * 2


def test_a_page_is_written_without_jax(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record()))
    code = (
        "import json, sys; from twinfold.report.validation_page import write_validation; "
        f"write_validation({str(tmp_path / 'page.html')!r}, json.load(open({str(path)!r}))); "
        "sys.exit('jax' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "page.html").stat().st_size > 1e6  # Plotly is in it
