"""Angles: wrapped into one turn, kept through files, and told from degrees."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from twinfold.benchmark.collect import task_roles
from twinfold.data import PanelDataset, Roles, check, describe, load_panel, save_panel
from twinfold.data.angles import wrap
from twinfold.tasks import get_task

ROLES = {
    "agent": "ship",
    "time": "t",
    "state": ["speed", "heading"],
    "action": ["rudder"],
    "action_type": "continuous",
}
TURNING = {**ROLES, "angle": ["heading"]}


def ships(heading: Any, unit: float = 1.0, n: int = 2) -> pd.DataFrame:
    """Ships that sail the same headings (in radians), written down in ``unit``."""
    rows = len(heading)
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "ship": np.repeat([f"S{i}" for i in range(n)], rows),
            "t": np.tile(np.arange(rows), n),
            "speed": rng.uniform(1, 2, n * rows),
            "heading": np.tile(np.asarray(heading) * unit, n),
            "rudder": rng.uniform(-1, 1, n * rows),
        }
    )


@given(st.floats(-1e6, 1e6))
def test_wrapped_angles_point_the_same_way_within_one_turn(x: float) -> None:
    y = float(wrap(x))
    assert -math.pi < y <= math.pi
    # An error of rounding in x is one in the angle.
    assert math.cos(y - x) == pytest.approx(1.0, abs=1e-9)
    assert float(wrap(y)) == y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("turns", range(-3, 4))
def test_the_borders_belong_to_one_side(dtype: Any, turns: int) -> None:
    border = np.array((2 * turns + 1) * np.pi, dtype)
    near = np.array([np.nextafter(border, dtype(-100)), border, np.nextafter(border, dtype(100))])
    wrapped = wrap(near)
    assert wrapped.dtype == dtype
    assert np.all(wrapped > -dtype(np.pi))
    assert np.all(wrapped <= dtype(np.pi))
    assert np.all(np.abs(wrapped) > 3.1)
    np.testing.assert_array_equal(wrap([np.pi, -np.pi]), [np.pi, np.pi])


def test_angles_in_range_are_unchanged_and_shapes_are_kept() -> None:
    x = np.random.default_rng(0).uniform(-np.pi, np.pi, (3, 4, 5))
    np.testing.assert_array_equal(wrap(x), x)
    assert wrap(7).shape == ()
    assert np.isnan(wrap([np.nan, 0.0])).tolist() == [True, False]


def test_the_role_survives_a_manifest(tmp_path: Path) -> None:
    data = PanelDataset.from_frame(ships(np.linspace(0, 1, 9)), TURNING)
    path = tmp_path / "ships.csv"
    save_panel(data, path)
    assert json.loads((tmp_path / "ships.manifest.json").read_text())["roles"]["angle"] == [
        "heading"
    ]
    loaded = load_panel(path)
    assert loaded.roles.angle == ("heading",)
    assert loaded.fingerprint() == data.fingerprint()
    assert describe(loaded)["angle"] == ["heading"]


def test_the_fingerprint_tells_angles_from_other_states_and_is_the_old_one_without() -> None:
    frame = ships(np.linspace(0, 1, 3))
    plain = PanelDataset.from_frame(frame, ROLES)
    assert plain.fingerprint() != PanelDataset.from_frame(frame, TURNING).fingerprint()
    # As the first version, which had no such role, computed it.
    old = "a7ac4241cea2e4112cd31285327cd18b149a61db3608b7882bae6417570dc709"
    assert plain.fingerprint() == old


def test_roles_written_before_there_were_angles_are_read() -> None:
    old = Roles.parse(ROLES).model_dump(mode="json")
    del old["angle"]
    assert Roles.parse(old) == Roles.parse({**ROLES, "angle": []})


def test_tasks_declare_their_angles() -> None:
    assert task_roles(get_task("half_cheetah")).angle == ("root_angle",)
    assert task_roles(get_task("cart_pole")).angle == ()


def turning(step: float, n: int = 60) -> Any:
    return step * np.arange(n)


@pytest.mark.parametrize(
    ("heading", "unit", "warned"),
    [
        (turning(0.2) % (2 * np.pi), 180 / np.pi, True),
        (wrap(turning(-0.3)), 180 / np.pi, True),
        (turning(0.2) % (2 * np.pi), 1.0, False),
        (wrap(turning(0.2)), 1.0, False),
        (turning(2.0), 1.0, False),  # radians that count 19 turns
        (turning(0.2), 180 / np.pi, False),  # no jump: might be fast radians
    ],
    ids=["0..360", "-180..180", "0..2pi", "-pi..pi", "counting", "counting degrees"],
)
def test_degrees_are_warned_about(heading: Any, unit: float, warned: bool) -> None:
    frame = ships(heading, unit)
    warnings = [line for line in check(frame, TURNING).warnings if "degrees" in line]
    assert len(warnings) == warned
    if warned:
        assert "column 'heading' (angle)" in warnings[0]
        assert "pi/180" in warnings[0]
    assert not check(frame, ROLES).warnings


def test_jumps_between_trajectories_are_no_wraps() -> None:
    frame = ships(turning(0.1))
    frame.loc[frame["ship"] == "S1", "heading"] += 350.0
    assert not check(frame, TURNING).warnings
