"""A run whose truth is known passes, and each fault that is put into its data is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twinfold import FitConfig, fit
from twinfold.adaptation.adapt import panel_transitions
from twinfold.config import Kind
from twinfold.data.panel import PanelDataset
from twinfold.errors import UsageError
from twinfold.uncertainty.controls import CONSTANT, CONTROLS, SIMPLE
from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.uncertainty.matched_agents import match_agents
from twinfold.validation.identity_swap import same_agents
from twinfold.validation.thresholds import THRESHOLDS
from twinfold.validation.validate import Validation, validate
from twinfold.validation.verdict import VERDICTS

KNOWN = [f"u{n}" for n in range(30)]


def failed(found: Validation) -> set[str]:
    return {check.name for check in found.checks if check.status == "fail"}


def changed(panel: PanelDataset, change: Callable[[pd.DataFrame], Any]) -> PanelDataset:
    table = panel.to_frame()
    change(table)
    return PanelDataset.from_frame(table, panel.roles)


# Data without a fault


def test_the_run_s_own_reserved_agents_pass(world: Any) -> None:
    found = validate(world.model, world.own, seen=True)
    assert found.verdict == VERDICTS[3]
    record = found.record
    assert (record["agents"], record["trained_agents"], record["fresh"]) == (40, 40, False)
    assert set(record["pictures"]["ids"]) == {f"r{n}" for n in range(40)}
    names = [c["name"] for c in record["checks"]]
    assert {f"against {name}" for name in CONSTANT} < set(names)
    assert (record["reasons"], record["would_do"]) == ([], {})
    assert set(record["controls"]) == set(CONTROLS)
    assert record["best_control"] in SIMPLE
    assert record["criteria"]["level"] == THRESHOLDS.level


def test_fresh_data_of_new_agents_passes(world: Any) -> None:
    alarms = [failed(validate(world.model, world.fresh(40, seed))) for seed in range(100, 103)]
    assert alarms == [set()] * 3


def test_fresh_data_of_known_agents_passes(world: Any) -> None:
    found = validate(world.model, world.again(KNOWN, 8))
    assert found.verdict == VERDICTS[3]
    names = [check.name for check in found.checks]
    assert "mistaken identity" in names
    assert "fresh data" in names


def test_new_and_known_agents_are_judged_apart(world: Any) -> None:
    parts = [world.fresh(12, 100), world.again(KNOWN[:10], 8)]
    table = pd.concat([part.to_frame() for part in parts], ignore_index=True)
    found = validate(world.model, PanelDataset.from_frame(table, parts[0].roles))
    assert found.verdict == VERDICTS[3]
    bands = {check.name: check for check in found.checks if check.name.startswith("band")}
    assert bands["band"].values["agents"] == 12
    assert bands["band of known agents"].values["agents"] == 10
    calibration = found.record["pictures"]["calibration"]
    at = calibration["observed"][calibration["nominal"].index(0.9)]
    assert (at, calibration["agents"]) == (pytest.approx(bands["band"].values["coverage"]), 12)


def test_the_record_is_plain_json_and_draws_what_it_says(world: Any) -> None:
    found = validate(world.model, world.fresh(20, 3))
    record = json.loads(json.dumps(found.record, allow_nan=False))
    assert record == found.record
    pictures = record["pictures"]
    assert set(pictures["statistics"]) == set(STATISTICS)
    reach = len(pictures["by_horizon"]["model"])
    assert reach == 12
    shares = np.array([pictures["support"][name] for name in pictures["support"]])
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-9)
    observed = pictures["calibration"]["observed"]
    assert np.all(np.diff(observed) >= 0)
    nominal = pictures["calibration"]["nominal"]
    at = observed[nominal.index(0.9)]
    (band,) = (check for check in found.checks if check.name == "band")
    assert at == pytest.approx(band.values["coverage"])
    (worst, *others) = pictures["worst"]
    assert all(row["score"] <= worst["score"] for row in others)
    assert len(worst["truth"]) == len(worst["lower"]) == 12


def test_the_answer_does_not_depend_on_the_order_of_rows(world: Any) -> None:
    panel = world.fresh(12, 4)
    turned = PanelDataset.from_frame(panel.to_frame()[::-1], panel.roles)
    one, other = (validate(world.model, rows).record for rows in (panel, turned))
    assert {**other, "created": one["created"]} == one


# Faults


def test_swapped_ids_are_caught_by_name(world: Any) -> None:
    panel = world.again(KNOWN, 8)
    names = (KNOWN[1], KNOWN[0], *KNOWN[2:])
    found = validate(world.model, replace(panel, agent_ids=names))
    assert found.verdict == VERDICTS[0]
    (check,) = (check for check in found.checks if check.name == "mistaken identity")
    assert check.status == "fail"
    assert set(check.agents) == {"u0", "u1"}
    assert set(check.values["looks_like"]) == {"u0", "u1"}


def test_more_noise_is_caught(world: Any) -> None:
    found = validate(world.model, world.fresh(40, 5, noise=0.5))
    assert "reference shift: residual scale" in failed(found)


def test_shuffled_actions_are_caught(world: Any) -> None:
    def shuffle(table: pd.DataFrame) -> None:
        rng = np.random.default_rng(0)
        for _, rows in table.groupby("unit"):
            index = rows.index[:-1]
            table.loc[index, "a0"] = rng.permutation(table.loc[index, "a0"])

    found = validate(world.model, changed(world.again(KNOWN, 8), shuffle))
    assert "reference shift: action sensitivity" in failed(found)


def test_a_sensor_that_drifts_is_caught(world: Any) -> None:
    def drift(table: pd.DataFrame) -> None:
        table["s1"] += world.model.normalizer.state_scale[1] * table["t"] / 24

    assert failed(validate(world.model, changed(world.again(KNOWN, 8), drift)))


def test_another_regime_halfway_is_caught(world: Any) -> None:
    panel, other = world.again(KNOWN, 8), world.again([*KNOWN[1:], KNOWN[0]], 8)
    one, two = panel.to_frame(), other.to_frame()
    two["unit"] = one["unit"].to_numpy()
    late = one["t"] > 18
    columns = ["s0", "s1", "s2"]
    for _, rows in one.groupby("unit"):
        last, first = rows.index[18], rows.index[19:]
        jump = one.loc[last, columns] - two.loc[last, columns]
        one.loc[first, columns] = two.loc[first, columns] + jump
    assert late.any()
    found = validate(world.model, PanelDataset.from_frame(one, panel.roles))
    assert failed(found) & {
        "reference shift: residual growth",
        "reference shift: residual scale",
        "reference shift: trajectory error",
    }


def test_one_bad_agent_is_named(world: Any) -> None:
    def spoil(table: pd.DataFrame) -> None:
        rows = table["unit"] == "u7"
        table.loc[rows, "s2"] = np.random.default_rng(0).permutation(table.loc[rows, "s2"])

    found = validate(world.model, changed(world.again(KNOWN, 8), spoil))
    (check,) = (check for check in found.checks if check.name == "agents that fit badly")
    assert check.agents == ("u7",)
    assert found.record["pictures"]["worst"][0]["agent"] == "u7"


# What cannot be validated


def test_data_without_an_end_is_refused(world: Any) -> None:
    with pytest.raises(UsageError, match="three rows in a row"):
        validate(world.model, world.fresh(4, 1, length=1))
    with pytest.raises(UsageError, match="fit with --reserve"):
        validate(world.model, world.own.select_agents(KNOWN), seen=True)
    other = world.fresh(4, 1).to_frame().rename(columns={"s1": "speed"})
    roles = world.model.roles.model_copy(update={"state": ("s0", "speed", "s2")})
    with pytest.raises(UsageError, match="'s1'"):
        validate(world.model, PanelDataset.from_frame(other, roles))


def test_without_reserved_agents_fresh_data_is_still_compared_with_controls(world: Any) -> None:
    model = replace(world.model, calibration=None)
    found = validate(model, world.fresh(20, 3))
    assert found.verdict == VERDICTS[2]  # of the band nothing is known: no ground for plans
    unknown = [check.name for check in found.checks if check.status == "unknown"]
    assert {"band", "reference shift", "agents that fit badly"} <= set(unknown)
    assert [row["check"] for row in found.record["reasons"]] == ["band"]
    assert found.record["pictures"]["calibration"] is None


@pytest.mark.parametrize("number", [1, 6])
def test_of_few_agents_it_cannot_be_told(world: Any, number: int) -> None:
    found = validate(world.model, world.fresh(number, 3))
    by_name = {check.name: check.status for check in found.checks}
    assert by_name["against persistence"] == "unknown"
    assert by_name["against the best simple control"] == "unknown"
    assert found.verdict == "cannot tell"
    assert found.record["would_do"]["agents"] > number
    assert "fewer than 7 never do" in found.record["would_do"]["text"]
    json.dumps(found.record, allow_nan=False)


def test_constant_actions_leave_predictions_usable(world: Any) -> None:
    def hold(table: pd.DataFrame) -> None:
        table.loc[table["a0"].notna(), "a0"] = 0

    model, panel = world.model, world.again(KNOWN, 8)
    held = changed(panel, hold)
    # What the model itself would do under that action is the truth here.
    found = evaluate_holdout(model, held)
    path, start = found.middle, panel.to_frame()
    table = held.to_frame()
    for s, n in enumerate(found.agent):
        rows = table.index[table["unit"] == panel.agent_ids[n]]
        length = int(found.ends.mask[s].sum())
        table.loc[rows[-length:], ["s0", "s1", "s2"]] = path[s, :length]
    assert len(start) == len(table)
    result = validate(model, PanelDataset.from_frame(table, panel.roles))
    (check,) = (check for check in result.checks if check.name == "against other actions")
    assert check.status == "unknown"
    assert "cannot say what actions do" in check.advice
    assert "against other actions" not in failed(result)
    assert VERDICTS.index(result.verdict) < 3


def white_noise(world: Any, ids: list[str], length: int, seed: int) -> PanelDataset:
    """Tables of the agents' own form, of which nothing follows from anything."""
    table = world.again(ids, seed, length=length).to_frame()
    rng, norm = np.random.default_rng(seed), world.model.normalizer
    for d, name in enumerate(("s0", "s1", "s2")):
        table[name] = norm.state_mean[d] + norm.state_scale[d] * rng.normal(size=len(table))
    return PanelDataset.from_frame(table, world.model.roles)


@pytest.mark.parametrize("reserved", [True, False])
@pytest.mark.parametrize(("agents", "length"), [(1, 2), (4, 2), (8, 2), (12, 24), (40, 24)])
def test_white_noise_never_passes(world: Any, agents: int, length: int, reserved: bool) -> None:
    model = world.model
    if not reserved:
        model = replace(model, calibration=None)
    panel = white_noise(world, [f"u{n}" for n in range(agents)], length, 3)
    assert validate(model, panel).verdict in ("not usable", "cannot tell")


def test_a_model_of_white_noise_does_not_pass_on_more_of_it(world: Any) -> None:
    """One that predicts the mean beats no change by far, and is no better than the mean."""
    model = world.model
    norm = model.normalizer
    direct = replace(
        norm,
        keep=np.zeros(3),
        target_mean=norm.state_mean,
        target_scale=np.full(3, 1e-6),
    )
    model = replace(model, normalizer=direct, calibration=None)
    panel = white_noise(world, [f"u{n}" for n in range(30)], 24, 4)
    found = validate(model, panel)
    status = {check.name: check.status for check in found.checks}
    assert status["against persistence"] == "pass"
    assert status["against mean of all"] != "pass"
    assert found.verdict in ("not usable", "cannot tell")


def test_a_run_of_one_transition_never_passes(world: Any) -> None:
    """However well it happens to predict."""
    posterior = world.model.posterior
    count = np.where(posterior.trained, 0, posterior.evidence.count)
    count[0] = 1
    evidence = posterior.evidence._replace(count=count)
    model = replace(world.model, posterior=posterior._replace(evidence=evidence))
    found = validate(model, world.fresh(20, 3))
    assert found.verdict == "cannot tell"
    assert [row["check"] for row in found.record["reasons"]] == ["data of the fit"]


def _matched(model: Any, panel: PanelDataset) -> tuple[Any, ...]:
    place = match_agents(model, panel).in_model
    return model, panel.agent_ids, place, panel_transitions(model, panel)


def test_clean_tables_are_hardly_accused(world: Any) -> None:
    """Of twenty tables without a fault at most one has an agent taken for another."""
    accused = 0
    for seed in range(20):
        panel = world.again(KNOWN, 200 + seed, noise=[0.02, 0.05, 0.1, 0.3][seed % 4])
        check = same_agents(*_matched(world.model, panel))
        accused += check is not None and check.status == "fail"
    assert accused <= 1


def test_swapped_ids_are_caught_in_most_tables(world: Any) -> None:
    caught = 0
    for seed in range(10):
        panel = world.again(KNOWN, 300 + seed)
        a, b = np.random.default_rng(seed).permutation(30)[:2]
        names = list(KNOWN)
        names[a], names[b] = names[b], names[a]
        check = same_agents(*_matched(world.model, replace(panel, agent_ids=tuple(names))))
        assert check is not None
        caught += check.status == "fail" and set(check.agents) >= {KNOWN[a], KNOWN[b]}
    assert caught >= 8


def test_new_agents_of_one_transition_are_left_aside(world: Any) -> None:
    lone = world.fresh(7, 4, length=1).to_frame()
    lone = lone[lone["unit"] == "n6"]
    tables = [world.fresh(6, 3).to_frame(), lone, world.again(["u3"], 8, length=1).to_frame()]
    panel = PanelDataset.from_frame(pd.concat(tables, ignore_index=True), world.model.roles)
    found = validate(world.model, panel)
    assert found.record["agents"] == 7  # a single step of a known agent is predicted


def test_a_member_that_diverged_fails_nothing_but_what_it_spoils(world: Any) -> None:
    model = world.model
    members = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * 3), model.members)
    posterior = model.posterior
    prior, evidence = (
        type(part)(*(np.concatenate([x] * 3) if x.ndim > 1 else x for x in part))
        for part in (posterior.prior, posterior.evidence)
    )
    stack = replace(
        model, members=members, posterior=posterior._replace(prior=prior, evidence=evidence)
    )
    spoiled = jax.tree.map(lambda leaf: leaf.at[2].set(jnp.nan), members)
    panel = world.again(KNOWN, 8)
    whole = validate(stack, panel)
    found = validate(replace(stack, members=spoiled), panel)
    assert whole.verdict == VERDICTS[3]
    statuses = {check.name: check.status for check in found.checks}
    assert statuses["against persistence"] == statuses["reference shift: residual scale"] == "pass"


@pytest.mark.parametrize("kind", ["drift", "pooled", "own drift"])
def test_of_one_model_for_all_agents_there_is_nothing_of_their_own(kind: Kind) -> None:
    rng = np.random.default_rng(4)
    table = pd.DataFrame({"id": np.repeat(range(12), 9), "t": np.tile(range(9), 12)})
    table["x"] = table["t"] + rng.normal(size=len(table))
    panel = PanelDataset.from_frame(table, {"agent": "id", "time": "t", "state": ["x"]})
    config = FitConfig(linear=kind, rank=0, effort="quick")
    model = fit(panel.select_agents(range(6)), config, reserve=0)
    checks = {c.name: c for c in validate(model, panel.select_agents(range(6, 12))).checks}
    names = ("against average agent", "against another agent", "coverage by own data")
    alike = [checks[name].figure == "one model for all agents" for name in names]
    assert alike == [kind != "own drift"] * 3
    assert model.members.alike is (kind != "own drift")
    if kind != "own drift":
        assert {checks[name].status for name in names} == {"unknown"}
