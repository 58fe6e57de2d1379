"""Uneven times, from the table to the answer: every row is used, and every row has its own time."""

from __future__ import annotations

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
    PanelDataset,
    Simulator,
    UsageError,
    adapt,
    answer,
    fit,
    load_run,
    save_run,
    validate,
)
from twinfold.models.linear_terms import linear_features
from twinfold.models.long_steps import in_parts
from twinfold.models.rollout import rollout_members
from twinfold.training.ensemble import TrainingContext

LINEAR = FitConfig(linear="slopes", rank=0, effort="quick", behaviour_steps=0)
NETS = FitConfig(
    linear="pooled",
    rank=3,
    state_net=(8,),
    members=2,
    steps=40,
    validation_share=0,
    unroll=1,
    behaviour_steps=0,
)
ROLES: dict[str, Any] = {
    "agent": "id",
    "time": "t",
    "state": ["x"],
    "action": ["a"],
    "action_type": "continuous",
}
N_AGENTS, VISITS, AHEAD = 14, 18, 5


def visits(minutes: bool = False) -> pd.DataFrame:
    """dx/dt = a - k x, a held from one visit to the next, visits at any time; k of each's own."""
    rng = np.random.default_rng(2)
    frames = []
    for name in range(N_AGENTS):
        k, length = rng.uniform(0.1, 0.5), rng.uniform(0.25, 2.5, VISITS + AHEAD)
        t, a = np.r_[0.0, np.cumsum(length)], rng.uniform(0, 2, VISITS + AHEAD + 1)
        x = np.empty(len(t))
        x[0] = rng.uniform(0, 5)
        for i, h in enumerate(length):
            x[i + 1] = x[i] * np.exp(-k * h) + a[i] * (1 - np.exp(-k * h)) / k
        frames.append(pd.DataFrame({"id": name, "t": t * (60 if minutes else 1), "x": x, "a": a}))
    return pd.concat(frames, ignore_index=True)


def split(df: Any) -> tuple[Any, Any]:
    """What is known, and questions of what follows."""
    row = df.groupby("id").cumcount()
    asked = df[row >= VISITS].copy()
    asked["x"] = asked["x"].where(row[row >= VISITS] == VISITS)
    asked.loc[row[row >= VISITS] == VISITS + AHEAD, "a"] = np.nan
    asked.insert(0, "query_id", asked["id"])
    return df[row <= VISITS], asked


TABLE: Any = visits()
PAST, ASKED = split(TABLE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("uneven") / "run"
    fit(PanelDataset.from_frame(PAST, ROLES), LINEAR, out=out)
    return out


@pytest.fixture(scope="module")
def model(run: Path) -> FittedModel:
    return load_run(run)


@pytest.fixture(scope="module")
def nets() -> FittedModel:
    return fit(PanelDataset.from_frame(PAST, ROLES), NETS)


def quiet(line: str) -> None:
    raise AssertionError(f"unexpected warning: {line}")


def joined(answers: pd.DataFrame, df: pd.DataFrame = TABLE) -> tuple[np.ndarray, np.ndarray]:
    both = answers.merge(df, on=["id", "t"], suffixes=("", "_true"))
    assert len(both) == len(answers) == N_AGENTS * AHEAD
    return both["x"].to_numpy(), both["x_true"].to_numpy()


def test_every_row_counts_and_has_its_own_time(model: FittedModel) -> None:
    assert model.uneven
    assert model.info.transitions == N_AGENTS * VISITS
    predicted, true = joined(answer(model, ASKED, quiet))
    rmse = np.sqrt(np.mean((predicted - true) ** 2))
    assert rmse < 0.06 * true.std()


def test_the_unit_of_time_is_no_matter(model: FittedModel) -> None:
    past, asked = split(visits(minutes=True))
    other = fit(PanelDataset.from_frame(past, ROLES), LINEAR)
    found = answer(other, asked, quiet)
    np.testing.assert_allclose(found["x"], answer(model, ASKED, quiet)["x"], rtol=1e-4)


def test_without_the_lengths_rows_are_lost_and_answers_poor(model: FittedModel) -> None:
    panel = PanelDataset.from_frame(PAST, ROLES, time_step="regular")
    assert panel.n_transitions < 0.8 * N_AGENTS * VISITS
    assert not fit(panel, LINEAR).uneven


@pytest.mark.parametrize("kind", ["linear", "nets"])
def test_a_step_of_no_length_is_no_change_but_for_what_an_action_does_at_once(
    kind: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue("model" if kind == "linear" else "nets")
    usual = found.normalizer.action_mean
    paths = rollout_members(
        found.members,
        found.normalizer,
        np.array([0]),
        np.array([[2.0]]),
        usual[None, None],
        np.array([[[1e-9]]]),
    )
    np.testing.assert_allclose(paths, 2.0, atol=1e-6)


@pytest.mark.parametrize(("kind", "start"), [("linear", 2.0), ("nets", 2.0), ("nets", 40.0)])
def test_folded_for_an_agent_it_predicts_the_same(
    kind: str, start: float, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue("model" if kind == "linear" else "nets")
    stack, actions = found.dynamics(3, known=np.array([0.7])), [0.5, 1.7, 1.0]
    one = jax.tree.map(lambda leaf: leaf[0], eqx.filter(stack, eqx.is_array))
    carry, states = one.init(jnp.array([start])), []
    for action in actions:
        carry, state = one.step(carry, one.encode(jnp.array([action])))
        states.append(float(state[0]))
    rollout = Simulator(found, 3).rollout(
        [start], actions, lambda line: None, lengths=[0.7 * found.time_step] * 3
    )
    np.testing.assert_allclose(rollout.members[0, :, 0], states, rtol=1e-4, atol=1e-5)


def test_beyond_the_data_nets_say_what_they_say_at_its_edge(
    nets: FittedModel, tmp_path: Path
) -> None:
    data, norm = PanelDataset.from_frame(PAST, ROLES).transitions(), nets.normalizer
    inputs = norm.inputs(norm.carry(data.start))
    save_run(nets, tmp_path / "run")
    for members in (nets.members, load_run(tmp_path / "run").members):
        edge = np.asarray(members.edge)
        np.testing.assert_allclose(edge[:, 0], np.tile(inputs.min(axis=0), (2, 1)), rtol=1e-6)
        np.testing.assert_allclose(edge[:, 1], np.tile(inputs.max(axis=0), (2, 1)), rtol=1e-6)
    member = jax.tree.map(lambda leaf: leaf[0], nets.members)
    low, high = inputs.min(axis=0)[0], inputs.max(axis=0)[0]
    at = {
        x: np.asarray(member.net_features(jnp.array([x, 1.0]), jnp.zeros(1)))
        for x in (low - 5, low, high, high + 5)
    }
    np.testing.assert_allclose(at[low - 5], at[low], rtol=1e-5)
    np.testing.assert_allclose(at[high + 5], at[high], rtol=1e-5)
    assert np.abs(at[high] - at[low]).max() > 1e-3


def test_linear_features_of_a_step_are_those_on_the_host(model: FittedModel) -> None:
    from twinfold.models.linear_sums import linear_features_of

    norm, start = model.normalizer, np.array([[1.5, 0.4], [3.0, 2.2]])
    action = np.array([[0.3], [1.9]])
    host = linear_features_of(norm, norm.carry(start), action, 0)
    inputs = norm.inputs(norm.carry(start))
    for row in range(2):
        found = linear_features(
            host.shape[1],
            jnp.asarray(inputs[row]),
            jnp.asarray(norm.encode_action(action[row])),
            True,
        )
        np.testing.assert_allclose(found, host[row], rtol=1e-5)
    base = np.r_[1.0, inputs[0], norm.encode_action(action[0])]
    by_hand = np.r_[0.4 * base, (1 - np.exp(-0.4)) * base, norm.encode_action(action[0])]
    np.testing.assert_allclose(host[0], by_hand)


def test_more_data_adds_up_whatever_its_usual_step(model: FittedModel) -> None:
    new = PAST[PAST.id == 1].assign(id="new")
    first, then = new[new.t <= new.t.iloc[9]], new[new.t >= new.t.iloc[9]]

    def read(df: Any) -> PanelDataset:
        return PanelDataset.from_frame(df, ROLES, time_step="variable")

    assert read(first).time_step != read(then).time_step
    whole = adapt(model, read(new), warn=lambda line: None)
    parts = adapt(
        adapt(model, read(first), warn=lambda line: None), read(then), warn=lambda line: None
    )
    for one, other in zip(whole.posterior.evidence, parts.posterior.evidence, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(whole.sums.count, parts.sums.count)


def test_even_models_and_uneven_data_do_not_mix(model: FittedModel) -> None:
    even = TABLE.assign(t=TABLE.groupby("id").cumcount())
    found = fit(PanelDataset.from_frame(split(even)[0], ROLES), LINEAR)
    with pytest.raises(UsageError, match="times are uneven, and the model was fitted to even"):
        adapt(found, PanelDataset.from_frame(PAST, ROLES))
    with pytest.raises(UsageError, match="the model's time steps are all the same"):
        Simulator(found, 0).rollout([1.0], [1.0], lengths=[2.0])
    with pytest.raises(UsageError, match="2 positive lengths of steps are needed"):
        Simulator(model, 0).rollout([1.0], [1.0, 1.0], lengths=[2.0, -1.0])


def test_a_model_of_even_steps_reads_the_usual_ones_of_uneven_data() -> None:
    even = TABLE.assign(t=2.0 * TABLE.groupby("id").cumcount(), g=TABLE.id % 3)
    roles = {**ROLES, "static": ["g"]}
    model = fit(PanelDataset.from_frame(split(even)[0], roles), LINEAR)
    # Of every new agent the fourth row is late; of the last one all are.
    late = even[(even.id < 6) & (even.t < 14)].assign(id=lambda df: df.id + 100)
    late.loc[late.t >= 6, "t"] += 3.0
    late.loc[late.id == 105, "t"] *= 5 / 2
    panel, regular = (
        PanelDataset.from_frame(late, roles, time_step=step) for step in (None, "regular")
    )
    assert (panel.uneven, regular.uneven) == (True, False)
    said: list[str] = []
    found, other = (adapt(model, data, warn=said.append) for data in (panel, regular))
    assert said[0].startswith("11 transitions left out: the two rows are not 2 apart")
    assert found.agent_ids == other.agent_ids
    assert found.info.adapted[0].transitions == 25
    for one, same in zip(found.posterior.evidence, other.posterior.evidence, strict=True):
        np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(found.posterior.values, other.posterior.values)
    checked = [validate(model, data, warn=said.append).record for data in (panel, regular)]
    assert checked[0]["controls"] == checked[1]["controls"]


def test_what_is_noticed_of_a_frame_is_told_by_the_fit() -> None:
    lines: list[str] = []
    plain = LINEAR.model_copy(update={"linear": "drift"})
    fit(PAST, plain, roles=ROLES, log=lines.append)
    assert any(line.startswith("warning: times are uneven: ") for line in lines)
    again: list[str] = []
    fit(PanelDataset.from_frame(PAST, ROLES), plain, log=again.append)  # whose warnings are its own
    assert not any("times are uneven" in line for line in again)


def test_a_memory_of_uneven_steps_is_of_usual_ones() -> None:
    panel = PanelDataset.from_frame(PAST, ROLES)
    data = panel.transitions(2)
    assert data.memory is not None
    assert data.known is not None
    inside = data.step > 0
    length = np.roll(data.known, 1, axis=0)
    change = (data.state - np.roll(data.state, 1, axis=0)) * length / (length**2 + 0.25)
    np.testing.assert_allclose(data.memory[inside, 0, :1], change[inside])
    np.testing.assert_array_equal(data.memory[inside, 0, 1:], np.roll(data.action, 1, 0)[inside])
    model = fit(panel, LINEAR.model_copy(update={"history": 2}))
    row = TABLE.groupby("id").cumcount()
    context = TABLE[row >= VISITS - 2].copy()
    context.insert(0, "query_id", context["id"])
    context.loc[row > VISITS, "x"] = np.nan
    context.loc[row == VISITS + AHEAD, "a"] = np.nan
    told = answer(model, context, quiet)
    bare = ASKED.assign(x=np.nan)
    np.testing.assert_allclose(told["x"], answer(model, bare, quiet)["x"], rtol=1e-4)


def test_a_step_longer_than_any_is_taken_in_parts(model: FittedModel) -> None:
    longest = float(model.normalizer.known_high[-1] * model.time_step)
    few = pd.DataFrame(
        {"query_id": 1, "id": 3, "t": [0.0, 3 * longest], "x": [4.0, None], "a": [0.8, None]}
    )
    many = pd.DataFrame(
        {"query_id": 1, "id": 3, "t": longest * np.arange(4.0), "x": [4.0, None, None, None]}
    ).assign(a=[0.8, 0.8, 0.8, None])
    one, three = answer(model, few, quiet), answer(model, many, quiet)
    assert one["t"].tolist() == [3 * longest]
    np.testing.assert_allclose(one["x"], three["x"][2:], rtol=1e-6)
    assert float(one["support"].to_numpy()[0]) > 0.5
    lengths = [3 * longest, 0.5 * longest]
    draws = Simulator(model, 3).sample([4.0], [0.8, 0.8], 20, 0, lambda line: None, lengths=lengths)
    assert draws.shape == (20, 2, 1)


@pytest.mark.parametrize("dose", [True, False])
def test_what_acts_at_once_does_so_in_the_first_part_alone(dose: bool) -> None:
    df = TABLE.copy()
    for _, own in df.groupby("id"):
        h, x = np.diff(own["t"]), 3.0
        for k, row in enumerate(own.index[:-1]):
            df.loc[row, "x"] = x
            push = own["a"].iloc[k] * (1.0 if dose else h[k])
            x = 0.8 * x + 0.5 * push if not dose else (x + push) * np.exp(-0.3 * h[k])
        df.loc[own.index[-1], "x"] = x
    panel = PanelDataset.from_frame(df, ROLES, time_step="variable")
    problem = TrainingContext.of(panel, panel.transitions(), LINEAR)
    norm = problem.normalizer(np.arange(panel.n_transitions, dtype=np.int32))
    assert bool(norm.known_at_once) is dose
    longest = float(norm.known_high[-1])
    known = np.array([[[2.5 * longest], [1.0]], [[1.0], [0.5]]])
    action = np.array([[[1.5], [0.5]], [[0.2], [0.1]]])
    parts = in_parts(norm, action, known)
    assert parts is not None
    later = 0.0 if dose else 1.5
    assert parts.action[0, :, 0].tolist() == [1.5, later, later, 0.5]
    np.testing.assert_allclose(parts.known[0, :, 0], [*[2.5 / 3 * longest] * 3, 1.0])
    assert parts.action[1, :2, 0].tolist() == [0.2, 0.1]
    assert parts.last.tolist() == [[2, 3], [0, 1]]
    path = np.arange(16.0).reshape(2, 2, 4, 1)
    assert parts.ends(path)[..., 0].tolist() == [[[2, 3], [4, 5]], [[10, 11], [12, 13]]]


def test_a_question_from_friday_to_monday_is_answered() -> None:
    rng, frames = np.random.default_rng(4), []
    for name in ("a", "b", "c", "d"):
        days = pd.bdate_range("2026-01-05", periods=40)
        push, x = rng.normal(size=40), [rng.normal()]
        for k, h in enumerate(np.diff(days.to_numpy()) // np.timedelta64(1, "D")):
            state = x[-1]
            for _ in range(int(h)):  # a push lasts over the weekend
                state = 0.8 * state + 0.3 * push[k]
            x.append(state)
        frames.append(pd.DataFrame({"id": name, "t": days, "x": x, "a": push}))
    df: Any = pd.concat(frames, ignore_index=True)
    model = fit(PanelDataset.from_frame(df, ROLES), LINEAR)
    assert model.uneven
    assert model.time_step == pd.Timedelta("1D")
    question = {"query_id": 1, "id": "a", "t": ["2026-03-06", "2026-03-09"], "x": [1.0, None]}
    found = answer(model, pd.DataFrame(question).assign(a=[0.5, None]), lambda line: None)
    assert found["t"].tolist() == ["2026-03-09"]
    expected = 0.8**3 + 0.3 * 0.5 * (1 + 0.8 + 0.8**2)
    np.testing.assert_allclose(found["x"], expected, atol=0.05)
