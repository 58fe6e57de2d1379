"""New agents: how few transitions make a simulator, what it costs, and what the bands hold.

The nets are fitted without the paper's five test agents and 95 others, which are reserved. Unseen
agents are those five (``plan``) and agents drawn with another seed (``error``, ``cover``). Settings
of the fits are those of ``suites/table1.toml``; the fourth system, two tanks with leaks, was never
looked at during development and has the default settings. Records go to
``results/adaptation.jsonl``; what is there already is not run again.

    python benchmarks/adaptation.py fit --task cart_pole --data random
    python benchmarks/adaptation.py error --task cart_pole --data random
    python benchmarks/adaptation.py plan --task cart_pole --data random
    python benchmarks/adaptation.py cover --task cart_pole --data random
    python benchmarks/adaptation.py many --task cart_pole --data random
    python benchmarks/adaptation.py static
    python benchmarks/adaptation.py time --task cart_pole --data random
    python benchmarks/adaptation.py table
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from adaptation_data import UNSEEN_SEED, first_rows, fitted, panel, unseen
from adaptation_tables import print_tables

from twinfold.adaptation.adapt import forget
from twinfold.adaptation.online import Tracker

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "adaptation.jsonl"
COUNTS = (0, 1, 3, 10, 30, 10_000)
N_PATHS = 40  # true trajectories of each agent
N_ERROR, N_COVER, SPLITS = 60, 400, 200
N_MANY = 2000  # agents to calibrate on, and to count
COLUMN_NOISE = 0.3  # of a static column, in standard deviations of what it tells


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", choices=("fit", "error", "plan", "cover", "few", "many", "static", "time", "table")
    )
    parser.add_argument("--task", default="cart_pole", help="a task, or tanks")
    parser.add_argument("--data", default="random", help="policy of the data")
    parser.add_argument("--agents", default="0,1,2,3,4", help="test agents to plan for")
    parser.add_argument("--episodes", type=int, default=5, help="per agent, to plan")
    given = parser.parse_args()
    if given.what == "table":
        print_tables(records(), COUNTS)
        return
    if given.what == "plan":
        plan(given.task, given.data, [int(n) for n in given.agents.split(",")], given.episodes)
        return
    parts = {"fit": fitted, "error": error, "cover": cover, "few": few, "many": many}
    parts["time"] = timing
    {**parts, "static": static}[given.what](given.task, given.data)


def error(task: str, data: str) -> None:
    """Error of 50 steps under the test policy, by number of transitions known."""
    from twinfold.adaptation.adapt import panel_transitions, with_transitions
    from twinfold.tasks import agent_covariates, get_task

    if done(what="error", task=task, data=data):
        return
    model, true = fitted(task, data), get_task(task)
    new = unseen(task, data, N_ERROR)
    physics = agent_covariates(true, N_ERROR + 5, UNSEEN_SEED)[5:]
    known = panel_transitions(model, new)
    rows: dict[str, Any] = {}
    for count in COUNTS:
        adapted = with_transitions(model, new.agent_ids, first_rows(known, count))
        rows[str(count)] = judged(true, adapted, new.agent_ids, physics)
    names = [
        name for name, seen in zip(model.agent_ids, model.posterior.trained, strict=True) if seen
    ][:N_ERROR]
    own = agent_covariates(true, 500, 0)[[int(name) for name in names]]
    rows["trained"] = judged(true, model, names, own)
    write(what="error", task=task, data=data, agents=N_ERROR, trajectories=N_PATHS, rmse=rows)


def judged(true: Any, model: Any, ids: Any, physics: Any) -> dict[str, float]:
    """Median and mean over agents of the error of 50 steps under the test policy."""
    from twinfold import metrics
    from twinfold.benchmark.collect import simulate_policy
    from twinfold.metrics import trimmed_mean
    from twinfold.models.rollout import rollout_members

    found = simulate_policy(true, physics, "test", N_PATHS, 50, seed=20_000)
    index = np.array([model.agent_index(name) for name in ids])
    states, actions = found.states, found.actions
    flat = len(ids) * N_PATHS
    paths = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(index, N_PATHS),
        states[:, :, 0].reshape(flat, -1).astype(np.float64),
        actions.reshape(flat, 50, *actions.shape[3:]),
    )
    middle = trimmed_mean(paths).reshape(len(ids), N_PATHS, 50, -1)
    errors = [
        float(metrics.rmse(middle[n], states[n, :, 1:], found.mask[n, :, :50]).mean())
        for n in range(len(ids))
    ]
    return {"median": float(np.median(errors)), "mean": float(np.mean(errors))}


def static(task: str, data: str) -> None:
    """The same error, if one column tells each hidden quantity of an agent, but poorly.

    The hidden physics are no input of any other figure; here noisy readings of them stand for what
    is known of an agent before any of its data, such as its size.
    """
    from twinfold.adaptation.adapt import panel_transitions, with_transitions
    from twinfold.models.static_prior import fit_static
    from twinfold.tasks import agent_covariates, get_task

    if done(what="static", task=task, data=data):
        return
    model, true = fitted(task, data), get_task(task)
    physics = agent_covariates(true, N_ERROR + 5, UNSEEN_SEED)[5:]
    all_own = agent_covariates(true, 500, 0)
    spread, rng = all_own.std(axis=0), np.random.default_rng(5)
    read = [x + COLUMN_NOISE * spread * rng.normal(size=x.shape) for x in (all_own, physics)]
    posterior = model.posterior
    trained = np.flatnonzero(posterior.trained)
    evidence = posterior.evidence.take(trained)
    metric = evidence.gram.sum(axis=1) / evidence.count.sum()
    factors = np.asarray(model.members.agents, np.float64)
    rows = [int(name) for name in model.agent_ids]
    learned = fit_static(
        posterior.prior.mean, factors[:, trained], metric, read[0][[rows[n] for n in trained]]
    )
    assert learned is not None
    values = np.full((len(rows), physics.shape[1]), np.nan)  # known agents keep their factors
    described = dataclasses.replace(
        model, posterior=posterior._replace(static=learned, values=values)
    )
    new = unseen(task, data, N_ERROR)
    known = panel_transitions(model, new)
    found: dict[str, Any] = {"columns": {}, "none": {}}
    for count in (0, 1, 3, 10):
        part = first_rows(known, count)
        with_columns = with_transitions(described, new.agent_ids, part, static=read[1])
        found["columns"][str(count)] = judged(true, with_columns, new.agent_ids, physics)
        without = with_transitions(model, new.agent_ids, part)
        found["none"][str(count)] = judged(true, without, new.agent_ids, physics)
    write(
        what="static",
        task=task,
        data=data,
        noise=COLUMN_NOISE,
        explained=float(learned.explained),
        rmse=found,
    )


def plan(task: str, data: str, agents: list[int], episodes: int) -> None:
    """Return of planning for the five test agents, unseen, by number of transitions known."""
    from twinfold.adaptation.adapt import with_transitions
    from twinfold.benchmark.protocol import evaluate_return
    from twinfold.tasks import get_task

    model, true = fitted(task, data), get_task(task)
    own = panel(task, data, 500, 0).select_agents(agents).transitions()
    without = forget(model, agents)
    for count in (10, 10_000):
        for agent in agents:
            if done(what="plan", task=task, data=data, count=count, agent=agent):
                continue
            adapted = with_transitions(without, tuple(agents), first_rows(own, count))
            record = evaluate_return(adapted, true, [agent], episodes=episodes, seed=agent)
            (row,) = record["agents"]
            write(
                what="plan",
                task=task,
                data=data,
                count=count,
                agent=agent,
                episodes=episodes,
                mean=row["mean"],
                std=row["std"],
            )


def cover(task: str, data: str) -> None:
    """Coverage of the simultaneous band on unseen agents, of the run and over random splits."""
    from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
    from twinfold.uncertainty.intervals import conformal_factor

    if done(what="cover", task=task, data=data):
        return
    model = fitted(task, data)
    scores = evaluate_holdout(model, unseen(task, data, N_COVER)).scores
    horizon = common_horizon(scores)
    level = model.config.band
    factor, n_calibration = conformal_factor(model.calibration.scores, level, horizon)
    own = scores[:, horizon - 1]
    own = own[~np.isnan(own)]
    # What another choice of calibration agents would have given: unseen agents, split at random.
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(SPLITS):
        order = rng.permutation(len(own))
        half = len(own) // 2
        value, _ = conformal_factor(own[order[:half], None], level, 1)
        shares.append(float((own[order[half:]] <= value).mean()))
    write(
        what="cover",
        task=task,
        data=data,
        nominal=level,
        horizon=horizon,
        agents=len(own),
        calibration_agents=n_calibration,
        coverage=float((own <= factor).mean()),
        factor=factor,
        splits={
            "mean": float(np.mean(shares)),
            "low": float(np.quantile(shares, 0.05)),
            "high": float(np.quantile(shares, 0.95)),
        },
    )


def few(task: str, data: str) -> None:
    """Coverage of the band on unseen agents by how many of their transitions are known.

    Beside it that of the band of agents known by half a trajectory, as far as it is narrower.
    """
    from twinfold.uncertainty.few_rows import few_rows
    from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
    from twinfold.uncertainty.intervals import band_factor

    if done(what="few", task=task, data=data):
        return
    model = fitted(task, data)
    others = unseen(task, data, N_COVER)
    found = evaluate_holdout(model, others)
    known = few_rows([(model, others)], [found])
    assert known is not None
    horizon = common_horizon(found.scores)
    plain, _ = band_factor(model, horizon)
    coverage = {}
    for count, scores in zip(known.counts.tolist(), known.scores[:, :, horizon - 1], strict=True):
        own = scores[~np.isnan(scores)]
        factor, _ = band_factor(model, horizon, count)
        coverage[count] = [float((own <= value).mean()) for value in (factor, plain)]
    write(what="few", task=task, data=data, horizon=horizon, agents=len(others.agent_ids),
          coverage=coverage)  # fmt: skip


def common_horizon(scores: Any) -> int:
    """The longest horizon that most agents' data reaches."""
    reach = (~np.isnan(scores)).sum(axis=0)
    return int(np.flatnonzero(reach >= len(scores) // 2)[-1]) + 1


def many(task: str, data: str) -> None:
    """Coverage if the band is calibrated on thousands of agents: what is left is no matter of luck.

    The nets are the same; agents that no fit has seen take the place of the reserved ones.
    """
    from twinfold.uncertainty.holdout_evaluation import evaluate_holdout
    from twinfold.uncertainty.intervals import conformal_factor

    if done(what="many", task=task, data=data, drawn=N_MANY):
        return
    model = fitted(task, data)
    usual, own = (
        evaluate_holdout(model, unseen(task, data, N_MANY, UNSEEN_SEED + k)).scores for k in (1, 2)
    )
    horizon = common_horizon(own)
    factor, n_calibration = conformal_factor(usual, model.config.band, horizon)
    own = own[:, horizon - 1]
    own = own[~np.isnan(own)]
    write(
        what="many",
        task=task,
        data=data,
        drawn=N_MANY,
        nominal=model.config.band,
        horizon=horizon,
        agents=len(own),
        calibration_agents=n_calibration,
        coverage=float((own <= factor).mean()),
        factor=factor,
    )


def timing(task: str, data: str) -> None:
    """One observation, one adaptation, and 100,000 agents of 20 transitions."""
    from twinfold.adaptation.adapt import panel_transitions, with_transitions

    model = fitted(task, data)
    known = panel_transitions(model, unseen(task, data, N_ERROR))
    row = first_rows(known, 20)
    levels = model.action_levels
    tracker = Tracker(model, "a new agent")

    def observe(k: int) -> None:
        action = row.action[k] if levels is None else levels[row.action[k]]
        tracker.observe(row.state[k], action, row.next_state[k])

    observe(0)
    spent = []
    for k in range(200):
        begun = time.perf_counter()
        observe(k % len(row))
        spent.append(time.perf_counter() - begun)
    solved = []
    for _ in range(50):
        begun = time.perf_counter()
        _ = tracker.factors
        solved.append(time.perf_counter() - begun)
    n_agents, each = 100_000, 20
    rows = np.resize(np.arange(len(row)), n_agents * each)
    many = dataclasses.replace(
        row.select(rows), agent=np.repeat(np.arange(n_agents, dtype=np.int32), each)
    )
    begun = time.perf_counter()
    adapted = with_transitions(model, tuple(f"n{n}" for n in range(n_agents)), many)
    seconds = time.perf_counter() - begun
    assert len(adapted.agent_ids) == len(model.agent_ids) + n_agents
    from twinfold.utils.cores import usable_cores

    write(
        what="time",
        task=task,
        data=data,
        observe_ms=1e3 * float(np.median(spent)),
        solve_ms=1e3 * float(np.median(solved)),
        many_seconds=seconds,
        cores=usable_cores(),
    )


def records() -> list[dict[str, Any]]:
    """All records so far."""
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def done(**identity: Any) -> bool:
    """Whether there is a record of this kind."""
    return any(identity.items() <= record.items() for record in records())


def write(**record: Any) -> None:
    """Append a record and print it."""
    RECORDS.parent.mkdir(exist_ok=True)
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
