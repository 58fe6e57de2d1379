"""Parts of what is known of an agent: its first transitions, and closed forms that use them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, strategies as st

from twinfold.adaptation.adapt import adapt, panel_transitions, with_transitions
from twinfold.benchmark.collect import collect
from twinfold.benchmark.studies.unseen_agents import _summary, first_transitions
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.tasks import get_task
from twinfold.training.fit import fit

PANEL = collect(get_task("cart_pole"), "random", 8, 0)
DATA = PANEL.transitions()


@given(count=st.integers(0, 40))
def test_of_each_agent_the_first_transitions_stay_in_order(count: int) -> None:
    part = first_transitions(DATA, count)
    rows = [
        row for agent in range(8) for row in np.flatnonzero(DATA.agent == agent)[:count].tolist()
    ]
    np.testing.assert_array_equal(part.state, DATA.state[rows])
    np.testing.assert_array_equal(part.agent, DATA.agent[rows])


def test_all_transitions_are_all() -> None:
    assert first_transitions(DATA, None) is DATA


def test_an_agent_solved_for_from_its_first_rows_is_as_one_adapted_to_them() -> None:
    ids = PANEL.agent_ids
    config = FitConfig(
        effort="quick",
        linear="none",
        rank=2,
        members=1,
        state_net=(8,),
        steps=50,
        schedules=(1.0,),
        shrinkages=(0.1,),
    )
    model = fit(PANEL.select_agents(ids[:6]), config, reserve=0)
    new = PANEL.select_agents(ids[6:])
    part = first_transitions(panel_transitions(model, new), 3)
    solved = with_transitions(model, new.agent_ids, part)
    # The same through a table cut after the fourth row, which ends the third transition.
    frame = new.to_frame()
    cut = frame.groupby("agent_id").head(4).copy()
    last = cut.groupby("agent_id").tail(1).index
    cut.loc[last, ["action", "reward"]] = None
    cut.loc[last, "truncated"] = True
    roles = new.roles
    table = replace(PanelDataset.from_frame(cut, roles), action_levels=new.action_levels)
    adapted = adapt(model, table, warn=lambda line: None)
    np.testing.assert_allclose(solved.members.agents, adapted.members.agents, rtol=1e-5, atol=1e-6)


def test_the_summary_is_of_agents_and_keeps_what_diverged() -> None:
    found = _summary(np.array([0.1, 0.2, 0.3, 0.4]))
    assert (found["median"], found["mean"]) == (0.25, 0.25)
    assert 0.1 <= found["low"] <= 0.25 <= found["high"] <= 0.4
    assert np.isnan(_summary(np.array([0.1, np.nan]))["median"])
