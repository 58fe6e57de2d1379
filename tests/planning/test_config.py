"""Settings of planning: checks, changes, what each planner has, records of before."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from twinfold.planning import PlanConfig, plan_config
from twinfold.planning.config import (
    PLANNERS,
    ICEMSettings,
    ObjectiveSettings,
    Settings,
    problems,
    recorded_settings,
    setting_fields,
)


@pytest.mark.parametrize(
    "caution", [{"disagreement": 1.0}, {"behaviour": 0.1}, {"out_of_range": "penalise"}]
)
def test_where_the_data_lies_is_asked_of_a_run_only(caution: dict) -> None:
    config = PlanConfig(risk=0.5, **caution)
    assert config.objective.needs_data
    true = config.without_data()
    assert not true.objective.needs_data
    assert true == PlanConfig()


def test_changes_override_and_none_does_not() -> None:
    config = plan_config("cart_pole", "discrete", horizon=7, candidates=None, risk=0.5)
    before = plan_config("cart_pole", "discrete")
    assert config == before.replace(horizon=7, risk=0.5)
    assert config.search.candidates == before.search.candidates
    assert plan_config("something else", "continuous").search.planner == "icem"
    assert PlanConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    "wrong", [{"horizon": 0}, {"discount": 1.5}, {"planner": "magic"}, {"colour": 1}]
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        plan_config("cart_pole", "discrete", **wrong)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 1e12, 2**63])
@pytest.mark.parametrize("kind", [*PLANNERS.values(), ObjectiveSettings])
def test_every_number_has_limits(kind: type[Settings], value: float) -> None:
    for name, field in kind.model_fields.items():
        if field.annotation in (int, float):
            with pytest.raises(ValidationError, match=name):
                kind(**{name: value})


def test_the_candidates_fit_in_memory() -> None:
    assert PlanConfig(candidates=1_000_000, horizon=100).search.horizon == 100
    with pytest.raises(ValidationError) as caught:
        PlanConfig(candidates=1_000_000, horizon=101)
    assert problems(caught.value) == {
        "horizon": "cannot be 101: 1000000 candidates of that length have more than 100000000 "
        "steps in all"
    }


def test_a_planner_has_its_own_settings() -> None:
    icem = PlanConfig(planner="icem", decay=0.5, rounds=3, risk=1.0)
    assert isinstance(icem.search, ICEMSettings)
    assert icem.model_dump()["decay"] == 0.5
    with pytest.raises(ValidationError) as caught:
        PlanConfig(planner="sticky", decay=0.5)
    assert problems(caught.value)["decay"].startswith(
        "is no setting of planner 'sticky'; valid: planner, candidates, horizon, max_repeat"
    )
    # What two planners share stays when the planner changes; the rest is the new one's default.
    cem = icem.replace(planner="cem")
    assert cem == PlanConfig(planner="cem", rounds=3, risk=1.0)
    assert all(field.description for field in setting_fields().values())


def test_older_records_are_read() -> None:
    """They hold the settings of all planners, and options that are no more."""
    old = {
        "planner": "sticky", "candidates": 100, "horizon": 15, "rounds": 4, "cvar": 1.0,
        "support_cost": 0.0, "decay": 0.8, "terminal_value": "grid", "risk": 0.5,
    }  # fmt: skip
    config = PlanConfig(candidates=100, horizon=15, terminal_value="grid", risk=0.5)
    assert PlanConfig(**recorded_settings(old)) == config
    with pytest.raises(ValidationError, match="cvar"):
        PlanConfig(**recorded_settings(old | {"cvar": 0.4}))


def test_settings_load_without_jax() -> None:
    code = "import sys; from twinfold.planning import plan_config; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
