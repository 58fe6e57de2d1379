"""``--angle``: given as a flag or in a manifest, shown, and refused where it is no state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

FLAGS = [
    *("--agent", "ship", "--time", "t", "--state", "speed,heading,yaw"),
    *("--action", "rudder", "--action-type", "continuous"),
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "ships.csv"
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(size=(40, 4)), columns=["speed", "heading", "yaw", "rudder"])
    frame["yaw"] = 25.0 * np.arange(40) % 360
    frame.insert(0, "ship", "A")
    frame.insert(1, "t", range(40))
    frame.to_csv(path, index=False)
    return path


def test_angles_are_shown_and_degrees_warned_about(twinfold: Any, table: Path) -> None:
    done = twinfold("data", "validate", table, *FLAGS, "--angle", "heading")
    assert (done.code, done.err) == (0, "")
    done = twinfold("data", "validate", table, *FLAGS, "--angle", "heading,yaw")
    assert done.code == 0
    assert done.err.startswith("warning: column 'yaw' (angle) looks like degrees")
    assert len(done.err.splitlines()) == 1
    done = twinfold("data", "describe", table, *FLAGS, "--angle", "heading", "--angle", "yaw")
    assert done.out.count("state, angle") == 2
    done = twinfold("data", "describe", table, *FLAGS, "--angle", "heading", "--json")
    assert json.loads(done.out)["angle"] == ["heading"]
    assert "state, angle" not in twinfold("data", "describe", table, *FLAGS).out


@pytest.mark.parametrize("command", ["validate", "describe"])
@pytest.mark.parametrize(
    ("angle", "words"),
    [
        ("rudder", "angle 'rudder' is not a state column; valid: speed, heading, yaw"),
        ("roll", "angle 'roll' is not a state column; valid: speed, heading, yaw"),
        ("yaw,yaw", "angle 'yaw' is given twice"),
    ],
)
def test_angles_are_states(
    twinfold: Any, table: Path, command: str, angle: str, words: str
) -> None:
    done = twinfold("data", command, table, *FLAGS, "--angle", angle)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    roles = {
        **{"agent": "ship", "time": "t", "state": ["speed", "heading", "yaw"]},
        **{"action": ["rudder"], "action_type": "continuous", "angle": angle.split(",")},
    }
    manifest = {"format": "twinfold-panel", "version": 1, "roles": roles}
    table.with_suffix(".manifest.json").write_text(json.dumps(manifest))
    done = twinfold("data", command, table)
    assert (done.code, done.out) == (3, "")
    assert words in done.err


def test_an_angle_alone_is_not_enough(twinfold: Any, table: Path) -> None:
    done = twinfold("data", "validate", table, "--angle", "heading")
    assert done.code == 2
    assert "--agent, --time, --state missing" in done.err
