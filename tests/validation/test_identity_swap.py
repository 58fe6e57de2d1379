"""Swapped agents are found, with whom they look like; agents that are alike are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twinfold.data.ids import match_ids
from twinfold.validation.identity_swap import Later, mistaken, same_agents


def test_swapped_agents_are_found_with_whom_they_look_like() -> None:
    rng = np.random.default_rng(0)
    energy = rng.uniform(50, 500, (6, 12))
    own = np.arange(6)
    energy[own, own] = 1.0
    names = [f"n{n}" for n in range(12)]
    assert mistaken(energy, own, names[:6], names, np.full(6, 100)).status == "pass"
    energy[[1, 4]] = energy[[4, 1]]
    energy[4, 4] *= 2
    check = mistaken(energy, own, names[:6], names, np.full(6, 100))
    assert check.status == "fail"
    assert set(check.agents) == {"n1", "n4"}
    assert dict(zip(check.agents, check.values["looks_like"], strict=True)) == {
        "n1": "n4",
        "n4": "n1",
    }
    assert check.values["ratio"] == sorted(check.values["ratio"], reverse=True)


def alike(n_agents: int, own: float = 2.0, other: float = 3.0) -> Any:
    """Agents whose data is explained a little better by their own simulator than by any other."""
    energy = np.full((n_agents, n_agents), other)
    np.fill_diagonal(energy, own)
    return energy, np.arange(n_agents), [f"n{n}" for n in range(n_agents)]


def test_two_agents_that_explain_each_other_better_are_told_by_less() -> None:
    energy, own, names = alike(12)
    values = np.full(12, 200)
    assert mistaken(energy, own, names, names, values).status == "pass"
    energy[1, 1], energy[1, 3] = 6.0, 2.0  # one way only: an odd agent
    assert mistaken(energy, own, names, names, values).status == "pass"
    energy[1] = 6.0, *[6.0] * 11
    energy[1, 3] = 2.0
    energy[3] = [4.0] * 12
    energy[3, 1] = 2.0
    check = mistaken(energy, own, names, names, values)
    assert (check.status, check.agents) == ("fail", ("n1", "n3"))
    assert check.values["ratio"] == [3.0, 2.0]
    assert check.values["looks_like"] == ["n3", "n1"]
    assert check.values["by_chance"] == pytest.approx([1 / 121] * 2)
    assert "agent 'n1' fits the simulator of agent 'n3' 3 times better" in check.advice
    few = mistaken(energy, own, names, names, np.full(12, 8))
    assert few.status == "pass"  # a handful of residuals may do so by chance
    energy /= 10  # all within the noise
    assert mistaken(energy, own, names, names, values).status == "pass"


def test_a_swap_has_to_be_there_throughout_and_to_stand_out() -> None:
    energy, own, names = alike(12)
    energy[1], energy[3] = 6.0, 6.0
    energy[1, 3] = energy[3, 1] = 2.0
    values = np.full(12, 200)
    both = np.stack([energy, energy])
    assert mistaken(energy, own, names, names, values, both).status == "fail"
    early, *_ = alike(12)
    later = np.stack([early, 2 * energy - early])  # in the later half alone
    assert mistaken(energy, own, names, names, values, later).status == "pass"
    # Agents that have changed: most simulators explain the data of either one better.
    energy[1], energy[3] = 2.0, 2.0
    energy[1, 1] = energy[3, 3] = 6.0
    check = mistaken(energy, own, names, names, values)
    assert check.status == "pass"
    # One that another explains ten times better, and not the other way round, is a warning.
    energy[1, 1], energy[1, 7] = 60.0, 3.0
    check = mistaken(energy, own, names, names, values)
    assert (check.status, check.agents) == ("warn", ("n1",))


def test_ids_that_are_swapped_from_some_time_on_are_found_by_what_comes_after() -> None:
    early, own, names = alike(12)
    energy = early.copy()
    energy[1], energy[3] = 6.0, 6.0
    energy[1, 3] = energy[3, 1] = 2.0
    values, half = np.full(12, 200), np.full(12, 100)
    both = np.stack([early, 2 * energy - early])  # in the later half alone

    def found(before: Any) -> Any:
        later = Later(energy, half, np.stack([energy, energy]), before)
        return mistaken(energy, own, names, names, values, both, some=[later])

    check = found(early * 1.0)
    assert (check.status, check.agents) == ("pass", ())  # own 2, others 3: that is 1.5 times
    early[early == 3.0] = 4.0
    check = found(early)
    assert (check.status, set(check.agents)) == ("fail", {"n1", "n3"})
    assert check.values["since_part"] == [1, 1]
    assert check.advice.endswith("ids may be swapped from about a quarter of the data on.")
    # Agents whom the other's simulator explained as well before have not been swapped since.
    early[3, 1] = 2.5
    assert found(early).status == "pass"


@pytest.mark.parametrize("place", [0.0, 0.25, 0.5, 0.6])
def test_a_swap_in_the_data_is_found_wherever_it_begins(world: Any, place: float) -> None:
    ids = [f"u{n}" for n in range(30)]
    fresh = world.again(ids, 8)
    where = match_ids(world.model.agent_ids, fresh.agent_ids)

    def check(data: Any) -> Any:
        return same_agents(world.model, fresh.agent_ids, where, data)

    data = fresh.transitions()
    assert check(data).status == "pass"
    count = np.bincount(data.agent)
    rank = np.arange(len(data)) - np.searchsorted(data.agent, data.agent)
    late = rank >= place * count[data.agent]
    agent = data.agent.copy()
    agent[late & (data.agent == 2)], agent[late & (data.agent == 9)] = 9, 2
    order = np.lexsort((rank, agent))
    found = check(replace(data, agent=agent).select(order))
    assert (found.status, set(found.agents)) == ("fail", {"u2", "u9"})


@pytest.mark.parametrize("size", [4, 30, 300])
def test_noise_alone_swaps_nobody(size: int) -> None:
    """Agents that are alike: whose simulator explains whose noise best is chance."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=(30, 1, size)) + 0.3 * rng.normal(size=(1, 30, 1))
        energy = np.square(noise).mean(axis=2)
        names = [f"n{n}" for n in range(30)]
        found = mistaken(energy, np.arange(30), names, names, np.full(30, size))
        alarms += found.status == "fail"
    assert alarms <= 2


def test_agents_that_are_alike_are_not_mistaken() -> None:
    assert mistaken(np.ones((3, 3)), np.arange(3), "abc", "abc", np.full(3, 9)).status == "pass"
    assert (
        mistaken(np.full((3, 3), 1e4), np.arange(3), "abc", "abc", np.full(3, 9)).status == "pass"
    )
