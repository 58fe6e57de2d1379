"""The defaults are the documented ones, by case; what is out of range is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from twinfold.baselines import AugmentationSettings, OfflineSettings, offline_settings
from twinfold.errors import UsageError


def test_continuous_actions_take_half_the_steps_and_one_agent_a_quarter_of_the_others() -> None:
    steps = {
        (kind, alone): offline_settings(kind, one_agent=alone).steps
        for kind in ("discrete", "continuous")
        for alone in (False, True)
    }
    assert steps == {
        ("discrete", False): 20_000,
        ("discrete", True): 5_000,
        ("continuous", False): 10_000,
        ("continuous", True): 10_000,
    }
    assert offline_settings("discrete") == OfflineSettings()


def test_settings_change_what_they_name_and_keep_the_rest() -> None:
    base = offline_settings("continuous")
    found = OfflineSettings.parse({"steps": 7}, base)
    assert found == base.model_copy(update={"steps": 7})
    assert OfflineSettings.parse({}) == OfflineSettings()
    with pytest.raises(ValidationError):
        found.steps = 8  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 1.5}, "batch"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"hidden": []}, "hidden"),
        ({"discount": 1.0}, "discount"),
        ({"bcq_threshold": 0.0}, "bcq_threshold"),
        ({"temperature": 1.0}, "temperature"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        OfflineSettings.parse(values)


def test_a_wrong_actor_is_named() -> None:
    with pytest.raises(ValidationError, match="actor"):
        AugmentationSettings(actor="oracle")  # pyright: ignore[reportArgumentType]
