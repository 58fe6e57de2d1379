"""Peak memory of a process that fits MountainCar with default settings.

Memory does not depend on the length of training, so ``--steps`` may shorten it.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

from measure import state_machine


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="mountain_car")
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--steps", type=int, default=None, help="longest training, in steps")
    args = parser.parse_args()

    from twinfold import FitConfig, fit
    from twinfold.benchmark.collect import collect
    from twinfold.tasks import get_task

    state_machine()
    config = FitConfig() if args.steps is None else FitConfig(steps=args.steps)
    print(f"{args.task}, {args.agents} agents, {config.members} members, {config.steps} steps\n")
    loaded = peak_mb()
    print(f"{'peak after loading JAX and pandas':<40} {loaded:8.0f} MB")
    dataset = collect(get_task(args.task), "random", args.agents, 0)
    collected = peak_mb()
    print(f"{f'peak after collecting {dataset.n_transitions} transitions':<40} {collected:8.0f} MB")
    with tempfile.TemporaryDirectory() as folder:
        fit(dataset, config, out=Path(folder) / "run")
    fitted = peak_mb()
    print(f"{'peak after the fit':<40} {fitted:8.0f} MB")
    print(f"\nafter the fit / after loading: {fitted / loaded:.2f}")
