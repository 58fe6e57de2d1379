"""Methods that a suite can name, and one that is added from outside."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from twinfold.benchmark.methods.registry import (
    get_method,
    method_names,
    method_of,
    register,
    registered,
)
from twinfold.benchmark.paper import paper_methods
from twinfold.benchmark.suite import Suite
from twinfold.errors import UsageError

SUITE = {
    "name": "mine",
    "kind": "return",
    "tasks": ["cart_pole"],
    "datasets": ["random"],
    "methods": ["leaning"],
    "profiles": {"quick": {"episodes": 3}, "paper": {"policy_episodes": 7}},
}


def test_every_method_says_what_it_is() -> None:
    for name in method_names():
        method = get_method(name)
        assert method.name == name
        assert method.title
        assert method.about
        assert method.abilities
    named = {n for table in ("table1", "table2", "table3") for n in paper_methods(table)}
    # The controls are ours; the others stand beside the paper's figures.
    assert {n for n in method_names() if get_method(n).role != "control"} <= named
    assert {"persim", "cadm", "cadm-pets", "pooled", "per-agent"} <= set(method_names("predict"))
    assert "true-env-mpc" not in method_names("predict")


def test_describing_methods_and_suites_needs_no_jax() -> None:
    code = (
        "import sys, twinfold.benchmark.methods.registry, twinfold.benchmark.suite\n"
        "import twinfold.benchmark.status, twinfold.benchmark.statistics\n"
        "assert not {'jax', 'pandas', 'torch', 'd3rlpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_method_is_added_and_gone(leaning: Any) -> None:
    with pytest.raises(UsageError, match="unknown method 'leaning'"):
        Suite.model_validate(SUITE)
    with registered(leaning):
        suite = Suite.model_validate(SUITE)
        with pytest.raises(UsageError, match="there is a method 'leaning' already"):
            register(leaning)
        assert [row.planner for row in suite.rows()] == [None]
    assert "leaning" not in method_names()
    with pytest.raises(UsageError, match="unknown method 'leaning'; valid: persim, cadm"):
        get_method("leaning")


def test_what_a_method_cannot_do_is_told(leaning: Any) -> None:
    with registered(leaning):
        with pytest.raises(UsageError, match="'leaning' predicts nothing; kind 'prediction' takes"):
            Suite.model_validate({**SUITE, "kind": "prediction"})
        with pytest.raises(UsageError, match=r"unknown method in .planners. 'leaning'"):
            Suite.model_validate({**SUITE, "planners": {"leaning": ["paper"]}})


def test_a_stranger_is_told() -> None:
    with pytest.raises(UsageError, match="knows what a dict is"):
        method_of({})
