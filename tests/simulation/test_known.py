"""Exogenous columns and uneven times, from the table to the answer, against the truth by hand."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold import (
    FitConfig,
    FittedModel,
    InvalidDataError,
    PanelDataset,
    Roles,
    Simulator,
    Tracker,
    UsageError,
    adapt,
    answer,
    fit,
    load_run,
)

LINEAR = FitConfig(linear="slopes", rank=0, effort="quick", behaviour_steps=0)
DAYS = {"work": 0.3, "rest": -0.2, "feast": 0.0}
N_ROOMS, HOURS, AHEAD = 12, 40, 8
ROOMS: dict[str, Any] = {
    "agent": "room",
    "time": "hour",
    "state": ["temp"],
    "action": ["heat"],
    "action_type": "continuous",
}
WEATHER = {**ROOMS, "exogenous": ["outside", "day"]}


def rooms() -> Any:
    """T' = T + k (outside - T) + b heat + what the day does; k and b of each room's own."""
    rng = np.random.default_rng(5)
    frames = []
    for room in range(N_ROOMS):
        k, b = rng.uniform(0.05, 0.3), rng.uniform(0.5, 1.5)
        hour = np.arange(HOURS + AHEAD + 1)
        outside = 5 + 4 * np.sin(hour / 4) + np.cumsum(rng.normal(size=len(hour)))
        heat = rng.uniform(0, 3, len(hour))
        day = rng.choice(["work", "rest"], len(hour))
        temp = np.empty(len(hour))
        temp[0] = rng.uniform(15, 22)
        for h in hour[:-1]:
            temp[h + 1] = temp[h] + k * (outside[h] - temp[h]) + b * heat[h] + DAYS[str(day[h])]
        columns = {"hour": hour, "temp": temp, "outside": outside, "day": day, "heat": heat}
        frames.append(pd.DataFrame({"room": room, **columns}))
    return pd.concat(frames, ignore_index=True)


TABLE: Any = rooms()
PAST: Any
COMING: Any
PAST, COMING = TABLE[TABLE.hour <= HOURS], TABLE[TABLE.hour >= HOURS]


def questions(*without: str, hours: int = AHEAD) -> Any:
    df = COMING[COMING.hour <= HOURS + hours].drop(columns=list(without))
    df = df.assign(temp=df["temp"].where(df.hour == HOURS))
    df.insert(0, "query_id", [f"room {room}" for room in df["room"]])
    df.loc[df.hour == HOURS + hours, "heat"] = np.nan  # says when the answer ends
    return df


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weather") / "run"
    fit(PanelDataset.from_frame(PAST, WEATHER), LINEAR, out=out)
    return out


@pytest.fixture(scope="module")
def model(run: Path) -> FittedModel:
    return load_run(run)


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def error(answers: Any) -> float:
    truth = COMING[COMING.hour > HOURS]["temp"].to_numpy()
    return float(np.sqrt(np.mean((answers["temp"].to_numpy() - truth) ** 2)))


def test_exogenous_columns_say_what_the_state_does_not(model: FittedModel) -> None:
    seeing = error(answer(model, questions(), quiet))
    blind = fit(PanelDataset.from_frame(PAST, ROOMS), LINEAR)
    assert seeing < 0.25 < 0.25 * error(answer(blind, questions(), lambda line: None))


def test_a_value_beyond_reach_is_named_with_its_question(model: FittedModel) -> None:
    asked = questions()
    asked.loc[(asked["room"] == 3) & (asked["hour"] == HOURS + 2), "outside"] = 1e25
    asked.loc[(asked["room"] == 5) & (asked["hour"] == HOURS), "temp"] = -1e25
    with pytest.raises(InvalidDataError) as caught:
        answer(model, asked, quiet)
    (line,) = caught.value.problems
    assert re.match(
        r"query 'room 3', row \d+ \(and 1 more query\): 'outside' is 1e\+25, .* too", line
    )


def test_known_inputs_of_new_data_beyond_reach_or_far_outside_are_named(model: FittedModel) -> None:
    frame = PAST[(PAST["room"] == 3) & (PAST["hour"] < 5)].assign(room=99)

    def data(outside: float) -> PanelDataset:
        values = frame["outside"].mask(frame["hour"] == 1, outside)
        return PanelDataset.from_frame(frame.assign(outside=values), WEATHER)

    with pytest.raises(InvalidDataError) as caught:
        adapt(model, data(1e25), warn=quiet)
    (line,) = caught.value.problems
    assert line.startswith("column 'outside', agent 99, step 1 of its trajectory: 1e+25 is")
    said: list[str] = []
    adapt(model, data(1e5), warn=said.append)
    assert any("step 1 of its trajectory: 'outside' is 100000" in line for line in said)
    with pytest.raises(InvalidDataError, match="'outside' is 100000"):
        adapt(model, data(1e5), warn=said.append, strict=True)
    known = np.full(len(model.known_names), 1e25)
    with pytest.raises(UsageError, match=r"agent 99: 'outside' is 1e\+25, .* too far"):
        Tracker(model, 99).observe([1.0], [1.0], [2.0], known)


def test_a_time_of_a_scenario_that_is_none_is_shown(model: FittedModel) -> None:
    scenario = COMING[["hour", "outside", "day"]].astype({"hour": object})
    scenario.iloc[2, 0] = "2026-13-01"
    with pytest.raises(
        InvalidDataError, match=r"scenario: no time in column 'hour', row 2.*-13-01"
    ):
        answer(model, questions("outside", "day"), quiet, scenario=scenario)
    scenario.iloc[2, 0] = None
    with pytest.raises(
        InvalidDataError, match=r"no time in column 'hour', row 2.*: give every row"
    ):
        answer(model, questions("outside", "day"), quiet, scenario=scenario)


def test_scenario_and_python_give_what_the_question_would(model: FittedModel) -> None:
    told = answer(model, questions(), quiet)
    bare, columns = questions("outside", "day"), ["room", "hour", "outside", "day"]
    by_scenario = answer(model, bare, quiet, scenario=COMING[columns])
    pd.testing.assert_frame_equal(by_scenario, told)
    room = COMING[COMING.room == 3]
    rollout = Simulator(model, 3).rollout(
        None, room["heat"].to_numpy()[:-1], quiet, exogenous=room[["outside", "day"]]
    )
    own = told[told.room == 3]
    np.testing.assert_allclose(rollout.centre[:, 0], own["temp"], rtol=1e-6)
    np.testing.assert_allclose(rollout.upper[:, 0], own["temp_upper"], rtol=1e-6)


def test_of_how_many_steps_values_are_given_is_said(model: FittedModel) -> None:
    short = {name: [0.0, 0.0] for name in model.roles.exogenous}
    short |= {name: [levels[0]] * 2 for name, levels in model.levels.items() if name in short}
    start = Simulator(model, model.agent_ids[0]).last[: len(model.roles.state)]
    with pytest.raises(UsageError, match=r"at step 2 \(they are given for 2 steps\)"):
        Simulator(model, model.agent_ids[0]).rollout(start, [1.0] * 5, exogenous=short)


def test_what_is_held_is_as_if_it_were_told_but_less_sure(model: FittedModel) -> None:
    bare = questions("outside", "day")
    held = answer(model, bare, quiet, hold_exogenous=True)
    last = COMING[COMING.hour == HOURS].set_index("room")
    told = bare.assign(outside=bare["room"].map(last["outside"]), day=bare["room"].map(last["day"]))
    steady = answer(model, told, quiet)
    np.testing.assert_allclose(held["temp"], steady["temp"], rtol=1e-6)
    width = [(each["temp_upper"] - each["temp_lower"]).to_numpy() for each in (held, steady)]
    step = held["hour"].to_numpy() - HOURS
    np.testing.assert_allclose(width[0][step == 1], width[1][step == 1])  # nothing is held yet
    assert (width[0][step > 1] > 1.5 * width[1][step > 1]).all()
    truth = COMING[COMING.hour > HOURS]["temp"].to_numpy()
    # All rooms have the same weather: it is one draw of how it goes on, not twelve.
    assert np.mean((truth > held["temp_lower"]) & (truth < held["temp_upper"])) > 0.6


def test_a_question_that_tells_some_rows_is_held_from_there(model: FittedModel) -> None:
    part = questions()
    part.loc[part.hour > HOURS + 3, ["outside", "day"]] = [np.nan, None]
    found = answer(model, part, quiet, hold_exogenous=True)
    told = answer(model, questions(), quiet)
    early = told["hour"] <= HOURS + 4
    np.testing.assert_allclose(found["temp"][early], told["temp"][early])
    assert not np.allclose(found["temp"][~early], told["temp"][~early])


def test_future_values_that_lack_are_one_clear_error(model: FittedModel) -> None:
    bare = questions("outside", "day")
    with pytest.raises(InvalidDataError) as told:
        answer(model, bare)
    (line,) = told.value.problems
    assert "(and 11 more queries): no value of 'outside' and 'day' (exogenous) at hour 40" in line
    assert "--scenario" in line
    assert "--hold-exogenous" in line
    short = TABLE[(TABLE.room == 0) & (TABLE.hour < HOURS + 4)][["hour", "outside", "day"]]
    with pytest.raises(InvalidDataError) as told:
        answer(model, bare, scenario=short)
    (line,) = told.value.problems
    assert "at hour 44; the scenario goes from hour 0 to 43" in line
    with pytest.raises(InvalidDataError, match="the scenario lacks column 'day'"):
        answer(model, bare, scenario=short[["hour", "outside"]])
    with pytest.raises(InvalidDataError, match="the scenario has hour 0 twice"):
        answer(model, bare, scenario=pd.concat([short, short]))
    with pytest.raises(UsageError, match="no value of 'outside' and 'day'"):
        Simulator(model, 0).rollout([20.0], [1.0, 1.0])
    with pytest.raises(UsageError, match="exogenous values lack 'day'"):
        Simulator(model, 0).rollout([20.0], [1.0], exogenous={"outside": [1.0]})


def test_a_word_never_seen_is_unknown_and_said(model: FittedModel) -> None:
    strange, lines = questions().replace({"day": {"work": "feast", "rest": "feast"}}), []
    found = answer(model, strange, lines.append)
    assert len(lines) == 1
    assert "'feast' was never seen in training" in lines[0]
    between: Any = [
        answer(model, questions().assign(day=day), quiet)["temp"] for day in ("work", "rest")
    ]
    low, high = np.minimum(*between), np.maximum(*between)
    assert ((found["temp"] > low) & (found["temp"] < high)).all()


def test_weather_as_it_never_was_is_answered_and_said(model: FittedModel) -> None:
    asked, lines = questions(), []
    asked.loc[asked.hour == HOURS + 2, "outside"] = 99.0
    answer(model, asked, lines.append)
    assert any(
        "12 exogenous values of 12 queries lie outside the range of the data" in line
        and "'outside' is 99, the data has" in line
        for line in lines
    )
    with pytest.raises(
        InvalidDataError, match="the exogenous value 'outside' is out of range: 99;"
    ):
        answer(model, asked, lines.append, strict=True)
    rollout = Simulator(model, 0).rollout
    days = {"outside": [2.0, 99.0], "day": ["rest", "rest"]}
    with pytest.raises(UsageError, match="the exogenous value 'outside' of step 1 is out of range"):
        rollout([20.0], [1.0, 1.0], exogenous=days, strict=True)


def test_plans_need_future_values_or_hold_the_last(model: FittedModel) -> None:
    with pytest.raises(UsageError, match="future values of the exogenous columns are needed"):
        model.dynamics(0)
    stack, actions = model.dynamics(0, known=model.held(0)), [0.5, 2.0, 1.0]
    rollout = Simulator(model, 0).rollout([20.0], actions, quiet, hold_exogenous=True)
    np.testing.assert_allclose(rollout.centre[:, 0], folded(stack, actions), rtol=1e-5)
    held = model.holding()
    assert folded(held.dynamics(0), actions) == folded(stack, actions)
    np.testing.assert_array_equal(
        Simulator(held, 0).rollout([20.0], actions, quiet).upper, rollout.upper
    )
    told = [[3.0, 1.0, 0.0], [5.0, 0.0, 1.0], [9.0, 0.0, 1.0]]
    path = folded(model.dynamics(0, known=np.array(told)), actions)
    by_name = {"outside": [3.0, 5.0, 9.0], "day": ["rest", "work", "work"]}
    rollout = Simulator(model, 0).rollout([20.0], actions, quiet, exogenous=by_name)
    np.testing.assert_allclose(rollout.centre[:, 0], path, rtol=1e-5)


def folded(stack: Any, actions: list[float]) -> list[float]:
    """Predictions of the first member of a stack, step by step."""
    one = jax.tree.map(lambda leaf: leaf[0], eqx.filter(stack, eqx.is_array))
    carry, states = one.init(jnp.array([20.0])), []
    for action in actions:
        carry, state = one.step(carry, one.encode(jnp.array([action])))
        states.append(float(state[0]))
    return states


def test_new_data_is_read_as_the_run_reads_it(model: FittedModel) -> None:
    new = PAST[PAST.room < 2].assign(room=lambda df: df.room + 100)
    roles = {**WEATHER, "exogenous": ["day", "outside"]}
    adapted = adapt(model, PanelDataset.from_frame(new, roles))
    coming = questions()
    coming = coming[coming.room < 2].assign(room=lambda df: df.room + 100)
    found = answer(adapted, coming, lambda line: None)["temp"].to_numpy()
    truth = COMING[(COMING.room < 2) & (COMING.hour > HOURS)]["temp"]
    np.testing.assert_allclose(found, truth, atol=0.3)
    with pytest.raises(UsageError, match="the model's exogenous columns are 'outside', 'day'"):
        adapt(model, PanelDataset.from_frame(new, ROOMS))
    lines: list[str] = []
    strange = new.replace({"day": {"work": "feast"}})
    adapt(model, PanelDataset.from_frame(strange, WEATHER), warn=lines.append)
    assert any("'feast' never seen in training" in line for line in lines)


def test_short_trajectories_beside_long_ones_are_no_division_by_zero() -> None:
    rng = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"id": who, "t": np.cumsum(rng.uniform(0.2, 3, size)), "x": rng.normal(size=size)}
        )
        for who, size in enumerate([6, 20, 9, 14] * 3)
    ]
    roles = {"agent": "id", "time": "t", "state": "x"}
    panel = PanelDataset.from_frame(pd.concat(frames), roles)
    assert panel.uneven
    settings = FitConfig(linear="pooled", rank=0, behaviour_steps=0, history=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = fit(panel, settings, reserve=0)
    assert np.isfinite(model.info.validation["rmse"])


def test_observing_one_by_one_is_adapting(model: FittedModel) -> None:
    new = PAST[(PAST.room == 4) & (PAST.hour < 6)].assign(room="new")
    panel = PanelDataset.from_frame(new, WEATHER)
    found = adapt(model, panel, warn=lambda line: None)
    agent, data = Tracker(model, "new"), panel.transitions()
    assert data.known is not None
    with pytest.raises(UsageError, match="known inputs are needed: 'outside', 'day=rest'"):
        agent.observe(data.state[0], data.action[0], data.next_state[0])
    for k in range(len(data)):
        agent.observe(data.state[k], data.action[k], data.next_state[k], data.known[k])
    index = found.agent_index("new")
    np.testing.assert_allclose(
        agent.updated().posterior.solve()[0][:, -1], found.posterior.solve()[0][:, index]
    )


def test_exogenous_columns_in_the_row_of_their_outcome_are_moved_as_actions_are(
    model: FittedModel,
) -> None:
    moved = ["outside", "day", "heat"]
    below = PAST.copy()
    below[moved] = below.groupby("room")[moved].shift(1)
    roles = {**WEATHER, "align": "same-row"}
    filled = below.fillna({"heat": 1.0, "outside": 1.0, "day": "rest"})  # of first rows: not used
    below = PanelDataset.from_frame(filled, roles)
    plain = PanelDataset.from_frame(PAST, WEATHER).transitions()
    for name in ("state", "action", "known"):
        np.testing.assert_array_equal(getattr(below.transitions(), name), getattr(plain, name))
    again = PanelDataset.from_frame(below.to_frame(), below.roles)
    assert again.fingerprint() == below.fingerprint()
    same = dataclasses.replace(model, roles=Roles.parse(roles))
    asked = questions()
    asked[moved] = asked.groupby("room")[moved].shift(1)
    expected = answer(model, questions(), quiet)
    pd.testing.assert_frame_equal(answer(same, asked, quiet), expected)
    scenario = COMING.copy()
    scenario[moved] = scenario.groupby("room")[moved].shift(1)
    told = answer(same, asked.drop(columns=["outside", "day"]), quiet, scenario=scenario.dropna())
    pd.testing.assert_frame_equal(told, expected)


def test_without_actions_the_row_of_the_last_outcome_ends_a_question() -> None:
    bare = {k: v for k, v in WEATHER.items() if not k.startswith("action")}
    found = fit(PanelDataset.from_frame(PAST.drop(columns="heat"), bare), LINEAR)
    asked = questions().drop(columns="heat")
    expected = answer(found, asked[asked.hour < HOURS + AHEAD], lambda line: None)
    assert int(np.max(expected["hour"])) == HOURS + AHEAD
    same = dataclasses.replace(found, roles=Roles.parse({**bare, "align": "same-row"}))
    asked[["outside", "day"]] = asked.groupby("room")[["outside", "day"]].shift(1)
    told = answer(same, asked, lambda line: None)
    pd.testing.assert_frame_equal(told, expected)
