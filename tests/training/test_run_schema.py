"""Ids and time steps that no run has."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from twinfold.config import FitConfig
from twinfold.models.run_info import RunInfo
from twinfold.training.run_schema import FORMAT, VERSION, RunRecord, check_ids

RECORD = {
    "format": FORMAT,
    "version": VERSION,
    "sha256": "",
    "files": {
        name: {"bytes": 1, "sha256": "0" * 64}
        for name in ("model.safetensors", "agents.json", "config.toml")
    },
    "roles": {"agent": "n", "time": "t", "state": "s", "action": "a", "action_type": "discrete"},
    "time_step": 1,
    "config": {"rank": 3},
    "info": {"rank": 3},
}


@pytest.mark.parametrize("ids", [["a"], ["7", 7], [0, 1, -5], [0.5, 1.25], ["", "é"]])
def test_ids_are_texts_and_numbers(ids: list[Any]) -> None:
    assert check_ids(ids) == tuple(ids)
    assert [*map(type, check_ids(ids))] == [*map(type, ids)]


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        *((ids, "must be a list of agents' ids") for ids in ([], {}, {"a": 1}, "a", 5, None)),
        ([True, 2], "True is no id"),
        ([1, None], "None is no id"),
        ([["a"]], r"\['a'\] is no id"),
        (["a", "b", "a"], "agent 'a' is in it twice"),
        ([1, 2, 1.0], "agent 1.0 is in it twice"),
        (["x" * 5000] * 2, r"'x{1,80}\.\.\. is in it twice"),
    ],
)
def test_what_is_no_list_of_ids_is_named(ids: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        check_ids(ids)


@pytest.mark.parametrize(
    ("stored", "step"),
    [(1, 1.0), (0.25, 0.25), ({"timedelta": "0 days 01:30:00"}, pd.Timedelta("90min"))],
)
def test_a_record_is_read(stored: Any, step: Any) -> None:
    record = RunRecord.model_validate(RECORD | {"time_step": stored})
    assert record.time_step == step
    assert type(record.time_step) is type(step)
    assert (record.config, record.info) == (FitConfig(rank=3), RunInfo(rank=3))
    assert record.roles.state == ("s",)


@pytest.mark.parametrize(
    "changes",
    [
        *({"time_step": step} for step in (0, -1, True, "1", None, [1], {}, {"timedelta": 1})),
        *({"time_step": {"timedelta": step}} for step in ("NaT", "-1h", "soon")),
        {"config": []},
        {"info": 3},
        {"version": "8"},
        {"more": 1},
        {"files": {}},
        {"files": RECORD["files"] | {"model.safetensors": {"bytes": -1, "sha256": "0" * 64}}},  # type: ignore[operator]
        {"files": RECORD["files"] | {"../x": {"bytes": 1, "sha256": "0" * 64}}},  # type: ignore[operator]
    ],
)
def test_a_record_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunRecord.model_validate(RECORD | changes)
