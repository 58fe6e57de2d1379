"""BCQ, CQL and MOReL as methods: settings by the case, what they are fitted on, what is missing."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from twinfold.benchmark.methods.method import Given
from twinfold.benchmark.methods.registry import get_method
from twinfold.errors import UsageError


def given(task: str, **own: Any) -> Given:
    return Given(task, "quick", 0, {}, own)


@pytest.mark.parametrize(
    ("name", "task", "steps"),
    [
        ("bcq-p", "cart_pole", 20_000),
        ("cql-a", "cart_pole", 5_000),
        ("bcq-p", "half_cheetah", 10_000),
        ("persim-cql-5", "half_cheetah", 10_000),
    ],
)
def test_the_budget_is_that_of_the_case(name: str, task: str, steps: int) -> None:
    method = get_method(name)
    recorded = method.recorded(method.settings(given(task)), 3)
    training = recorded.get("training", recorded)
    assert (training["steps"], recorded["seed"]) == (steps, 3)
    assert recorded == {**method.defaults(task), "seed": 3}


def test_how_trajectories_are_simulated_is_recorded() -> None:
    method = get_method("persim-bcq-5")
    assert (method.needs, method.per_agent) == (("persim",), True)
    own = {"steps": 7, "simulated": {"actor": "random"}}
    recorded = method.recorded(method.settings(given("cart_pole", **own)), 0)
    assert recorded["training"]["steps"] == 7
    assert recorded["simulated"]["trajectories"] == 5
    assert recorded["simulated"]["actor"] == "random"
    assert "simulated" not in get_method("bcq-a").defaults("cart_pole")
    with pytest.raises(UsageError, match=r"\[baselines.persim-bcq-5.simulated\]: .*'actor'"):
        method.settings(given("cart_pole", simulated={"actor": "nobody"}))


@pytest.mark.parametrize("simulated", [5, True, 0.5, "random", "", [], [["actor", "random"]]])
def test_what_is_no_table_of_settings_of_trajectories_is_told(simulated: object) -> None:
    """A number or a list in place of the table; an empty one was taken for "nothing said"."""
    with pytest.raises(UsageError, match=r"\[baselines.persim-cql-5.simulated\] is a table"):
        get_method("persim-cql-5").settings(given("cart_pole", simulated=simulated))


@pytest.mark.parametrize("name", ["bcq-a", "morel-p"])
def test_a_setting_that_does_not_exist_is_told(name: str) -> None:
    with pytest.raises(UsageError, match=rf"\[baselines.{name}\]: unknown setting 'depth'"):
        get_method(name).settings(given("cart_pole", depth=3))


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs d3rlpy.*pip install 'twinfold\[baselines\]'"):
        get_method("cql-p").check_installed()
