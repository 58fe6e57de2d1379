"""Panels in their own roles, tried on tables made up here: nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "data": "panel_data",
    "frame": "panel_frame",
    "infusion": "panel_infusion",
    "page": "panel_roles_page",
    "read": "panel_roles_data",
    "roles": "panel_roles",
    "twin": "panel_twinfold",  # which the others import where it is used
}


@pytest.fixture(scope="module")
def lib(load_benchmarks: Any) -> Any:
    """The modules of benchmarks/, as attributes."""
    return load_benchmarks(MODULES)


def patients(lib: Any, count: int, noise: float) -> list[Any]:
    """Patients of a population whose infusion stops after ten minutes."""
    rng = np.random.default_rng(1)
    times = np.r_[np.arange(0, 20, 1.0), 25, 30, 40]
    found = []
    for _ in range(count):
        theta = np.log([8.0, 2.5, 9.0, 1.0]) + 0.2 * rng.normal(size=4)
        infused = lib.infusion.Patient(times, np.where(times < 10, 70.0, 0.0), times[1:], times[1:])
        logs = lib.infusion.log_levels(theta, infused, times[1:])
        logs = logs + noise * rng.normal(size=len(logs))
        found.append(lib.infusion.Patient(times, infused.rates, times[1:], logs))
    return found


def test_two_compartments_are_those_of_a_plain_loop(lib: Any) -> None:
    volume, out, second, flow = theta = np.array([8.0, 2.5, 9.0, 1.0])
    times = np.array([0.0, 3.0, 4.5, 9.0])
    infused = lib.infusion.Patient(times, np.array([70.0, 20.0, 0.0, 0.0]), times, times)
    found = np.exp(lib.infusion.log_levels(np.log(theta), infused, times[1:]))
    amount, step, expected = np.zeros(2), 1e-4, []
    for start, end, rate in zip(times, times[1:], infused.rates, strict=False):
        for _ in range(round((end - start) / step)):
            back, forth = flow * amount[1] / second, flow * amount[0] / volume
            change = np.array([rate + back - forth - out * amount[0] / volume, forth - back])
            amount = amount + step * change
        expected.append(amount[0] / volume)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_population_says_of_a_new_patient_what_its_first_samples_leave_open(lib: Any) -> None:
    *others, new = patients(lib, 12, noise=0.05)
    population = lib.infusion.fit_population(others)
    assert population.noise == pytest.approx(0.05, rel=0.5)
    late = new.sampled > 11
    found = population.predict(new.until(11), new.sampled[late])
    assert np.sqrt(np.mean((found - new.logs[late]) ** 2)) < 0.25
    average = lib.infusion.log_levels(population.mean, new, new.sampled)
    own = population.predict(new, new.sampled)
    assert np.abs(own - new.logs).mean() < np.abs(average - new.logs).mean()


def test_the_same_values_are_asked_at_their_own_times(lib: Any) -> None:
    rng, rows = np.random.default_rng(0), []
    for who in range(12):
        t, x = 0.0, rng.normal()
        for _ in range(14):
            h = rng.uniform(0.2, 2.0)
            rows.append((who, t, x))
            t, x = t + h, 2 + (x - 2) * np.exp(-0.3 * h)
    table = pd.DataFrame(rows, columns=["who", "hour", "x"])

    def numbered() -> pd.DataFrame:
        found = lib.frame.numbered(table, "who", "hour")
        return found.assign(hours=lib.frame.until_next(found, "who", "hour"))

    panel = lib.frame.Panel("made up", "", "", numbered, "who", "visit", ("x",), ("hours",))
    roles = {"agent": "who", "time": "hour", "state": ["x"]}
    settings = {"rank": 0, "history": 2, "effort": "quick"}
    read = lib.read.AsItIs(panel, "", lambda: table, roles, settings, "hour")
    train, known, new = lib.data.cut(panel, 0)
    asked = lib.roles.stretches(read, table, [*known, *new])
    for window, stretch in zip([*known, *new], asked, strict=True):
        there = stretch.rows.set_index("hour").loc[stretch.times, ["x"]]
        np.testing.assert_array_equal(there, window.truth)
        assert stretch.start < stretch.times.min()
    record = lib.roles.measure_own_roles(read, train, known, new, 0)
    assert record["uneven"]
    assert record["rows"] == len(train)
    for kind, windows in (("known", known), ("new", new)):
        assert len(record[kind]["agents"]) == len(windows)
        assert record[kind]["error"] < 0.1
        assert 0.5 <= record[kind]["band"]["coverage"] <= 1


def test_the_section_says_where_own_roles_lose(lib: Any) -> None:
    def of(panel: str, model: str, error: float, **more: Any) -> dict[str, Any]:
        names = ("persistence", "pooled ARX", "mixed ARX")
        part = {"error": error, "errors": dict(zip(names, (2.0, 1.0, 0.8), strict=True))}
        return {"panel": panel, "seed": 0, "model": model, "known": part, "new": part, **more}

    halved = {
        "effects": [-0.6, -0.2, 0.1],
        "domain": [-0.5, -0.5, -0.5],
        "basis": ["own data", "unsupported", "borrowed"],
    }
    errors = dict.fromkeys(("persistence", "pooled ARX", "mixed ARX", "old roles"), 0.9)
    errors |= {"own roles": 0.2, "two compartments": 0.16}
    own = [
        of("Remifentanil", "own roles", 0.5),
        of("Cigar", "own roles", 1.5),
        {"panel": "Remifentanil", "seed": 0, "model": "clinic", "errors": errors, "values": 99,
         "history": 4, "halved": halved},
        {"panel": "Remifentanil", "seed": 1, "model": "clinic", "history": 1, "values": 98,
         "errors": errors | {"own roles": 0.3}},
    ]  # fmt: skip
    old = [
        of(panel, model, 1.0, settings={})
        for panel in ("Remifentanil", "Cigar")
        for model in ("twinfold", "controls")
    ]
    text = lib.page.section(own, old)
    assert "worse than in the old roles for known agents: Cigar (1.50)" in text
    assert "worse than no change for new agents: nowhere" in text
    assert "worse than mixed ARX for new agents: Cigar (1.88)" in text
    assert "| Remifentanil | 1 | 2.00 | 0.50 | 0.40 | 0.50 | 0.25 | 0.50 |" in text
    assert "it is reached in 1 of 2 draws" in text
    assert "| 0 | 3 | -0.50 | -0.20 | 0.40 | 33 % | 67 % |" in text
    assert lib.page.section([], old) == ""
