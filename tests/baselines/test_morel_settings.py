"""Settings of MOReL: what is published of them, and what cannot be."""

from __future__ import annotations

import pytest

from twinfold import UsageError
from twinfold.baselines.morel_settings import MOReLSettings


def test_what_is_published_is_the_default_but_for_the_sizes() -> None:
    settings = MOReLSettings()
    assert (settings.members, settings.batch, settings.learning_rate) == (4, 256, 1e-3)
    assert settings.threshold == 3.0
    assert settings.start_share == 0.0


def test_settings_of_the_policy_are_a_table_of_their_own() -> None:
    found = MOReLSettings.parse({"members": 3, "policy": {"steps": 7}})
    assert (found.members, found.policy.steps, found.policy.discount) == (3, 7, 0.99)
    assert MOReLSettings.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"members": 1}, "'members' cannot be 1"),
        ({"depth": 3}, "unknown setting 'depth'; valid: hidden, members"),
        ({"threshold": float("nan")}, "'threshold' cannot be nan"),
        ({"start_share": 1.5}, "'start_share' cannot be 1.5"),
        ({"policy": {"steps": 0}}, "steps.* cannot be 0"),
        ({"policy": {"depth": 0}}, "unknown setting .*depth"),
    ],
)
def test_what_cannot_be_is_told(values: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        MOReLSettings.parse(values)
