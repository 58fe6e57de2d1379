"""Tanks with a mode in words and an amount: twenty steps ahead, beside linear models of each agent.

    python benchmarks/mixed_actions.py [--agents 150] [--rows 60] [--seed 0] [--json FILE]

Every tank fills, drains and leaks at rates of its own; draining goes with the square root of the
level, and filling slows down towards the rim. The last 20 steps of every tank are predicted from
what came before, by a fit with default settings and by least squares of each tank's own rows on
1, level, mode and mode x amount (ridge, its weight the best of a few on the answers themselves).
Prints one record.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twinfold import FitConfig, PanelDataset, fit
from twinfold.simulation import answer

MODES = ("drain", "fill", "hold")
AHEAD = 20
ROLES = {
    "agent": "tank",
    "time": "t",
    "state": ["level"],
    "action": ["mode", "amount"],
    "action_type": ["discrete", "continuous"],
}


def tanks(n_agents: int, n_rows: int, seed: int, noise: float) -> pd.DataFrame:
    """Return a table of tanks under random modes and amounts; levels are measured with noise."""
    rng = np.random.default_rng(seed)
    fills, drains = rng.uniform(0.3, 1.2, n_agents), rng.uniform(0.1, 0.6, n_agents)
    leaks, level = rng.uniform(0.0, 0.02, n_agents), rng.uniform(2.0, 8.0, n_agents)
    parts = []
    for t in range(n_rows):
        mode, amount = rng.integers(0, 3, n_agents), rng.uniform(0, 1, n_agents).round(3)
        parts.append(
            pd.DataFrame(
                {
                    "tank": np.arange(n_agents),
                    "t": t,
                    "level": level + noise * rng.normal(size=n_agents),
                    "mode": np.array(MODES)[mode],
                    "amount": amount,
                }
            )
        )
        down = drains * amount * np.sqrt(level)
        up = fills * amount * (1 - level / 12)
        level = np.maximum(level + np.choose(mode, [-down, up, 0 * up]) - leaks * level, 0.0)
    return pd.concat(parts).sort_values(["tank", "t"], ignore_index=True)


def own_linear(seen: Any, ahead: Any, weight: float) -> NDArray[np.float64]:
    """Return predictions ``(N, 20)`` by ridge of each tank's rows, rolled out."""

    def features(level: NDArray[np.float64], rows: Any) -> NDArray[np.float64]:
        chosen = (rows["mode"].to_numpy()[:, None] == np.array(MODES)) * 1.0
        amount = chosen * rows["amount"].to_numpy()[:, None]
        return np.column_stack([np.ones(len(rows)), level, chosen[:, 1:], amount])

    paths = []
    for tank, rows in seen.groupby("tank"):
        levels = rows["level"].to_numpy()
        phi = features(levels[:-1], rows[:-1])
        penalty = weight * np.diag([0.0, *np.ones(phi.shape[1] - 1)])
        beta = np.linalg.solve(phi.T @ phi + penalty, phi.T @ np.diff(levels))
        asked, level, path = ahead[ahead["tank"] == tank], levels[-1], []
        steps = pd.concat([rows.tail(1), asked])[:AHEAD]
        for i in range(AHEAD):
            level = level + float(features(np.array([level]), steps[i : i + 1])[0] @ beta)
            path.append(level)
        paths.append(path)
    return np.array(paths)


def questions(seen: Any, ahead: Any) -> Any:
    """Return one question per tank: from the last row seen, under the actions that followed."""
    rows = pd.concat([seen.groupby("tank").tail(1), ahead]).sort_values(["tank", "t"])
    rows = rows.groupby("tank").head(AHEAD)
    return rows.assign(query_id=rows["tank"], level=rows["level"].where(~rows["tank"].duplicated()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=150)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--noise", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    table: Any = tanks(given.agents, given.rows, given.seed, given.noise)
    last = table["t"].max() - AHEAD
    seen, ahead = table[table["t"] <= last], table[table["t"] > last]
    truth = ahead["level"].to_numpy().reshape(-1, AHEAD)

    def rmse(paths: NDArray[np.float64]) -> float:
        return float(np.sqrt(np.square(paths - truth).mean()))

    linear = min(rmse(own_linear(seen, ahead, w)) for w in (1e-6, 0.01, 0.03, 0.1, 0.3, 1.0))
    begun = time.perf_counter()
    model = fit(PanelDataset.from_frame(seen, ROLES), FitConfig(seed=given.seed), log=print)
    found = answer(model, questions(seen, ahead))["level"].to_numpy().reshape(-1, AHEAD)
    record = {
        "agents": given.agents,
        "rows": given.rows,
        "noise": given.noise,
        "seed": given.seed,
        "rmse": rmse(found),
        "rmse_own_linear": linear,
        "ratio": rmse(found) / linear,
        "seconds": round(time.perf_counter() - begun, 1),
        "model": model.info.to_dict()["linear"],
        "rank": model.info.rank,
    }
    print(json.dumps(record, indent=1))
    if given.json is not None:
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
