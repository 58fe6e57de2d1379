"""Roles: what is accepted, and what is said of the rest."""

from __future__ import annotations

import pytest

from twinfold.data import Roles
from twinfold.errors import UsageError

GOOD = {"agent": "id", "time": "t", "state": ["x"], "action": ["u"], "action_type": "continuous"}


def test_lists_and_single_names_become_tuples() -> None:
    roles = Roles.parse({**GOOD, "state": "x", "action": ["u", "v"], "reward": "r"})
    assert roles.state == ("x",)
    assert roles.columns == ("id", "t", "x", "u", "v", "r")
    assert Roles.parse(roles) is roles


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": []}, "state needs at least one"),
        ({"action": []}, "action needs at least one"),
        ({"action_type": ["discrete", "continuous"]}, "action_type has 2 kinds for 1 action"),
        ({"action_type": ["discrete", "other"]}, "'action_type' cannot be"),
        ({"action_type": "none"}, '"none" is for a panel without action columns'),
        ({"levels": ["a"]}, "level ['a'] has 1 values for 0 discrete"),
        ({"action_type": "discrete", "levels": ["a", "a"]}, "level ['a'] is given twice"),
        ({"action_type": "binary"}, "'action_type' cannot be 'binary'"),
        ({"done": "d"}, "unknown role 'done'; valid: agent, time"),
        ({"time": 3}, "'time' cannot be 3"),
        ({"angle": "u"}, "angle 'u' is not a state column; valid: x"),
        ({"angle": ["x", "x"]}, "angle 'x' is given twice"),
    ],
)  # fmt: skip
def test_malformed_roles_are_explained(change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as error:
        Roles.parse({**GOOD, **change})
    assert words in str(error.value)


def test_every_missing_role_has_its_line() -> None:
    with pytest.raises(UsageError) as error:
        Roles.parse({"agent": "id", "action": "a"})
    lines = str(error.value).splitlines()
    assert [line.split("'")[1] for line in lines] == ["time", "state", "action_type"]
