"""What the settings of HalfCheetah's models and plans are worth.

``model`` compares variants of the model by held-out error on one data set; no true dynamics are
used. ``plan`` compares settings of the planner by return in the true task, on agents that are never
evaluated elsewhere (ids 5 and up). ``plain`` is what a stranger gets: a fit of fresh data with
defaults, and the return of the paper's test agents with it. ``error`` takes the error of the test
agents under the test policy apart: by horizon, by coordinate, inside and outside the range of the
data. ``step`` times a control step with the default settings on one core. Records go to
``results/half_cheetah.jsonl``, one line per variant; what is there already is not run again.

    python benchmarks/half_cheetah.py model --policy random
    python benchmarks/half_cheetah.py plan --run runs/bench/half_cheetah-random-0-...
    python benchmarks/half_cheetah.py plain --seed 7
    python benchmarks/half_cheetah.py error --run runs/bench/half_cheetah-random-0-...
    python benchmarks/half_cheetah.py step --run runs/bench/half_cheetah-random-0-...
    python benchmarks/half_cheetah.py table
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "half_cheetah.jsonl"

# Beside the settings of the suite, one change at a time.
MODELS: dict[str, dict[str, Any]] = {
    "as in the suite": {},
    "separable, rank 42": {"features": "separable", "rank": 42},
    "rank 4": {"rank": 4},
    "rank 16": {"rank": 16},
    "ReLU": {"activation": "relu"},
    "learning rate 2e-3": {"learning_rate": 2e-3},
    "no weight decay": {"weight_decay": 0.0},
    "weight decay 0.3": {"weight_decay": 0.3},
    "no second phase": {"unroll": 1},
    "second phase over 8 steps": {"unroll": 8},
    "differences only": {"direct": False},
    "nets of 400": {"state_net": (400, 400)},
    "three layers": {"state_net": (256, 256, 256)},
    "half the steps": {"steps": 10_000},
}

PLANS: dict[str, dict[str, Any]] = {
    "as in the defaults": {},
    "no terminal value": {"terminal_value": "none"},
    "no price of leaving the policy": {"behaviour": 0.0},
    "a low price": {"behaviour": 0.15},
    "no price of disagreement": {"disagreement": 0.0},
    "a high price of disagreement": {"disagreement": 2.0},
    "horizon 30": {"horizon": 30, "candidates": 70},
    "smoother noise": {"noise_beta": 2.0},
    "white noise": {"noise_beta": 0.0},
    "wider noise": {"spread": 0.5},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("model", "plan", "plain", "error", "step", "table"))
    parser.add_argument("--policy", default="random", help="data set of the models")
    parser.add_argument("--run", type=Path, help="run directory to plan with")
    parser.add_argument("--agents", type=int, default=8, help="development agents to plan for")
    parser.add_argument("--variants", help="names, separated by semicolons; all if left out")
    parser.add_argument("--steps", type=int, default=300, help="length of an episode")
    parser.add_argument("--repeats", type=int, default=60, help="timed control steps")
    parser.add_argument("--seed", type=int, default=7, help="of the data of a plain fit")
    parser.add_argument("--episodes", type=int, default=2, help="per agent, of a plain fit")
    args = parser.parse_args()
    if args.what == "table":
        table()
    elif args.what == "model":
        compare_models(args.policy, args.variants)
    elif args.what == "plain":
        plain_fit(args.policy, args.seed, args.episodes)
    elif args.run is None:
        parser.error(f"{args.what} needs --run")
    elif args.what == "error":
        take_apart(args.run)
    elif args.what == "step":
        time_step(args.run, args.repeats)
    else:
        compare_plans(args.run, args.agents, args.steps, args.variants)


def chosen(variants: dict[str, Any], names: str | None) -> dict[str, Any]:
    """The variants that are asked for."""
    if names is None:
        return variants
    return {name: variants[name] for name in map(str.strip, names.split(";"))}


def compare_models(policy: str, names: str | None) -> None:
    from twinfold.benchmark.collect import collect
    from twinfold.config import FitConfig
    from twinfold.tasks import get_task
    from twinfold.training.ensemble import TrainingContext
    from twinfold.training.model_selection import select_model
    from twinfold.training.recipes import CONTACT, followed

    # One structure, one schedule: nothing but the variant differs.
    base = followed(FitConfig(), CONTACT).model_dump() | {
        "features": "joint",
        "rank": 8,
        "shrinkages": (0.3,),
        "linear": "none",
    }
    dataset = collect(get_task("half_cheetah"), policy, 500, 0)
    data = dataset.transitions()
    for name, change in chosen(MODELS, names).items():
        settings = FitConfig.parse({**base, **change})
        identity = {
            "what": "model",
            "data": policy,
            "variant": name,
            "settings": settings.model_dump(mode="json"),
        }
        if done(identity):
            continue
        begun = time.perf_counter()
        found = select_model(
            dataset, TrainingContext.of(dataset, data, settings), lambda line: None
        ).validation
        write(
            identity
            | {
                "geometric_mean": found["trials"][0]["geometric_mean"],
                "mean": found["rmse"],
                "persistence": found["persistence_rmse"],
                "by_horizon": found["rmse_by_horizon"],
                "seconds": round(time.perf_counter() - begun, 1),
            }
        )


def compare_plans(run: Path, n_agents: int, steps: int, names: str | None) -> None:
    from twinfold.benchmark.protocol import evaluate_return
    from twinfold.planning.presets import plan_config
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    model = load_run(run)
    task = dataclasses.replace(get_task("half_cheetah"), max_steps=steps)
    agents = range(5, 5 + n_agents)
    for name, change in chosen(PLANS, names).items():
        config = plan_config(task.name, task.action_type, **change)
        identity = {
            "what": "plan",
            "data": model.info.source["policy"],
            "variant": name,
            "steps": steps,
            "agents": list(agents),
        }
        if done(identity):
            continue
        record = evaluate_return(model, task, agents, episodes=1, plan=config)
        write(
            identity
            | {
                "settings": config.model_dump(mode="json"),
                "return_per_step": [row["mean"] / steps for row in record["agents"]],
            }
        )


def plain_fit(policy: str, seed: int, episodes: int) -> None:
    """What ``twinfold data collect``, ``fit`` and ``evaluate return`` say, without any setting."""
    from twinfold.benchmark.collect import collect, provenance
    from twinfold.benchmark.protocol import evaluate_return
    from twinfold.tasks import get_task
    from twinfold.training.fit import fit

    identity = {"what": "plain", "data": policy, "seed": seed, "episodes": episodes}
    if done(identity):
        return
    task = get_task("half_cheetah")
    source = provenance(task, policy, 500, seed)
    source.pop("covariates")
    model = fit(collect(task, policy, 500, seed), source=source, log=print)
    agents = evaluate_return(model, task, episodes=episodes)["agents"]
    write(
        identity
        | {
            "structure": f"{model.info.features}, rank {model.info.rank}",
            "agents": [row["agent"] for row in agents],
            "returns": [row["values"] for row in agents],
        }
    )


def take_apart(run: Path) -> None:
    import jax
    import numpy as np

    from twinfold.benchmark.protocol import predict
    from twinfold.metrics import trimmed_mean
    from twinfold.planning import DataBox
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    model, task = load_run(run), get_task("half_cheetah")
    excess = jax.jit(jax.vmap(DataBox.of_model(model, 0.0).excess))
    for agent, found in enumerate(predict(model, task, range(5), trajectories=100)):
        identity = {"what": "error", "data": model.info.source["policy"], "agent": agent}
        if done(identity):
            continue
        true = found.true[:, 1:]
        error = (trimmed_mean(found.members) - true) / model.normalizer.state_scale
        squared = np.where(found.mask[..., None], error**2, np.nan)  # (P, L, D)
        outside = np.asarray(excess(found.true[:, :-1].reshape(-1, true.shape[-1]))) > 0
        outside = outside.reshape(true.shape[:2])
        before = np.cumsum(outside, axis=1) > 0  # has been outside by then
        by_column = np.sqrt(np.nanmean(squared, axis=(0, 1)))
        worst = np.argsort(-by_column)[:4]
        write(
            identity
            | {
                "by_horizon": np.sqrt(np.nanmean(squared, axis=(0, 2))).tolist(),
                "worst_columns": {task.state_names[d]: float(by_column[d]) for d in worst},
                "outside_share": float(outside[found.mask].mean()),
                "inside": rms(squared[~before]),
                "once_outside": rms(squared[before]),
            }
        )


def time_step(run: Path, repeats: int) -> None:
    from measure import interleaved, line, pin_to_one_core, state_machine

    pin_to_one_core()
    import equinox as eqx
    import jax

    from twinfold.planning.build import task_objective, task_planner
    from twinfold.planning.objective import make_evaluate, proposals
    from twinfold.planning.presets import plan_config
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    model, task = load_run(run), get_task("half_cheetah")
    state_machine()
    config = plan_config(task.name, task.action_type)
    planner, stack = task_planner(config, task), model.dynamics(5)
    whole = task_objective(config, task, stack, model, 5)
    no_policy = dataclasses.replace(whole, behaviour=None, behaviour_cost=0.0)
    objectives = {
        "control step": whole,
        "without the price of leaving the data's policy": no_policy,
        "without that of disagreement either": dataclasses.replace(no_policy, disagreement=0.0),
    }

    @eqx.filter_jit
    def plan(memory: Any, state: Any, key: Any, stack: Any, objective: Any, planner: Any) -> Any:
        found = proposals(stack, objective, state, planner.horizon, key)
        evaluate = make_evaluate(stack, objective)
        return planner.plan(memory, evaluate, state, key, found)

    state = jax.numpy.asarray(model.sample.state[0], jax.numpy.float32)
    memory, key = planner.init(jax.random.key(0)), jax.random.key(1)
    functions = {
        name: functools.partial(plan, memory, state, key, stack, objective, planner)
        for name, objective in objectives.items()
    }
    for name, seconds in interleaved(functions, repeats).items():
        line(name, seconds, 1e3, "ms")


def rms(squared: Any) -> float | None:
    """Root mean of what is known; None of nothing."""
    import numpy as np

    known = squared[np.isfinite(squared)]
    return float(np.sqrt(known.mean())) if known.size else None


def records() -> list[dict[str, Any]]:
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def done(identity: dict[str, Any]) -> bool:
    return any(identity.items() <= record.items() for record in records())


def write(record: dict[str, Any]) -> None:
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps({k: v for k, v in record.items() if k not in ("settings", "by_horizon")}))


def table() -> None:
    print("| data | variant | error | mean error | after 1, 5, 20, 50 steps |")
    print("|---|---|---|---|---|")
    for row in records():
        if row["what"] == "model":
            steps = ", ".join(f"{row['by_horizon'][h]:.2f}" for h in (0, 4, 19, 49))
            print(
                f"| {row['data']} | {row['variant']} | {row['geometric_mean']:.3f} | "
                f"{row['mean']:.3f} | {steps} |"
            )
    print("\n| data | agent | after 1, 5, 20, 50 steps | inside | once outside | worst columns |")
    print("|---|---|---|---|---|---|")
    for row in records():
        if row["what"] == "error":
            steps = ", ".join(f"{row['by_horizon'][h]:.2f}" for h in (0, 4, 19, 49))
            parts = " | ".join(
                "-" if row[name] is None else f"{row[name]:.2f}"
                for name in ("inside", "once_outside")
            )
            worst = ", ".join(f"{name} {value:.2f}" for name, value in row["worst_columns"].items())
            print(f"| {row['data']} | {row['agent']} | {steps} | {parts} | {worst} |")
    print("\n| data | plans | return per step: mean | least | each agent |")
    print("|---|---|---|---|---|")
    for row in records():
        if row["what"] == "plan":
            each = row["return_per_step"]
            print(
                f"| {row['data']} | {row['variant']} | {sum(each) / len(each):.2f} | "
                f"{min(each):.2f} | {', '.join(f'{value:.1f}' for value in each)} |"
            )
    print("\n| data | seed | mean return | each agent, mean of its episodes |")
    print("|---|---|---|---|")
    for row in records():
        if row["what"] == "plain":
            each = [sum(values) / len(values) for values in row["returns"]]
            print(
                f"| {row['data']} | {row['seed']} | {sum(each) / len(each):.0f} | "
                f"{', '.join(f'{value:.0f}' for value in each)} |"
            )


if __name__ == "__main__":
    main()
