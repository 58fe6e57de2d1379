"""Patients of a few visits each, whose weight says how they move.

    x' = .8 x + g a + l + noise (.3),    x standard normal times 2 at first, a standard normal

80 patients to learn from and 40 new ones. Weight and age are recorded once; the weight moves the
level l (by 2 for a standard deviation) or the effect of the dose g (by .8), the age nothing. What
is asked: the next four visits, of known patients after their last, of new ones after two visits.
Beside it no change, one ridge regression for all on state, dose and both columns, and the same
with the columns' products with the dose, which is the truth. Records go to
``results/ordinary_tables_few_visits.jsonl``; what is there already is not run again.

    python benchmarks/ordinary_tables/few_visits.py run
    python benchmarks/ordinary_tables/few_visits.py table
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent.parent
RECORDS = ROOT / "results" / "ordinary_tables_few_visits.jsonl"
MOVES = ("level", "dose", "nothing")
VISITS = (2, 3, 5)
KNOWN, NEW, AHEAD, NOISE = 80, 40, 4, 0.3
RIDGES = 10.0 ** np.arange(-3, 3.5, 0.5)
ROLES: dict[str, Any] = {
    "agent": "patient",
    "time": "visit",
    "state": ["x"],
    "action": ["dose"],
    "action_type": "continuous",
    "static": ["weight", "age"],
}
Courses = tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--seeds", type=int, default=3, help="tables of each kind")
    given = parser.parse_args()
    if given.what == "run":
        for seed in range(given.seeds):
            for moves in MOVES:
                for visits in VISITS:
                    run(moves, visits, seed)
    table()


def courses(moves: str, visits: int, seed: int) -> Courses:
    """States ``(N, T + 1)``, doses ``(N, T)`` and columns ``(N, 2)`` of all patients."""
    rng, n = np.random.default_rng(seed), KNOWN + NEW
    columns = rng.normal(size=(n, 2)) * [10.0, 15.0] + [70.0, 50.0]
    size = (columns[:, 0] - 70.0) / 10.0
    level, gain = 2.0 * size * (moves == "level"), 1.0 + 0.8 * size * (moves == "dose")
    length = visits - 1 + AHEAD
    dose, state = rng.normal(size=(n, length)), np.zeros((n, length + 1))
    state[:, 0] = 2.0 * rng.normal(size=n)
    for t in range(length):
        noise = NOISE * rng.normal(size=n)
        state[:, t + 1] = 0.8 * state[:, t] + gain * dose[:, t] + level + noise
    return state, dose, columns


def frame(all_courses: Courses, patients: np.ndarray, visits: int) -> pd.DataFrame:
    """The table of some patients' first visits."""
    state, dose, columns = all_courses
    given = np.column_stack([dose[patients, : visits - 1], np.full(len(patients), np.nan)])
    found = {"patient": np.repeat(patients, visits), "visit": np.tile(range(visits), len(patients))}
    values = {"x": state[patients, :visits].ravel(), "dose": given.ravel()}
    static = {
        name: np.repeat(columns[patients, c], visits) for c, name in enumerate(ROLES["static"])
    }
    return pd.DataFrame(found | values | static)


def run(moves: str, visits: int, seed: int) -> None:
    """Fit and ask, unless that is done."""
    case = {"moves": moves, "visits": visits, "seed": seed}
    if any(case.items() <= record.items() for record in records()):
        return
    from twinfold import FitConfig, PanelDataset, __version__, adapt, fit

    drawn = courses(moves, visits, seed)
    known, new = np.arange(KNOWN), np.arange(KNOWN, KNOWN + NEW)
    train = frame(drawn, known, visits)
    begun = time.perf_counter()
    config = FitConfig(seed=seed)
    model = fit(PanelDataset.from_frame(train, ROLES), config, log=lambda line: None)
    seconds = time.perf_counter() - begun
    told = PanelDataset.from_frame(frame(drawn, new, 2), ROLES)
    wider = adapt(model, told, warn=lambda line: None)
    asked = {"known": (known, visits - 1, model), "new": (new, 1, wider)}
    record: dict[str, Any] = {**case, "twinfold": __version__, "seconds": round(seconds, 1)}
    record["reads static"] = model.posterior.static is not None
    for who, (patients, first, knows) in asked.items():
        answers = {"twinfold": ours(knows, drawn, patients, first)}
        for name, products in (("ridge", False), ("ridge with products", True)):
            answers[name] = rolled(ridge(drawn, visits, products), drawn, patients, first)
        answers["no change"] = np.repeat(drawn[0][patients, first, None], AHEAD, 1)
        truth = drawn[0][patients, first + 1 : first + 1 + AHEAD]
        errors = {name: found - truth for name, found in answers.items()}
        record[who] = {n: round(float(np.sqrt(np.mean(e**2))), 4) for n, e in errors.items()}
    with RECORDS.open("a") as file:
        file.write(json.dumps(record) + "\n")


def ours(model: Any, drawn: Courses, patients: np.ndarray, first: int) -> np.ndarray:
    """Answers of a model, ``(n, AHEAD)``."""
    from twinfold import answer

    state, dose, _ = drawn
    rows = [
        (p, p, t, state[p, t] if t == first else np.nan, dose[p, t])
        for p in patients
        for t in range(first, first + AHEAD)
    ]
    question = pd.DataFrame(rows, columns=["query_id", "patient", "visit", "x", "dose"])
    found = answer(model, question, warn=lambda line: None)
    return found.sort_values(["patient", "visit"])["x"].to_numpy().reshape(len(patients), AHEAD)


def design(drawn: Courses, state: np.ndarray, dose: np.ndarray, p: Any, products: bool) -> Any:
    """Features of some rows, ``(K, q)``."""
    columns = (drawn[2][p] - [70.0, 50.0]) / [10.0, 15.0]
    parts = [np.ones((len(state), 1)), state[:, None], dose[:, None], columns]
    return np.concatenate([*parts, columns * dose[:, None]] if products else parts, axis=1)


def ridge(drawn: Courses, visits: int, products: bool) -> Callable[..., np.ndarray]:
    """A step of one ridge regression for all, its strength by leaving patients out."""
    state, dose, _ = drawn
    p = np.repeat(np.arange(KNOWN), visits - 1)
    phi = design(
        drawn, state[:KNOWN, : visits - 1].ravel(), dose[:KNOWN, : visits - 1].ravel(), p, products
    )
    y, fold = state[:KNOWN, 1:visits].ravel(), p % 10
    penalty = np.diag([1e-6] + [1.0] * (phi.shape[1] - 1))

    def weights(rows: Any, strength: float) -> np.ndarray:
        gram = phi[rows].T @ phi[rows] + strength * penalty
        return np.linalg.solve(gram, phi[rows].T @ y[rows])

    loss = [
        sum(np.sum((y - phi @ weights(fold != k, s))[fold == k] ** 2) for k in range(10))
        for s in RIDGES
    ]
    found = weights(slice(None), float(RIDGES[np.argmin(loss)]))
    return lambda state, dose, p: design(drawn, state, dose, p, products) @ found


def rolled(
    step: Callable[..., np.ndarray], drawn: Courses, patients: np.ndarray, first: int
) -> np.ndarray:
    """Answers of a model of one step, ``(n, AHEAD)``."""
    state, path = drawn[0][patients, first], []
    for t in range(first, first + AHEAD):
        state = step(state, drawn[1][patients, t], patients)
        path.append(state)
    return np.stack(path, axis=1)


def records() -> list[dict[str, Any]]:
    """Those of this script."""
    if not RECORDS.is_file():
        return []
    return [json.loads(line) for line in RECORDS.read_text().splitlines()]


def table() -> None:
    """Print means over seeds, RMSE."""
    names = ("twinfold", "ridge", "ridge with products", "no change")
    print(f"| weight moves | visits | patients | {' | '.join(names)} |")
    print("|---|---|---|---|---|---|---|")
    for moves in MOVES:
        for visits in VISITS:
            case = {"moves": moves, "visits": visits}
            found = [r for r in records() if case.items() <= r.items()]
            for who in ("known", "new") if found else ():
                means = [f"{np.mean([r[who][name] for r in found]):.2f}" for name in names]
                print(f"| {moves} | {visits} | {who} | {' | '.join(means)} |")


if __name__ == "__main__":
    main()
