"""Settings from TOML and flags: errors name the setting, what is accepted means what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from twinfold.config import FitConfig
from twinfold.errors import UsageError


def test_defaults_are_a_config() -> None:
    assert FitConfig.parse({}) == FitConfig()
    assert FitConfig.parse(FitConfig().model_dump(mode="json")) == FitConfig()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", "both"),
        ("features", None),
        ("structure_share", 0.0),
        ("structure_share", 1.5),
        ("rank", -1),
        ("rank", "three"),
        ("rank", 513),
        ("members", 0),
        ("members", 2.5),
        ("members", None),
        ("state_net", ()),
        ("state_net", (128, 0)),
        ("state_net", 128),
        ("action_net", (-1,)),
        ("activation", "gelu"),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("batch_size", 0),
        ("steps", 0),
        ("steps", "many"),
        ("schedules", ()),
        ("schedules", (0.5, 1.5)),
        ("schedules", (0.0,)),
        ("shrinkages", (-0.1,)),
        ("shrinkages", (float("inf"),)),
        ("shrinkages", ()),
        ("validation_share", 1.1),
        ("validation_suffix", 1.0),
        ("validation_suffix", 0.0),
        ("validation_members", 0),
        ("band", 1.0),
        ("band", float("nan")),
        ("seed", -1),
        ("seed", 2**32),
        ("batch_size", 10**12),
        ("steps", 10**12),
        ("state_net", (8,) * 17),
        ("action_net", (8,) * 17),
        ("shrinkages", (1e300,)),
        ("weight_decay", float("inf")),
    ],
)
def test_an_impossible_value_is_named_with_its_setting(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        FitConfig.parse({name: value, "members" if name != "members" else "seed": 3})
    message = str(caught.value)
    assert message.startswith(f"setting {name!r} cannot be {value!r}: ")
    assert "\n" not in message  # one problem, one line


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e12, 2**63])
def test_every_number_has_limits(value: float) -> None:
    for name, default in FitConfig().model_dump().items():
        if isinstance(default, int | float | tuple) and not isinstance(default, bool):
            with pytest.raises(UsageError, match=name):
                FitConfig.parse({name: [value] if isinstance(default, tuple) else value})


def test_an_unknown_setting_is_named_and_the_valid_ones_listed() -> None:
    with pytest.raises(UsageError, match=r"unknown setting 'lerning_rate'; valid: .*learning_rate"):
        FitConfig.parse({"lerning_rate": 0.1})


def test_every_wrong_setting_is_reported() -> None:
    with pytest.raises(UsageError) as caught:
        FitConfig.parse({"steps": 0, "colour": "red", "band": 2})
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert any("'colour'" in line for line in lines)


def test_a_config_cannot_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FitConfig().steps = 3  # type: ignore[misc]


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('rank = 4\nstate_net = [32, 16]\nactivation = "tanh"\nsteps = 70\n')
    assert FitConfig.load(path) == FitConfig(
        rank=4, state_net=(32, 16), activation="tanh", steps=70
    )
    assert FitConfig.load(path, steps=90, seed=1) == FitConfig(
        rank=4, state_net=(32, 16), activation="tanh", steps=90, seed=1
    )
    assert FitConfig.load(str(path)).rank == 4
    path.write_text("")
    assert FitConfig.load(path) == FitConfig()


@pytest.mark.parametrize("content", [b"steps = ", b"= 3", b"\xff\xfe", b"steps = 1\nsteps = 2"])
def test_what_is_no_toml_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot read .*config\.toml"):
        FitConfig.load(path)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            FitConfig.load(path)


@pytest.mark.parametrize("text", ["steps = 0", "[fit]\nsteps = 3"])
def test_a_wrong_setting_in_a_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"setting '(steps|fit)'"):
        FitConfig.load(path)
