"""A table of your own, from Python: patients with a dose, and what another dose would have done.

The cohort is synthetic, so that the answers can be compared with the truth. Every patient takes up
and clears a drug at a pace of their own; one row per day, of 12 days each.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from twinfold import FitConfig, PanelDataset, Simulator, fit

DAYS = 12
ROLES = {
    "agent": "patient",
    "time": "date",
    "state": ["level", "marker"],
    "action": ["dose"],
    "action_type": "continuous",
}


def next_state(state: np.ndarray, dose: float, uptake: float, clearance: float) -> np.ndarray:
    """Tomorrow's drug level and the marker that follows it, ``(2,)``."""
    level, marker = state
    return np.array(
        [level + uptake * dose - clearance * level, marker + 0.3 * (level / (1 + level) - marker)]
    )


def make_cohort(n_patients: int, seed: int) -> tuple[pd.DataFrame, dict[str, tuple[float, float]]]:
    """One short record per patient, and the hidden physiology that made it."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2026-01-05", periods=DAYS, freq="D")
    rows, hidden = [], {}
    for n in range(n_patients):
        name = f"P-{n:03d}"
        hidden[name] = own = rng.uniform(0.3, 1.2), rng.uniform(0.1, 0.5)
        state = np.array([rng.uniform(0, 1), rng.uniform(0, 0.5)])
        for t, day in enumerate(days):
            dose = rng.uniform(0, 2) if t < DAYS - 1 else np.nan  # the last row has no action
            rows.append((name, day, *state, dose))
            state = next_state(state, dose, *own)
    return pd.DataFrame(rows, columns=["patient", "date", "level", "marker", "dose"]), hidden


def main() -> None:
    table, hidden = make_cohort(n_patients=150, seed=0)
    dataset = PanelDataset.from_frame(table, ROLES)  # checks the table
    model = fit(dataset, FitConfig(seed=0), log=print)

    doses = [1.0] * 5 + [0.0] * 5
    start = {"level": 0.2, "marker": 0.1}
    path = Simulator(model, "P-007").rollout(start, doses)
    print(path.to_frame().round(3).to_string(index=False))

    own_errors, common_errors, inside = [], [], []
    mean_patient = np.mean(list(hidden.values()), axis=0)
    for name, physiology in hidden.items():
        path = Simulator(model, name).rollout(start, doses)
        state = common = np.array(list(start.values()))
        for h, dose in enumerate(doses):
            state = next_state(state, dose, *physiology)
            common = next_state(common, dose, *mean_patient)
            own_errors.append(path.centre[h] - state)
            common_errors.append(common - state)
            inside.append((path.lower[h] <= state) & (state <= path.upper[h]))
    print(f"RMSE of the personal simulators: {np.sqrt(np.mean(np.square(own_errors))):.4f}")
    print(f"RMSE of the true average patient: {np.sqrt(np.mean(np.square(common_errors))):.4f}")
    print(f"within the {100 * model.config.band:.0f} % band: {100 * np.mean(inside):.0f} %")


if __name__ == "__main__":
    main()
