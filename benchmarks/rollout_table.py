"""A table of what-if questions through the whole ``twinfold simulate`` process, start included.

Beside it: the answer alone in a process that has everything loaded, and a process that loads what
``simulate`` needs and does nothing. The model has random weights.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import interleaved, line, random_model, state_machine

MAIN = "import sys; from twinfold.cli import main; sys.exit(main())"
ROOMS = "twinfold.simulation.what_if, twinfold.training.run_directory, twinfold.data.io"
NOTHING = f"import jax, {ROOMS}; jax.devices()"


def write_inputs(folder: Path, queries: int, steps: int) -> None:
    """A run and a table of questions about its agents."""
    import numpy as np
    import pandas as pd

    from twinfold import FitConfig, save_run
    from twinfold.tasks import get_task

    task = get_task("cart_pole")
    model = random_model(task, FitConfig())
    save_run(model, folder / "run")
    rng = np.random.default_rng(0)
    query = np.repeat(np.arange(queries), steps)
    time_ = np.tile(np.arange(steps), queries)
    table = pd.DataFrame(
        {"query_id": query, "agent_id": (query * 7) % len(model.agent_ids), "t": time_}
    )
    for name in task.state_names:
        table[name] = np.where(time_ == 0, rng.uniform(-0.05, 0.05, len(table)), np.nan)
    table["action"] = rng.integers(task.n_actions or 0, size=len(table))
    table.to_parquet(folder / "queries.parquet", index=False)


def process(code: str, arguments: list[str], environment: dict[str, str]) -> float:
    """Seconds of one Python process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    state_machine()
    print(f"{args.queries} queries of {args.steps} steps, Parquet to Parquet\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, args.queries, args.steps)
        # A cache of compiled programs of its own: the first process finds it empty.
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
        command = ["simulate", str(folder / "run"), "--quiet"]
        command += ["--queries", str(folder / "queries.parquet")]
        command += ["--out", str(folder / "answers.parquet")]
        first = process(MAIN, command, environment)
        whole, nothing = [], []
        for _ in range(args.repeats):
            whole.append(process(MAIN, command, environment))
            nothing.append(process(NOTHING, [], environment))

        from twinfold import answer, load_run
        from twinfold.data.io import read_table

        model = load_run(folder / "run")
        table = read_table(folder / "queries.parquet")
        alone = interleaved({"answer": lambda: answer(model, table)}, args.repeats)["answer"]
    line("the whole process, first time (compiles)", [first])
    line("the whole process, compiled programs kept", whole)
    line("a process that only loads what it needs", nothing)
    line("answer() alone, everything loaded", alone)
    middle, least = statistics.median(whole), statistics.median(nothing)
    print(f"\nwhole process / answer() alone: {middle / statistics.median(alone):.2f}")
    print(f"share of the start in the whole process: {least / middle:.2f}")
