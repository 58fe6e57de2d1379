"""The comparison on public panels, tried on tables made up here: nothing is fetched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("frame", "data", "course", "controls", "bands", "effects", "page", "main", "further")


@pytest.fixture(scope="module")
def lib(load_benchmarks: Any) -> Any:
    """The modules ``panel_*`` of benchmarks/, as attributes."""
    return load_benchmarks({name: f"panel_{name}" for name in MODULES})


def table(agents: int = 20, rows: int = 12, own: float = 1.0, noise: float = 0.0) -> pd.DataFrame:
    """s' = .6 s + .5 a + level of the agent + noise."""
    rng = np.random.default_rng(0)
    found = []
    for agent in range(agents):
        level, state = own * rng.normal(), rng.normal()
        for time in range(rows):
            action = rng.normal()
            found.append((agent, time, state, action, level))
            state = 0.6 * state + 0.5 * action + level + noise * rng.normal()
    frame = pd.DataFrame(found, columns=["who", "when", "x", "push", "level"])
    frame.loc[frame["when"] == rows - 1, "push"] = np.nan
    return frame


def made_up(lib: Any, frame: pd.DataFrame, **changes: Any) -> Any:
    columns: dict[str, Any] = {"state": ("x",), "action": ("push",)} | changes
    return lib.frame.Panel("made up", "", "", lambda: frame, "who", "when", **columns)


def errors(lib: Any, panel: Any, seed: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    train, known, new = lib.data.cut(panel, seed)
    controls = lib.controls.fit_controls(train, panel)
    return tuple(
        {
            name: lib.controls.panel_error(windows, predict(windows), train, panel)
            for name, predict in controls.items()
        }
        for windows in (known, new)
    )  # pyright: ignore[reportReturnType]


def test_ends_and_whole_agents_are_cut_off(lib: Any) -> None:
    frame = table()
    panel = made_up(lib, frame)
    train, known, new = lib.data.cut(panel, 3)
    assert len(new) == 4
    assert len(known) == 16
    assert set(train["who"]) == {window.agent for window in known}
    assert train.groupby("who").tail(1)["push"].isna().all()
    assert train["push"].isna().sum() == 16
    for window in (*known, *new):
        own = frame[frame["who"] == window.agent]
        assert len(window.truth) == 4
        states = np.concatenate([window.prefix, window.truth])[:, 0]
        np.testing.assert_array_equal(states, own["x"])
        actions = np.concatenate([window.prefix_action, window.action])[:, 0]
        np.testing.assert_array_equal(actions, own["push"][:-1])
    others = lib.data.cut(panel, 4)[2]
    assert {window.agent for window in others} != {window.agent for window in new}


def test_an_input_of_the_outcomes_row_is_moved_up(lib: Any) -> None:
    frame = pd.DataFrame({"who": [1, 1, 1, 2, 2], "price": [1.0, 2.0, 3.0, 4.0, 5.0]})
    moved = lib.frame.ahead(frame, "who", ["price"])
    np.testing.assert_array_equal(moved["price"], [2.0, 3.0, np.nan, 5.0, np.nan])
    assert frame["price"].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_the_longest_stretch_without_a_blank_is_kept(lib: Any) -> None:
    frame = table(agents=2, rows=9)
    frame.loc[2, "x"] = np.nan  # agent 0: rows 3 to 8 are left
    frame.loc[9 + 4, "push"] = np.nan  # agent 1: rows 0 to 4 are, the last without an action
    kept = made_up(lib, frame).frame()
    assert kept[kept["who"] == 0]["when"].tolist() == [3, 4, 5, 6, 7, 8]
    assert kept[kept["who"] == 1]["when"].tolist() == [0, 1, 2, 3, 4]
    assert kept.groupby("who").tail(1)["push"].isna().all()
    assert kept["push"].isna().sum() == 2


def test_a_linear_world_is_learned_exactly(lib: Any) -> None:
    known, new = errors(lib, made_up(lib, table(own=0.0)))
    for found in (known, new):
        assert found["pooled ARX"] < 0.02
        assert found["memory ridge"] < 0.02
        assert found["persistence"] > 0.5


def test_own_levels_need_own_deviations_or_static_columns(lib: Any) -> None:
    frame = table(noise=0.05)
    for found in errors(lib, made_up(lib, frame)):
        assert found["mixed ARX"] < 0.5 * found["pooled ARX"]
    for found in errors(lib, made_up(lib, frame, static=("level",))):
        assert found["pooled ARX"] < 0.15 * found["persistence"]


def test_deviations_are_left_out_where_agents_are_alike(lib: Any) -> None:
    known, _ = errors(lib, made_up(lib, table(own=0.0, noise=1.0)))
    assert known["mixed ARX"] == pytest.approx(known["pooled ARX"], rel=0.05)


def test_controls_stand_constant_columns_and_short_agents(lib: Any) -> None:
    frame = table(agents=9, rows=3)
    frame = frame.assign(push=frame["push"].where(frame["push"].isna(), 1.0), flat=2.0)
    frame = pd.concat([frame, table(agents=1, rows=2).assign(who=77, flat=2.0)])
    for kind in ("continuous", "discrete"):
        panel = made_up(lib, frame.assign(push=frame["push"].round()), state=("x", "flat"),
                        action_type=kind)  # fmt: skip
        train, known, new = lib.data.cut(panel, 0)
        assert (train["who"] == 77).sum() == 2
        for predict in lib.controls.fit_controls(train, panel).values():
            for window, values in zip(known + new, predict(known + new), strict=True):
                assert values.shape == window.truth.shape
                assert np.isfinite(values).all()


def test_a_value_counts_at_most_ten_deviations(lib: Any) -> None:
    far = np.array([[1e6], [0.0], [np.nan]])
    assert lib.course.rms_error(far, np.zeros((3, 1))) == pytest.approx(np.sqrt(200 / 3))


def test_a_controls_own_band_holds_what_it_promises(lib: Any) -> None:
    panel = made_up(lib, table(agents=150, rows=12, own=0.0, noise=1.0))
    train, known, new = lib.data.cut(panel, 0)
    predict = lib.controls.fit_controls(train, panel, ("pooled ARX",))["pooled ARX"]
    for windows, is_known in ((known, True), (new, False)):
        band = lib.bands.control_band("pooled ARX", predict, train, panel, windows, known=is_known)
        assert 0.75 <= band["coverage"] <= 1
        assert 1 < band["width"] < 8


def test_the_domain_model_of_an_infusion_is_linear_and_levels_off(lib: Any) -> None:
    level = lib.effects.concentration
    times = np.array([0.0, 10.0])
    once = level(times, np.array([70.0, 0.0]), 15.0, 40.0, 55.0)
    twice = level(times, np.array([140.0, 0.0]), 15.0, 40.0, 55.0)
    assert twice == pytest.approx(2 * once)
    steady = level(np.array([0.0]), np.array([70.0]), 1e5, 40.0, 55.0)
    assert steady == pytest.approx(70.0 / 2.6, rel=1e-6)  # rate over clearance


def test_the_page_says_where_twinfold_loses(lib: Any) -> None:
    persistence = [1.0, 1.2, 0.8, 1.0]

    def control(kind: str) -> dict[str, Any]:
        names = ("drift", "own trend", "mixed ARX", "memory ridge", "boosting")
        return {
            "errors": {"persistence": 1.0, **dict.fromkeys(names, 0.9), "pooled ARX": 0.5},
            "best": "pooled ARX",
            "agents": {"persistence": persistence, "best": [0.5] * 4},
            "band": {"coverage": 0.9, "width": 2.0},
        }

    def ours(error: float, verdict: str) -> dict[str, Any]:
        return {
            "error": error,
            "agents": [error] * 4,
            "band": {"coverage": 1.0, "values": 1.0, "width": 3.0},
            "validation": {"verdict": verdict},
        }

    base = {"panel": "dietox", "seed": 0}
    records = [
        {**base, "model": "controls", "agents": 72, "train_rows": 9, "effects": {},
         "known": control("known"), "new": control("new")},
        {**base, "model": "twinfold", "settings": {}, "effects": {},
         "validation": {"verdict": None, "refused": "nobody is reserved"},
         "known": ours(1.5, "usable for prediction"), "new": ours(0.5, "not usable")},
        {**base, "model": "twinfold", "settings": {"steps": 1}, "effects": {},
         "known": ours(9.0, "not usable"), "new": ours(9.0, "not usable")},
        {**base, "model": "twinfold", "settings": {"history": "auto"}, "effects": {},
         "known": ours(0.25, "not usable"), "new": ours(2.5, "not usable")},
    ]  # fmt: skip
    text = lib.page.page(records)
    assert "worse than no change by more than 2 % for known agents: dietox (1.50)" in text
    assert "worse than no change by more than 2 % for new agents: nowhere" in text
    assert "worse than the best control by more than 5 % for known agents: dietox (3.00)" in text
    assert "Of 2 clear cases, the verdict agrees with the truth in 0 and cannot tell in 0" in text
    assert "| dietox | not usable | usable for prediction | usable | not usable | refused |" in text
    assert "| dietox | 100 % | 90 % | 1.50 |" in text
    assert "| twinfold with `--history auto` | 0.25 | 2.50 |" in text
    assert "--history auto" not in lib.page.page(records[:-1])


def test_every_panel_is_listed_once_and_says_what_was_done_to_it(lib: Any) -> None:
    panels = [*lib.main.MAIN, *lib.further.FURTHER]
    assert len({panel.name for panel in panels}) == len(panels) == len(lib.data.PANELS)
    assert len(lib.main.MAIN) >= 8
    assert len(lib.further.FURTHER) >= 8
    for panel in panels:
        assert panel.about.endswith(".")
        assert len(set(panel.columns)) == len(panel.columns)


def test_the_page_is_made_from_the_records(tmp_path: Path) -> None:
    made = tmp_path / "panels.md"
    script = ROOT / "benchmarks" / "panels.py"
    subprocess.run([sys.executable, str(script), "table", "--out", str(made)], check=True)
    shown = (ROOT / "docs" / "panels.md").read_text(encoding="utf-8")
    assert shown == made.read_text(encoding="utf-8")
