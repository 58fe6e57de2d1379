"""The controls: the same nets for all alike, and for every agent alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twinfold.benchmark.collect import collect
from twinfold.benchmark.methods.method import FitRequest, Given
from twinfold.benchmark.methods.registry import get_method
from twinfold.tasks import get_task


@pytest.fixture
def request_of() -> Any:
    task = get_task("cart_pole")
    dataset = collect(task, "random", 12, 0)

    def make(agent: int | None) -> FitRequest:
        return FitRequest(
            dataset=dataset, task=task, settings=None, seed=0, agent=agent, reserve=0, source={},
            out=Path(), other=lambda name: None, log=print, progress=None,
        )  # fmt: skip

    return make


def test_the_pooled_panel_has_every_row_and_one_agent(request_of: Any) -> None:
    request = request_of(None)
    panel = get_method("pooled").panel(request)  # pyright: ignore[reportAttributeAccessIssue]
    assert (panel.n_agents, panel.n_segments) == (1, request.dataset.n_segments)
    ours, theirs = panel.transitions(), request.dataset.transitions()
    np.testing.assert_array_equal(ours.state, theirs.state)
    np.testing.assert_array_equal(ours.next_state, theirs.next_state)
    assert set(ours.agent.tolist()) == {0}


def test_the_panel_of_an_agent_is_its_trajectory(request_of: Any) -> None:
    request = request_of(3)
    panel = get_method("per-agent").panel(request)  # pyright: ignore[reportAttributeAccessIssue]
    assert panel.agent_ids == (3,)
    whole = request.dataset
    np.testing.assert_array_equal(panel.state, whole.state[whole.agent == 3])


def test_one_agent_tries_one_shrinkage_unless_the_suite_names_some() -> None:
    given = Given("cart_pole", "quick", 0, {}, {})
    for name in ("pooled", "per-agent"):
        assert get_method(name).settings(given).shrinkages == (0.001,)  # pyright: ignore
        named = Given("cart_pole", "quick", 0, {"shrinkages": [0.3]}, {"members": 2})
        config: Any = get_method(name).settings(named)
        assert (config.shrinkages, config.members) == ((0.3,), 2)
    assert len(get_method("persim").settings(given).shrinkages) == 4  # pyright: ignore


def test_the_controls_stand_beside_ours(bench: Any) -> None:
    path = Path("suites/tiny.toml")
    text = path.read_text().replace('["persim"]', '["persim", "pooled", "per-agent"]')
    path.write_text(text)
    done = bench("run", "tiny", "--task", "cart_pole")
    assert done.code == 0, done.err
    text = Path("results/tiny-quick.jsonl").read_text()
    records = [json.loads(line) for line in text.splitlines()]
    by_method: dict[str, list[dict]] = {}
    for record in records:
        by_method.setdefault(record["method"], []).append(record)
        assert record["figures"]["rmse_mean"] > 0
        assert len(record["figures"]["values"]) == 3
        assert record["settings"]["data"]["agents"] == 12
    assert {name: len(own) for name, own in by_method.items()} == {
        "persim": 2, "pooled": 2, "per-agent": 2
    }  # fmt: skip
    prints = {name: {r["fitted"]["fingerprint"] for r in own} for name, own in by_method.items()}
    assert [len(prints[name]) for name in ("persim", "pooled", "per-agent")] == [1, 1, 2]
    assert len(set.union(*prints.values())) == 4
    assert len(list(Path("runs/bench").iterdir())) == 4
    assert "| random | pooled (control) | " in bench("table", "tiny").out
    done = bench("page", "tiny")
    assert done.code == 0, done.err
    page = Path("results/quick.html").read_text()
    assert "Probability that PerSim does better" in page
    # Planning finds the same fits, and the agent that a pooled one calls everybody.
    returns = Path("suites/tiny-returns.toml")
    returns.write_text(returns.read_text().replace('"persim", ', '"pooled", "per-agent", '))
    done = bench("run", "tiny-returns", "--task", "cart_pole", "--method", "pooled,per-agent")
    assert done.code == 0, done.err
    assert done.err.count("the fit is there") == 3
