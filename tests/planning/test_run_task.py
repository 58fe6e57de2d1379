"""Plans and values of a run's own reward: words, mixed actions, forbidden ones, learned rewards."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold.config import FitConfig
from twinfold.data.actions import ActionCode
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.errors import UsageError
from twinfold.models.fitted_model import FittedModel
from twinfold.ope.policy_value import policy_value
from twinfold.planning.choice import ActionChoice, ChosenDynamics
from twinfold.planning.config import PlanConfig
from twinfold.planning.plan import plan_once
from twinfold.planning.run_task import RUN_TASK, acted_on, level_counts, run_task, unknown_effect
from twinfold.policy_learning import World
from twinfold.policy_learning.world import advance, begin
from twinfold.simulation.simulator import Simulator
from twinfold.simulation.what_if import answer
from twinfold.training.fit import fit
from twinfold.training.run_directory import load_run
from twinfold.training.run_writer import save_run

MODES = np.array(["drain", "fill", "hold"])
QUICK = PlanConfig(planner="icem", candidates=40, horizon=4, rounds=3)
STICKY = PlanConfig(planner="sticky", candidates=40, horizon=4)
FAST = FitConfig(linear="pooled", rank=0, behaviour_steps=0)


def tanks(n_agents: int = 12, n_rows: int = 25) -> pd.DataFrame:
    """Levels that rise by the amount, fall by twice it, or stay, with a reward and an end."""
    rng = np.random.default_rng(0)
    mode, amount = rng.integers(0, 3, (n_agents, n_rows)), rng.uniform(1, 2, (n_agents, n_rows))
    amount[mode == 2] = 0.5
    change = np.choose(mode, [-2 * amount, amount, 0 * amount])
    level = 50 + np.cumsum(change, axis=1) - change
    after = level + change
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(n_agents), n_rows),
            "t": np.tile(np.arange(n_rows), n_agents),
            "level": level.ravel(),
            "mode": MODES[mode.ravel()],
            "amount": amount.ravel(),
            "r": (-((after - 52) ** 2) - 0.5 * (mode == 1) * amount).ravel(),
            "end": False,
        }
    )


ROLES: dict[str, Any] = {"agent": "id", "time": "t", "state": "level", "reward": "r"}


@pytest.fixture(scope="module")
def mixed() -> FittedModel:
    roles = {**ROLES, "action": ["mode", "amount"], "action_type": ["discrete", "continuous"]}
    return fit(PanelDataset.from_frame(tanks(), roles), FAST, reserve=0)


@pytest.fixture(scope="module")
def words() -> FittedModel:
    roles = {**ROLES, "action": "mode", "action_type": "discrete"}
    return fit(PanelDataset.from_frame(tanks(), roles), FAST, reserve=0)


def plan(model: FittedModel, task: Any, config: PlanConfig, **options: Any) -> Any:
    return plan_once(model, task, 3, [50.0], config, warn=lambda line: None, **options)


def test_a_plan_reaches_what_the_expression_asks_for(mixed: FittedModel) -> None:
    found = plan(mixed, run_task(mixed, "-(next.level - 53)^2"), QUICK)
    assert found.rollout.centre[-1, 0] == pytest.approx(53, abs=0.4)
    assert found.actions[0, 0] == "fill"
    assert set(found.actions[:, 0]) <= set(MODES)
    assert found.record()["action_columns"] == ["mode", "amount"]
    # The score is that of the simulator's own answer under the plan, step by step.
    path = Simulator(mixed, 3).rollout([50.0], found.actions).centre[:, 0]
    assert found.score == pytest.approx(-np.square(path - 53).sum(), rel=1e-3)


def test_amounts_of_a_plan_are_those_of_the_level(mixed: FittedModel) -> None:
    choice = run_task(mixed, "level").choice
    drain, fill, hold = np.eye(3)
    for preference, amount, expected in ((hold, 2.0, 0.5), (drain, 0.0, 1.0), (fill, 9.0, 2.0)):
        level, given = choice.parts(np.r_[preference, amount], np)
        assert given[0] == pytest.approx(expected, abs=0.05)
        taken = choice.taken(np.r_[preference, amount], np)
        assert mixed.action_code.unpack(taken)[0] == level


def test_what_is_forbidden_is_not_planned(mixed: FittedModel, words: FittedModel) -> None:
    wish = "-(next.level - 53)^2"
    task = run_task(words, wish, forbidden="mode == 'fill'")
    assert task.n_actions == 2
    assert set(plan(words, task, STICKY).actions) <= {"drain", "hold"}
    task = run_task(mixed, wish, forbidden="mode == 'fill' and amount > 1.2")
    found = plan(mixed, task, QUICK)
    allowed = (found.actions[:, 0] != "fill") | (found.actions[:, 1].astype(float) <= 1.2 + 1e-5)
    assert allowed.all()
    with pytest.raises(UsageError, match="forbids every action"):
        run_task(words, wish, forbidden="true")
    with pytest.raises(UsageError, match="forbids every action"):
        run_task(mixed, wish, forbidden="amount > 0")


@pytest.mark.parametrize(
    ("forbidden", "most"), [("mode == 'fill' and amount > 1.1", 1.1), ("amount >= 1.05", 1.05)]
)
def test_where_little_is_allowed_a_plan_is_still_the_best_one(
    mixed: FittedModel, forbidden: str, most: float
) -> None:
    """What is forbidden of an amount is no part of its range: plans need not find their way out."""
    task = run_task(mixed, "level", forbidden=forbidden)
    found = plan(mixed, task, QUICK)
    assert found.actions[:3, 0].tolist() == ["fill"] * 3  # what the last one leads to earns nothing
    amounts = found.actions[:3, 1].astype(float)
    assert (amounts <= most).all() if ">=" not in forbidden else (amounts < most).all()
    best = Simulator(mixed, 3).rollout([50.0], [["fill", most]] * 4).centre[:3, 0].sum() + 50
    assert found.score == pytest.approx(best, abs=0.3)


def test_amounts_with_a_forbidden_part_within_keep_their_range(mixed: FittedModel) -> None:
    plain = run_task(mixed, "level").choice
    holed = run_task(mixed, "level", forbidden="1.2 < amount and amount < 1.4").choice
    assert holed == plain
    above = run_task(mixed, "level", forbidden="mode == 'drain' and amount < 1.5").choice
    np.testing.assert_allclose(above.low[0], 1.5, atol=1e-6)
    assert above.low[1:] == plain.low[1:]
    gone = run_task(mixed, "level", forbidden="amount < 0.7").choice
    assert len(gone.allowed) == 2  # what holds has no other amount


def test_levels_and_parts_of_several_amounts_are_left_out() -> None:
    roles = Roles(agent="id", time="t", state=("x",), action=("u", "v"), action_type="continuous")
    choice = ActionChoice(ActionCode(roles, ()), (), ((0.0, -1.0),), ((1.0, 1.0),))
    left = choice.without(lambda level, amount: (amount[:, 0] > 0.5) | (amount[:, 1] < 0), 4001)
    assert left is not None
    np.testing.assert_allclose([*left.low[0], *left.high[0]], [0, 0, 0.5, 1], atol=0.01)
    assert choice.without(lambda level, amount: amount[:, 0] < 2, 100) is None


def test_a_reward_is_learned_from_its_column(
    mixed: FittedModel, words: FittedModel, tmp_path: Any
) -> None:
    goal = mixed.goal
    assert goal is not None
    assert goal.explained > 0.99
    task = run_task(mixed)
    assert task.name.startswith("reward column 'r', learned (")
    state, after = jnp.array([51.0]), jnp.array([52.5])
    action = jnp.array([0, 1, 0, 1.5])
    truth = -(0.5**2) - 0.75
    assert float(task.reward(state, action, after)) == pytest.approx(truth, abs=0.3)
    assert not bool(task.terminated(after))
    save_run(mixed, tmp_path / "run")
    again = run_task(load_run(tmp_path / "run"))
    assert float(again.reward(state, action, after)) == pytest.approx(
        float(task.reward(state, action, after))
    )
    stays = jnp.array([52.0])
    held = float(run_task(words).reward(stays, jnp.array(2), stays))
    assert held == pytest.approx(0.0, abs=1.0)


def test_the_expression_of_the_roles_is_used_unless_another_is_given() -> None:
    roles = {**ROLES, "action": "mode", "action_type": "discrete", "reward": "2 * level"}
    model = fit(PanelDataset.from_frame(tanks(6, 12), roles), FAST, reserve=0)
    assert model.goal is None
    step = jnp.array([3.0]), jnp.array(0), jnp.array([4.0])
    assert float(run_task(model).reward(*step)) == 6
    assert float(run_task(model, "next.level").reward(*step)) == 4
    none = dataclasses.replace(
        model, roles=model.roles.model_copy(update={"reward_expression": None})
    )
    with pytest.raises(UsageError, match="nothing says what is to be gained: give --reward"):
        run_task(none)


def test_a_plan_is_no_longer_than_an_episode(words: FittedModel) -> None:
    found = plan(words, run_task(words, "level", max_steps=2), STICKY)
    assert len(found.actions) == found.config.search.horizon == 2


@pytest.mark.parametrize("reward", ["1 / (level - level)", "0 - level * 1e9"])
def test_a_reward_that_is_no_number_is_refused(words: FittedModel, reward: str) -> None:
    with pytest.raises(UsageError, match="no plan that was tried has a finite return"):
        plan(words, run_task(words, reward), STICKY)


def test_levels_are_counted_and_planned_with_where_values_are_missing() -> None:
    frame = tanks(8, 15)
    frame["other"] = np.where(np.arange(len(frame)) % 3 == 1, np.nan, frame["level"])
    frame.loc[frame["mode"] == "hold", "mode"] = "fill"
    frame.loc[40, "mode"] = "hold"
    roles = {**ROLES, "state": ["level", "other"], "action": "mode", "action_type": "discrete"}
    model = fit(PanelDataset.from_frame(frame, roles), FAST, reserve=0)
    counts = frame[frame["t"] < 14].groupby("mode").size()
    found = level_counts(model)  # rows that begin with a missing value count less
    assert np.all((found <= counts[MODES]) & (found > 0.9 * counts[MODES]))
    assert found[2] == 1
    task = run_task(model, "-(next.level - 53)^2", forbidden="mode == 'hold'")
    found = plan_once(model, task, 3, [50.0, 50.0], STICKY, warn=lambda line: None)
    assert set(found.actions) <= {"drain", "fill"}


def test_an_end_stops_the_earning(words: FittedModel) -> None:
    endless = policy_value(
        words, run_task(words, "1"), 3, "random", horizon=6, draws=20, n_starts=3
    )
    ended = policy_value(
        words, run_task(words, "1", "level > -999"), 3, "random", horizon=6, draws=20, n_starts=3
    )
    assert (endless.value, ended.value) == (6, 1)
    assert ended.ended == 1


def test_values_and_worlds_of_mixed_actions(mixed: FittedModel) -> None:
    task = run_task(mixed, "-abs(next.level - 50)", max_steps=5)
    found = policy_value(mixed, task, 3, "random", draws=20, n_starts=4)
    assert found.horizon == 5
    assert np.isfinite(found.returns).all()
    with pytest.raises(UsageError, match="preference for drain, preference for fill"):
        policy_value(mixed, task, 3, lambda s, k: jnp.zeros(2), draws=20, n_starts=2)
    with pytest.raises(UsageError, match="unknown policy 'pure'; valid: random, plan"):
        policy_value(mixed, task, 3, "pure", draws=20, n_starts=2)
    world = World.of_task(task, acted_on(mixed.dynamics(3), task), np.array([[50.0]]))
    now = begin(world, jax.random.key(0), 2)
    hold = jnp.broadcast_to(jnp.array([0, 0, 1, 0.5]), (1, 2, 4))
    outcome = advance(world, now, hold, jax.random.key(1))[1]
    np.testing.assert_allclose(outcome.next_state, 50, atol=0.2)
    np.testing.assert_allclose(outcome.reward, 0, atol=0.2)


def test_chosen_dynamics_are_the_model_under_what_is_taken(mixed: FittedModel) -> None:
    stack = mixed.dynamics(3)
    one: Any = jax.tree.map(lambda leaf: leaf[0], stack)
    choice = ActionChoice.of_model(mixed, [1, 2])
    chosen = ChosenDynamics(one, choice)
    action = jnp.array([0.2, 0.9, 0.5])  # hold
    carry = chosen.init(jnp.array([50.0]))
    after = chosen.step(carry, chosen.encode(action))[1]
    code = mixed.action_code.pack(np.array(2), np.array([0.5]))
    expected = one.step(carry, one.encode(jnp.asarray(code, jnp.float32)))[1]
    np.testing.assert_allclose(after, expected)


def test_nothing_is_planned_where_nobody_acts() -> None:
    data = PanelDataset.from_frame(tanks(6, 12), {**ROLES, "reward": None})
    model = fit(data, FAST, reserve=0)
    with pytest.raises(UsageError, match="no action column: it predicts"):
        run_task(model, "level")
    path = Simulator(model, 3).rollout([50.0], 4)
    assert path.centre.shape == (4, 1)
    with pytest.raises(UsageError, match="number of steps"):
        Simulator(model, 3).rollout([50.0], [1.0, 2.0])


def test_a_plan_abstains_where_one_row_carries_what_an_action_does() -> None:
    frame = tanks(8, 15)
    frame["amount"] = 0.0
    frame.loc[40, "amount"] = 1.0
    roles = {**ROLES, "action": "amount", "action_type": "continuous"}
    model = fit(PanelDataset.from_frame(frame, roles), FAST, reserve=0)
    found = plan(model, run_task(model, "level"), QUICK)
    assert found.reason is not None
    assert "what 'amount' does rests on a handful of rows" in found.reason
    frame["mode"] = "hold"
    frame.loc[40, "mode"] = "fill"
    roles = {**ROLES, "action": "mode", "action_type": "discrete"}
    model = fit(PanelDataset.from_frame(frame, roles), FAST, reserve=0)
    assert level_counts(model).tolist() == [1, 8 * 14 - 1]
    assert "takes the action fill, and of what it does 1 row" in str(
        unknown_effect(model, np.array([1, 0]))
    )
    assert unknown_effect(model, np.array([1, 1])) is None


def test_amounts_of_few_rows_that_all_vary_are_no_handful() -> None:
    frame = tanks(3, 9)
    frame["amount"] = np.random.default_rng(0).normal(size=len(frame))
    roles = {**ROLES, "action": "amount", "action_type": "continuous"}
    model = fit(PanelDataset.from_frame(frame, roles), FAST, reserve=0)
    width = np.ptp(model.sample.action[:, 0])
    varied = len(model.sample.action) * (model.sample.action[:, 0].std() / width) ** 2
    assert varied < RUN_TASK.handful + 0.5  # as much as two rows at an end of the range would
    assert unknown_effect(model, np.zeros((3, 1))) is None


@pytest.mark.parametrize(("kind", "reacts"), [("no change", False), ("drift", False),
                                              ("own drift", False), ("pooled", True)])  # fmt: skip
def test_plans_and_answers_warn_where_the_model_reacts_to_nothing(kind: Any, reacts: bool) -> None:
    roles = {**ROLES, "action": ["amount"], "action_type": "continuous"}
    config = FAST.model_copy(update={"linear": kind})
    model = fit(PanelDataset.from_frame(tanks(), roles), config, reserve=0)
    assert model.members.reacts == reacts
    said: list[str] = []
    plan_once(model, run_task(model, "-level"), 3, [50.0], QUICK, warn=said.append)
    Simulator(model, 3).rollout([50.0], [1.0, 2.0], said.append)
    question = {"query_id": 1, "id": 3, "t": [25, 26], "level": [50.0, None], "amount": 1.0}
    answer(model, pd.DataFrame(question), said.append)
    hits = [line for line in said if "what is done changes nothing in these answers" in line]
    assert len(hits) == (0 if reacts else 3)
