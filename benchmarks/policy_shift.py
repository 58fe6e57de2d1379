"""How well models of HalfCheetah predict under a policy that their training data did not follow.

Held-out ends of trajectories cannot tell: they follow the same policy as the rest. Two comparisons
of recorded data can, without the test agents, the test policy or any true dynamics:

1. A policy is left out: one member is trained on the agents of all behaviour policies but one; the
   factors of that policy's agents are solved for from the later part of their data, and their first
   200 steps are predicted, 50 at a time.
2. Other data (``--judge``), for data without behaviour policies: one member is trained on one data
   set and judged on the first 200 steps of 200 agents in another.

Records go to ``results/policy_shift.jsonl``; what is there already is not run again.

    python benchmarks/policy_shift.py run --data pure
    python benchmarks/policy_shift.py run --data random --judge pure
    python benchmarks/policy_shift.py table
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "policy_shift.jsonl"
STEPS = 10_000  # of training: half of the suite's
FIRST, WINDOW = 200, 50  # steps that are predicted, and how many at a time

# Beside the settings of the suite, one change at a time.
SECOND_PHASE = {"unroll": 16, "unroll_steps": 500}
VARIANTS: dict[str, dict[str, Any]] = {
    "one step, decay 0.3": {"unroll": 1, "weight_decay": 0.3},
    "one step, decay 0.1": {"unroll": 1, "weight_decay": 0.1},
    "16 steps, decay 0.3": {**SECOND_PHASE, "weight_decay": 0.3},
    "16 steps, decay 0.1": {**SECOND_PHASE, "weight_decay": 0.1},
    "one step, decay 0.3, rank 16": {"unroll": 1, "weight_decay": 0.3, "rank": 16},
    "one step, decay 0.3, differences": {"unroll": 1, "weight_decay": 0.3, "direct": False},
    "one step, decay 1": {"unroll": 1, "weight_decay": 1.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--data", default="pure", help="data set of the models")
    parser.add_argument("--judge", help="another data set to judge them on")
    parser.add_argument(
        "--left-out", default="0,1,2,3", help="behaviour policies to leave out in turn"
    )
    parser.add_argument("--variants", help="names, separated by semicolons; all if left out")
    args = parser.parse_args()
    if args.what == "table":
        table()
        return
    names = map(str.strip, args.variants.split(";")) if args.variants else VARIANTS
    parts = [None] if args.judge else [int(k) for k in args.left_out.split(",")]
    for name in names:
        for part in parts:
            identity = {
                "data": args.data,
                "judge": args.judge,
                "left_out": part,
                "variant": name,
                "steps": STEPS,
            }
            if not any(identity.items() <= record.items() for record in records()):
                write(identity | measure(args.data, args.judge, part, VARIANTS[name]))


def measure(data_set: str, judge: str | None, left_out: int | None, change: dict[str, Any]) -> Any:
    import numpy as np

    from twinfold.benchmark.collect import collect
    from twinfold.config import FitConfig
    from twinfold.models.factor_model import Structure
    from twinfold.tasks import get_task
    from twinfold.tasks.task import agent_covariates
    from twinfold.training.ensemble import TrainingContext, stacked, train_members
    from twinfold.training.recipes import CONTACT, followed
    from twinfold.training.trainer import MemberJob

    base = followed(FitConfig(), CONTACT).model_dump() | {
        "features": "joint",
        "rank": 8,
        "steps": STEPS,
    }
    config = FitConfig.parse({**base, **change})
    task, n_agents = get_task("half_cheetah"), 500
    dataset = collect(task, data_set, n_agents, 0)
    data = dataset.transitions()
    problem = TrainingContext.of(dataset, data, config)
    rows = np.arange(len(data), dtype=np.int32)
    seen, judged = rows, np.arange(len(task.test_agents), len(task.test_agents) + 200)
    if left_out is not None:
        group = policy_of(task, agent_covariates(task, n_agents, 0))
        apart = group == left_out
        judged = np.setdiff1d(np.flatnonzero(apart), np.arange(len(task.test_agents)))
        seen = rows[~apart[data.agent]]
    normalizer = problem.normalizer(seen)
    structure = Structure(True, config.rank if isinstance(config.rank, int) else 8)
    job = MemberJob("one", 0, config.steps, 0.1, structure, problem.unrolled_steps(seen))
    begun = time.perf_counter()
    members, _ = train_members(problem, seen, normalizer, [job], "training")
    if left_out is not None:
        known = rows[~apart[data.agent] | (data.step >= FIRST)]
        members = factors_of(members, problem, normalizer, known)
    truth = data if judge is None else collect(task, judge, n_agents, 0).transitions()
    raw, standard = errors(stacked(members), normalizer, problem.angles, truth, judged)
    return {
        "rmse_first": float(raw[:, 0].mean()),
        "rmse_later": float(raw[:, 1:].mean()),
        "geometric_mean": float(np.exp(np.log(standard).mean())),
        "seconds": round(time.perf_counter() - begun, 1),
    }


def policy_of(task: Any, covariates: Any) -> Any:
    """The behaviour policy that each agent follows: that of the nearest training agent."""
    import numpy as np

    from twinfold.policies.recipes import RECIPES

    width = task.covariate_high - task.covariate_low
    gap = (covariates[:, None] - np.array(RECIPES[task.name].agents)) / width
    return np.round((gap**2).sum(axis=-1), 5).argmin(axis=1)


def factors_of(members: Any, problem: Any, normalizer: Any, rows: Any) -> Any:
    """The members with all factors solved for on some rows, with the nets as they are."""
    import jax.numpy as jnp

    from twinfold.training.factor_regression import solve_factors
    from twinfold.training.train_step import TrainData

    data = problem.data
    inputs = normalizer.inputs(normalizer.encode_state(data.state))
    given = TrainData(
        jnp.asarray(data.agent, jnp.int32),
        jnp.asarray(inputs, jnp.float32),
        jnp.asarray(normalizer.encode_action(data.action), jnp.float32),
        jnp.asarray(normalizer.encode_target(data.state, data.next_state), jnp.float32),
    )
    return solve_factors(members, given, rows)


def errors(members: Any, normalizer: Any, angles: Any, truth: Any, agents: Any) -> Any:
    """RMSE ``(agents, stretches)`` of 50 steps open loop: raw, and in standard deviations."""
    import numpy as np

    from twinfold.data.angles import wrap
    from twinfold.metrics import trimmed_mean
    from twinfold.models.rollout import rollout_members

    starts = np.flatnonzero((truth.step < FIRST) & (truth.step % WINDOW == 0))
    starts = starts[np.isin(truth.agent[starts], agents)]
    rows = starts[:, None] + np.arange(WINDOW)
    paths = rollout_members(
        members, normalizer, truth.agent[starts], truth.state[starts], truth.action[rows]
    )
    error = trimmed_mean(paths) - truth.next_state[rows]
    for d in angles:
        error[..., d] = wrap(error[..., d])
    standard = np.sqrt(np.square(error / normalizer.state_scale).mean(axis=(1, 2)))
    raw = np.sqrt(np.square(error).mean(axis=(1, 2)))
    shape = (len(agents), FIRST // WINDOW)
    return raw.reshape(shape), standard.reshape(shape)


def records() -> list[dict[str, Any]]:
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def write(record: dict[str, Any]) -> None:
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


def table() -> None:
    print("| trained on | judged on | variant | RMSE, first 50 steps | steps 50-200 | error |")
    print("|---|---|---|---|---|---|")
    for row in records():
        judge = row["judge"] or f"agents of policy {row['left_out']}"
        print(
            f"| {row['data']} | {judge} | {row['variant']} | {row['rmse_first']:.2f} | "
            f"{row['rmse_later']:.2f} | {row['geometric_mean']:.3f} |"
        )


if __name__ == "__main__":
    main()
