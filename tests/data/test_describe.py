"""The description is right and ready for JSON; the picture is drawn for odd data too."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data import PanelDataset, Roles, describe
from twinfold.errors import UsageError
from twinfold.report.data_figure import coverage_figure


def test_numbers(table: pd.DataFrame, roles: dict[str, Any]) -> None:
    table.loc[3, "t"] = 9
    table["r"] = [1.0, 3.0, 0, 0, 0, 0, 2, 0]
    data = PanelDataset.from_frame(table, {**roles, "reward": "r"})
    found = json.loads(json.dumps(describe(data)))
    assert found["agents"] == 2
    assert found["transitions"] == 4
    assert found["segments"] == 3
    assert found["gaps"] == 1
    assert found["time_step"] == 1.0  # a number; of dates a text such as "30 min"
    assert found["left_out"] == {"agents": 1, "first": ["b"]}
    assert set(found["transitions_per_agent"].values()) == {2.0}
    assert found["action_levels"] == {"3": 1, "5": 3}
    assert found["action"]["valve"]["max"] == 5
    assert found["reward"]["mean"] == 1.5
    assert found["state"]["p/bar"] == {
        "min": 0.0, "max": 49.0,
        "mean": pytest.approx(np.mean([0, 1, 4, 9, 25, 36, 49])),
        "std": pytest.approx(np.std([0, 1, 4, 9, 25, 36, 49])),
    }  # fmt: skip
    assert len(found["warnings"]) == 2


@pytest.mark.parametrize("n_states", [1, 2, 3, 5])
@pytest.mark.parametrize("n_actions", [0, 1, 3])
def test_a_picture_of_anything(tmp_path: Path, n_states: int, n_actions: int) -> None:
    """0 actions stands for a discrete one; names may hold what matplotlib reads as a formula."""
    rng = np.random.default_rng(0)
    names = ["$x_{$", "temp \\ °C", "温度", "constant", "a" * 80][:n_states]
    actions = ["u$", "v%", "w"][: max(1, n_actions)]
    df = pd.DataFrame({"id": np.repeat([1, 2], 6), "t": np.tile(range(6), 2)})
    for name in names:
        df[name] = 1.0 if name == "constant" else rng.normal(size=12)
    for name in actions:
        df[name] = rng.integers(0, 3, 12) if n_actions == 0 else rng.normal(size=12)
    data = PanelDataset.from_frame(
        df,
        Roles(
            agent="id", time="t", state=tuple(names), action=tuple(actions),
            action_type="discrete" if n_actions == 0 else "continuous",
        ),
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coverage_figure(data, tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert [file.name for file in tmp_path.iterdir()] == ["c.png"]


def test_one_transition_as_pdf(tmp_path: Path) -> None:
    df = pd.DataFrame({"id": 1, "t": [0, 1], "x": 1.0, "y": 2.0, "u": [3, None]})
    roles = Roles(agent="id", time="t", state=("x", "y"), action=("u",), action_type="discrete")
    data = PanelDataset.from_frame(df, roles)
    coverage_figure(data, tmp_path / "c.pdf")
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UsageError, match=r"valid: \.png, \.pdf"):
        coverage_figure(data, tmp_path / "c.bmp")


def test_static_columns_are_summed_up_over_agents() -> None:
    frame = pd.DataFrame({"id": list("aaabb"), "t": [0, 1, 2, 0, 1], "x": range(5), "u": 1})
    frame["age"] = [30, 30, 30, 50, 50]
    frame["site"] = [1, 1, 1, None, None]
    roles = Roles(
        agent="id", time="t", state=("x",), action=("u",), action_type="discrete",
        static=("age", "site"),
    )  # fmt: skip
    found = describe(PanelDataset.from_frame(frame, roles))["static"]
    assert found["age"] == {"min": 30.0, "max": 50.0, "mean": 40.0, "std": 10.0}
    assert found["site"]["mean"] == 1.0
