"""What models say policies are worth, beside what they are worth in the true task.

For every test agent and every policy (the behaviour policies of the package as they were trained on
agents of their own, the test policy, the random one, and mixtures) the estimate by the run's
simulators, from ``--starts`` starts in ``--draws`` worlds, and the mean return of ``--episodes``
true episodes. Most of the policies have left no data in the run.

Runs are those of the suites, ``runs/bench/<task>-<data set>-0-*``; of several the newest is taken.
Runs without a posterior get one: from the data that they were fitted to, with their nets as they
are, and with the noise of the training data.

Records go to ``results/policy_value.jsonl``; what is there already is not run again.

    python benchmarks/policy_value.py run
    python benchmarks/policy_value.py table
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "results" / "policy_value.jsonl"
AGENTS = (0, 1, 2, 3, 4)
EPSILON = 0.3  # share of uniform actions in the mixtures
COVERAGE = 0.9
OUTSIDE = 0.02  # share of steps out of the range of the data from which on a policy is outside


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table", "detail"))
    parser.add_argument("--tasks", default="cart_pole,mountain_car")
    parser.add_argument("--data", default="random,pure", help="data sets of the runs")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "bench")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=1000, help="true ones, per agent")
    args = parser.parse_args()
    if args.what == "run":
        for task, data in itertools.product(args.tasks.split(","), args.data.split(",")):
            measure(newest_run(args.runs, task, data), args.draws, args.starts, args.episodes)
    else:
        (table if args.what == "table" else detail)()


def newest_run(folder: Path, task: str, data: str) -> Path:
    runs = [path for path in folder.glob(f"{task}-{data}-0-*") if path.is_dir()]
    if not runs:
        raise SystemExit(f"no run {task}-{data}-0-* in {folder}; make one with: twinfold bench run")

    def created(path: Path) -> str:
        return json.loads((path / "run.json").read_text(encoding="utf-8"))["info"]["created"]

    return max(runs, key=created)


def run_with_posterior(path: Path) -> Any:
    """A run; one without a posterior gets that of its agents from the data it was fitted to."""
    from twinfold.adaptation.empirical_bayes import trained_posterior
    from twinfold.benchmark.collect import collect
    from twinfold.tasks import get_task
    from twinfold.training.run_directory import load_run

    model = load_run(path)
    if model.posterior is not None:
        return model
    source = model.info.source
    panel = collect(get_task(source["task"]), source["policy"], source["n_agents"], source["seed"])
    if panel.fingerprint() != model.info.fingerprint:
        raise SystemExit(f"{path}: the data cannot be made again")
    posterior = trained_posterior(
        model.members, model.normalizer, panel.transitions(), None, panel.n_agents
    )
    return dataclasses.replace(model, posterior=posterior)


def policies(task: Any) -> dict[str, Callable[[Any, Any], Any]]:
    """By name, as functions ``(state, key) -> action`` of no agent's physics."""
    import jax
    import jax.numpy as jnp

    from twinfold.policies.library import random_action
    from twinfold.policies.nets import greedy
    from twinfold.policies.store import SHIPPED, behaviour_names, load_layers

    def of_net(name: str) -> Callable[[Any, Any], Any]:
        layers = load_layers(SHIPPED, task.name, name)
        return lambda state, key: greedy(task, layers, state)

    def mixed(policy: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def act(state: Any, key: Any) -> Any:
            choose, uniform = jax.random.split(key)
            other = random_action(task, uniform)
            own = policy(state, key).astype(other.dtype)
            return jnp.where(jax.random.bernoulli(choose, EPSILON), other, own)

        return act

    nets = {name: of_net(name) for name in [*behaviour_names(SHIPPED, task.name), "test"]}
    greedy_ones = {
        name if name == "test" else f"behaviour {name}": policy for name, policy in nets.items()
    }
    mixtures = {f"{name}, {EPSILON:g}": mixed(policy) for name, policy in greedy_ones.items()}
    return {**greedy_ones, **mixtures, "random": lambda state, key: random_action(task, key)}


def measure(path: Path, draws: int, n_starts: int, episodes: int) -> None:
    from twinfold.ope.policy_value import policy_value
    from twinfold.tasks import get_task

    model = run_with_posterior(path)
    source = model.info.source
    task = get_task(source["task"])
    for name, policy in policies(task).items():
        identity = {
            "task": task.name,
            "data": source["policy"],
            "run": path.name,
            "policy": name,
            "draws": draws,
            "starts": n_starts,
            "episodes": episodes,
        }
        todo = [
            agent
            for agent in AGENTS
            if not any({**identity, "agent": agent}.items() <= row.items() for row in records())
        ]
        if not todo:
            continue
        true, error = truth(task, name, policy, episodes)
        for agent in todo:
            found = policy_value(
                model, task, agent, policy, draws=draws, n_starts=n_starts, coverage=COVERAGE
            )
            keys = ("value", "low", "high", "coverage", "model_sd", "start_se", "mean_steps")
            keys = (*keys, "ended", "outside", "diverged")
            write(
                {
                    **identity,
                    "agent": agent,
                    **{key: getattr(found, key) for key in keys},
                    "mean_of_draws": float(found.draws.mean()),
                    "truth": true[agent],
                    "truth_se": error[agent],
                    "model_based": True,
                }
            )


_TRUTH: dict[Any, Any] = {}


def truth(task: Any, name: str, policy: Any, episodes: int) -> Any:
    """Mean return of each test agent in the true task and its standard error."""
    from twinfold.benchmark.collect import simulate_policy

    key = (task.name, name, episodes)
    if key not in _TRUTH:
        found = simulate_policy(task, task.test_agents, policy, episodes, seed=20_000)
        returns = found.rewards.sum(axis=2, dtype=float)  # (N, P)
        error = returns.std(axis=1, ddof=1) / episodes**0.5
        _TRUTH[key] = returns.mean(axis=1).tolist(), error.tolist()
    return _TRUTH[key]


def records() -> list[dict[str, Any]]:
    if not RECORDS.exists():
        return []
    return [json.loads(line) for line in RECORDS.read_text(encoding="utf-8").splitlines()]


def write(record: dict[str, Any]) -> None:
    with RECORDS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record), flush=True)


def groups() -> dict[tuple[str, str], dict[int, list[dict[str, Any]]]]:
    """The records of each task and data set, by agent."""
    found: dict[tuple[str, str], dict[int, list[dict[str, Any]]]] = {}
    for row in records():
        found.setdefault((row["task"], row["data"]), {}).setdefault(row["agent"], []).append(row)
    return found


def ordered(rows: list[dict[str, Any]]) -> tuple[int, int]:
    """Pairs of policies that truly differ (three standard errors), and how many are ranked so."""
    pairs = right = 0
    for a, b in itertools.combinations(rows, 2):
        true = a["truth"] - b["truth"]
        if abs(true) > 3 * (a["truth_se"] ** 2 + b["truth_se"] ** 2) ** 0.5:
            pairs += 1
            right += (a["value"] - b["value"]) * true > 0
    return pairs, right


def held(rows: list[dict[str, Any]]) -> str:
    """How many intervals hold the truth."""
    count = sum(row["low"] <= row["truth"] <= row["high"] for row in rows)
    return f"{count} of {len(rows)}"


def table() -> None:
    import numpy as np
    from scipy.stats import spearmanr

    print(
        "| task | data | policies | rank correlation: mean | agents 0 to 4 | pairs ranked right | "
        "error, median | regret, worst | truth in its 90 % interval | policy within the data | "
        "policy outside |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (task, data), agents in groups().items():
        rho, regret, pairs = [], [], []
        for _, rows in sorted(agents.items()):
            value = np.array([row["value"] for row in rows])
            true = np.array([row["truth"] for row in rows])
            rho.append(float(spearmanr(value, true).statistic))  # pyright: ignore
            regret.append(true.max() - true[value.argmax()])
            pairs.append(ordered(rows))
        every = [row for rows in agents.values() for row in rows]
        error = np.median([abs(row["value"] - row["truth"]) for row in every])
        inside = [row for row in every if row["outside"] < OUTSIDE]
        beyond = [row for row in every if row["outside"] >= OUTSIDE]
        total, right = np.sum(pairs, axis=0)
        print(
            f"| {task} | {data} | {len(every) // len(agents)} | **{np.mean(rho):.3f}** | "
            f"{', '.join(f'{r:.2f}' for r in rho)} | {right} of {total} | {error:.1f} | "
            f"{max(regret):.1f} | {held(every)} | {held(inside)} | {held(beyond)} |"
        )


def detail() -> None:
    print("| task | data | agent | policy | estimate | interval | truth | outside |")
    print("|---|---|---|---|---|---|---|---|")
    for row in sorted(records(), key=lambda r: (r["task"], r["data"], r["agent"], r["truth"])):
        print(
            f"| {row['task']} | {row['data']} | {row['agent']} | {row['policy']} | "
            f"{row['value']:.1f} | {row['low']:.1f} to {row['high']:.1f} | {row['truth']:.1f} | "
            f"{row['outside']:.0%} |"
        )


if __name__ == "__main__":
    main()
