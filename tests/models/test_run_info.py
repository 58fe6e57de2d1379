"""Provenance as JSON, and back; numbers where numbers are read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from twinfold.models.run_info import RunInfo


def test_what_is_not_finite_is_null_and_a_loss_that_is_null_is_not_a_number() -> None:
    info = RunInfo(
        training_loss=(0.5, np.nan),
        validation={"rmse": np.inf, "trials": [{"mean": np.nan}]},
        behaviour_explained=np.nan,
    )
    again = RunInfo.model_validate(json.loads(json.dumps(info.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again.training_loss, [0.5, np.nan])
    assert again.validation == {"rmse": None, "trials": [{"mean": None}]}
    assert again.behaviour_explained is None


@pytest.mark.parametrize(
    "changes",
    [
        *({"rank": rank} for rank in (True, "3", 3.0, -1, 10**12)),
        *({"agents": count} for count in (-1, True, None)),
        {"features": "other"},
        {"linear": "other"},
        {"own": [[0, -1]]},
        {"own": [[0]]},
        {"validation": {"rmse": "small"}},
        {"validation": {"rmse_by_horizon": 3}},
        {"training_loss": ["low"]},
        {"seconds": "1"},
        {"colour": "red"},
        {"adapted": [{"fingerprint": "a"}]},
    ],
)
def test_a_value_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RunInfo.model_validate(changes)
