"""Where questions begin: rows of context, a state, or where the agent's data ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, InvalidDataError, Simulator, UsageError
from twinfold.simulation.what_if import QUERY, answer

Build = Callable[..., FittedModel]
STATES = ["s0", "s1", "s2"]
LEVELS = np.array([-1, 0, 5, 7])


def doubt(line: str) -> None:
    raise AssertionError(f"unexpected doubt: {line}")


def wide(model: FittedModel) -> FittedModel:
    """The same model, to which no question is out of range."""
    far = np.full(3, 1e3)
    ranges = model.ranges._replace(state_low=-far, state_high=far)
    return replace(model, ranges=ranges, added_ranges=None)


@pytest.fixture
def model(random_model: Build) -> FittedModel:
    return wide(random_model(history=3, angles=(1,), posterior=True, members=2))


def states(model: FittedModel, number: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return model.normalizer.decode_state(0.5 * rng.normal(size=(number, 3)))


def question(name: str, agent: str, context: Any, actions: list[int]) -> pd.DataFrame:
    """A question of rows of context, of which the last is the start."""
    rows = len(context) - 1 + len(actions)
    table = pd.DataFrame({QUERY: [name] * rows, "unit": agent, "t": np.arange(rows, dtype=float)})
    for d, column in enumerate(STATES):
        table[column] = np.r_[context[:, d], np.full(len(actions) - 1, np.nan)]
    table["a0"] = [np.nan] * (len(context) - 1) + actions
    return table


@pytest.mark.filterwarnings("ignore:the prediction goes far")
def test_leading_rows_with_a_state_are_context(model: FittedModel) -> None:
    contexts = {
        name: states(model, rows, rows) for name, rows in zip("abcd", (1, 2, 3, 5), strict=True)
    }
    agents, actions = ["u0", "u1", "u2", "u3"], [5, 7, -1]
    tables = [
        question(name, agent, context, actions)
        for (name, context), agent in zip(contexts.items(), agents, strict=True)
    ]
    table = pd.concat(tables).sample(frac=1.0, random_state=0)
    found = answer(model, table, lambda line: None)
    for (name, context), agent in zip(contexts.items(), agents, strict=True):
        mine: Any = found[found[QUERY] == name]
        assert mine["t"].tolist() == [len(context) + k for k in range(3)]
        before = context[:-1] if len(context) > 1 else None
        alone = Simulator(model, agent).rollout(
            context[-1], actions, lambda line: None, before=before
        )
        np.testing.assert_allclose(mine[STATES].to_numpy(float), alone.centre, rtol=1e-5, atol=1e-5)


def test_only_as_many_rows_as_the_model_reads_matter(model: FittedModel) -> None:
    context = states(model, 5)
    simulator = Simulator(model, "u1")

    def centre(before: Any) -> Any:
        return simulator.rollout(context[-1], [5, 5], lambda line: None, before=before).centre

    whole = centre(context[:-1])
    np.testing.assert_array_equal(whole, centre(context[-3:-1]))
    assert np.abs(whole - centre(context[-2:-1])).max() > 1e-4
    assert np.abs(whole - centre(None)).max() > 1e-4


def test_a_question_without_a_state_goes_on_from_where_the_data_ended(model: FittedModel) -> None:
    table = question("q", "u2", np.full((1, 3), np.nan), [5, 7])
    found = answer(model, table, lambda line: None)[STATES].to_numpy(float)
    alone = Simulator(model, "u2").rollout(None, [5, 7], lambda line: None)
    np.testing.assert_allclose(found, alone.centre, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(alone.start, Simulator(model, "u2").last[:3])
    known = Simulator(model, "u2").last
    steps = known[3:].reshape(2, 7)
    changes, levels = steps[:, :3], LEVELS[steps[:, 3:].argmax(axis=1)]
    before = np.stack([known[:3] - changes[0] - changes[1], known[:3] - changes[0]])
    before = np.column_stack([before, levels[::-1]])
    told = Simulator(model, "u2").rollout(known[:3], [5, 7], lambda line: None, before=before)
    np.testing.assert_allclose(alone.centre, told.centre, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("ended", "said"), [(3, 0), (3.4, 0), (np.nan, 0), (0, 1), (4, 1)])
def test_another_time_than_that_where_the_data_ended_is_told(
    model: FittedModel, ended: float, said: int
) -> None:
    model = replace(model, ended=np.full(len(model.agent_ids), float(ended)))
    table = question("q", "u2", np.full((1, 3), np.nan), [5, 7])
    other = question("p", "u1", states(model, 1), [5, 7])  # tells its state
    both = pd.concat([table, other], ignore_index=True)
    both["t"] += 3
    lines: list[str] = []
    answer(model, both, lines.append)
    told = [line for line in lines if "end of the agent's data" in line]
    assert len(told) == said
    if said:
        steps = "3 steps after" if ended == 0 else "1 step before"
        assert told[0].startswith(f"query 'q', row 0: no state here, and the time is {steps} the ")


def test_where_nothing_is_known_a_state_is_asked_for(model: FittedModel) -> None:
    model = replace(model, recent=np.full_like(model.recent, np.nan))
    table = question("q", "u2", np.full((1, 3), np.nan), [5, 7])
    with pytest.raises(InvalidDataError, match="row 0: no first state: 's0' and 's1'"):
        answer(model, table, doubt)
    with pytest.raises(UsageError, match="agent 'u2' has no data that a prediction could go on"):
        Simulator(model, "u2").rollout(None, [5], doubt)


def test_a_question_in_which_nothing_is_asked_is_named(model: FittedModel) -> None:
    table = question("q", "u2", states(model, 4), [5])
    table["a0"] = np.nan
    with pytest.raises(InvalidDataError, match="every row holds a state, and the last one no act"):
        answer(model, table, doubt)


def test_a_value_in_the_context_is_checked(model: FittedModel) -> None:
    table = question("q", "u2", states(model, 3), [5])
    table["s1"] = table["s1"].astype(object)
    table.loc[1, "s1"] = "high"
    with pytest.raises(InvalidDataError, match=r"row 1: column 's1' .state.: 'high' is no number"):
        answer(model, table, doubt)


def test_without_a_memory_later_states_are_passed_over(random_model: Build) -> None:
    model = wide(random_model(members=2))
    context = states(model, 3)
    table = question("q", "u2", context, [5])
    table["a0"] = [5, 7, -1]
    found = answer(model, table, lambda line: None)[STATES].to_numpy(float)
    alone = Simulator(model, "u2").rollout(context[0], [5, 7, -1], lambda line: None)
    np.testing.assert_allclose(found, alone.centre, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match="the model reads the present row alone"):
        Simulator(model, "u2").rollout(context[0], [5], doubt, before=context[:1])


def test_rows_before_have_the_columns_of_the_state(model: FittedModel) -> None:
    simulator, context = Simulator(model, "u1"), states(model, 3)
    with pytest.raises(
        UsageError, match=r"shape \(2, 2\): each needs 3 values \(s0, s1, s2\), or 4"
    ):
        simulator.rollout(context[0], [5], doubt, before=context[1:, :2])
    with pytest.raises(UsageError, match=r"shape \(1, 2, 3\): it must be \(j, D\), or"):
        simulator.rollout(context[0], [5], doubt, before=context[None, 1:])
    with pytest.raises(UsageError, match="in the rows before the state, 's2' is inf"):
        simulator.rollout(context[0], [5], doubt, before=[[0.0, 0.0, np.inf]])
    with pytest.raises(UsageError, match="go with a state"):
        simulator.rollout(None, [5], doubt, before=context[1:])


def test_what_acted_in_the_context_is_remembered(model: FittedModel) -> None:
    context, simulator = states(model, 3), Simulator(model, "u1")
    table = question("q", "u1", context, [5, 7])
    bare = answer(model, table, lambda line: None)[STATES].to_numpy(float)
    table.loc[:1, "a0"] = [7, -1]
    told = answer(model, table, lambda line: None)[STATES].to_numpy(float)
    assert np.abs(told - bare).max() > 1e-3
    rows = np.column_stack([context[:-1], [7, -1]])
    by_name = {**dict(zip(STATES, context[:-1].T, strict=True)), "a0": [7, -1]}
    for before in (rows, pd.DataFrame(by_name), by_name):
        alone = simulator.rollout(context[-1], [5, 7], lambda line: None, before=before)
        np.testing.assert_allclose(told, alone.centre, rtol=1e-5, atol=1e-5)
    table.loc[0, "a0"] = np.nan  # of a row before, not told: only that is as usual
    part = answer(model, table, lambda line: None)[STATES].to_numpy(float)
    assert min(np.abs(part - told).max(), np.abs(part - bare).max()) > 1e-3


def test_an_action_in_the_context_is_checked(model: FittedModel) -> None:
    context, simulator = states(model, 3), Simulator(model, "u1")
    table = question("q", "u1", context, [5])
    table.loc[0, "a0"] = 6
    with pytest.raises(InvalidDataError, match="row 0: unknown action 6 in column 'a0'"):
        answer(model, table, doubt)
    with pytest.raises(UsageError, match="unknown action 6"):
        simulator.rollout(context[-1], [5], doubt, before=np.c_[context[:-1], [6, 5]])
    frame = pd.DataFrame(context[:-1], columns=STATES)
    with pytest.raises(UsageError, match=r"unknown column 'a1' in the rows before.*'a0'"):
        simulator.rollout(context[-1], [5], doubt, before=frame.assign(a1=5))
    with pytest.raises(UsageError, match="rows before the state lack 's2'"):
        simulator.rollout(context[-1], [5], doubt, before=frame[["s0", "s1"]])


def test_of_a_row_without_a_state_between_rows_of_context_only_what_acted_is_known(
    model: FittedModel,
) -> None:
    context, said = states(model, 4), list[str]()
    table = question("q", "u2", context, [5, 7])
    table.loc[1, STATES] = np.nan
    found = answer(model, table, said.append)
    assert len(found) == 2  # from the last row of context on
    (line,) = (line for line in said if "not known" in line)
    assert line.startswith("query 'q', row 1: no state here, and one further below")
    rows = np.where(np.arange(3)[:, None] == 1, np.nan, context[:-1])
    path = Simulator(model, "u2").rollout(context[-1], [5, 7], lambda line: None, before=rows)
    np.testing.assert_allclose(found[STATES].to_numpy(float), path.centre, rtol=1e-6)


def test_states_and_rows_before_them_belong_together(model: FittedModel) -> None:
    both = states(model, 2)
    with pytest.raises(UsageError, match="2 states, but rows before 1 of them"):
        Simulator(model, "u2").rollout(both, [5], doubt, before=both[None, :1])


def test_what_is_not_told_of_the_past_is_said(model: FittedModel) -> None:
    said: list[str] = []
    answer(model, question("bare", "u2", states(model, 1), [5]), said.append)
    assert any("query 'bare': what came before is not told" in line for line in said)
    said.clear()
    Simulator(model, "u2").rollout(states(model, 1)[0], [5], said.append)
    assert any("what came before is not told" in line for line in said)
    said.clear()
    answer(model, question("some", "u2", states(model, 2), [5]), said.append)
    reads = f"the model reads {model.history} rows, and its band holds for questions that tell them"
    assert f"query 'some': only 2 rows told: {reads}" in said
    said.clear()
    answer(model, question("told", "u2", states(model, model.history), [5]), said.append)
    assert not any(" told" in line for line in said)


def test_a_change_that_cannot_be_computed_with_is_refused(model: FittedModel) -> None:
    with pytest.raises(UsageError, match=r"'s0' is -1e.*too far to compute with"):
        Simulator(model, "u2").rollout(states(model, 1)[0], [5], doubt, before=[[1e25, 0.0, 0.0]])
