"""Settings that cannot be are named."""

from __future__ import annotations

from typing import Any

import pytest

from twinfold import UsageError
from twinfold.policy_learning import PolicyLearningSettings


def test_settings_are_parsed() -> None:
    found = PolicyLearningSettings.parse({"hidden": [8, 8], "steps": 10})
    assert (found.hidden, found.steps, found.discount) == ((8, 8), 10, 0.99)
    assert PolicyLearningSettings.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("name", "value"),
    [("discount", 1.0), ("clip", 0.0), ("hidden", []), ("steps", 0), ("hiden", [3])],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=name):
        PolicyLearningSettings.parse({name: value})
