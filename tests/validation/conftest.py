"""A run whose truth is known: one member moves the agents, and it is the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.uncertainty.conformal import calibrate
from twinfold.uncertainty.controls import CONTROLS

TRAINED, RESERVED = 40, 40


class World(NamedTuple):
    """A model with reserved agents, their data, and how to make more.

    Attributes:
        model: of 40 trained agents ``u0``.. and 40 reserved ones ``r0``..
        own: data of all 80 of them, which the run has had.
        again: new data of some of them: ``again(ids, seed)``.
        fresh: data of so many new agents ``n0``.. of the same kind: ``fresh(number, seed)``.
    """

    model: FittedModel
    own: PanelDataset
    again: Callable[..., PanelDataset]
    fresh: Callable[..., PanelDataset]


@pytest.fixture(scope="session")
def world(models: Any) -> World:
    """40 agents that the nets have seen, and 40 reserved ones."""
    model = models.build_model(
        n_agents=TRAINED, members=1, posterior=True, lengths=(24,), seed=3, band=True
    )
    # The courses know no walls.
    far = np.full(len(model.roles.state), np.inf)
    walls = {"low": -far, "high": far, "target_low": -far, "target_high": far}
    model = replace(model, normalizer=replace(model.normalizer, **walls))
    factors = models.own_factors(model)
    mean, root = factors.mean(axis=0), np.linalg.cholesky(np.cov(factors.T))
    known = {f"u{n}": factors[n] for n in range(TRAINED)}

    def drawn(number: int, seed: int) -> Any:
        return mean + np.random.default_rng(seed).normal(size=(number, 3)) @ root.T

    reserved = drawn(RESERVED, 5)
    known |= {f"r{n}": reserved[n] for n in range(RESERVED)}

    def panel(ids: list[Any], own: Any, seed: int, length: int = 24, **more: Any) -> Any:
        return models.panel_of(model, [length] * len(ids), own, ids=ids, seed=seed, **more)

    def again(ids: list[str], seed: int, **more: Any) -> Any:
        return panel(ids, np.array([known[name] for name in ids]), seed, **more)

    def fresh(number: int, seed: int, **more: Any) -> Any:
        return panel([f"n{n}" for n in range(number)], drawn(number, seed), seed, **more)

    trained = models.panel_of(model, [24] * TRAINED, factors)
    calibrated = calibrate(model, again([f"r{n}" for n in range(RESERVED)], 6))
    assert trained.fingerprint() == model.info.fingerprint
    import pandas as pd

    both = [trained.to_frame(), again([f"r{n}" for n in range(RESERVED)], 6).to_frame()]
    own = PanelDataset.from_frame(pd.concat(both, ignore_index=True), model.roles)
    return World(calibrated, own, again, fresh)


def agents_with(statistics: Any = None, scores: Any = None, **more: Any) -> Any:
    """What a check reads of ``HoldoutResult``, for agents 0, 1, ..."""
    rows = len(statistics) if statistics is not None else len(scores if scores is not None else [])
    found: dict[str, Any] = {
        "agent": np.arange(rows),
        "rmse": np.ones(rows),
        "statistics": statistics,
        "scores": scores,
        "controls": {name: np.ones(rows) for name in CONTROLS},
    }
    if scores is not None:
        found["ends"] = SimpleNamespace(mask=~np.isnan(scores), steps=~np.isnan(scores))
    return SimpleNamespace(**{**found, **more})


@pytest.fixture(scope="session")
def some() -> Callable[..., Any]:
    """Agents of whom there is no more than what a check reads: ``some(statistics, scores)``."""
    return agents_with


def agents_with_errors(ratio: Any, steps: int = 8, **controls: Any) -> Any:
    """Agents whose error is so many times 1, the error of every control not named."""
    rmse = np.asarray(ratio, float)
    n = len(rmse)
    found: dict[str, Any] = {
        "rmse": rmse,
        "controls": {name: np.ones(n) for name in CONTROLS}
        | {name.replace("_", " "): np.broadcast_to(value, n) for name, value in controls.items()},
        "ends": SimpleNamespace(mask=np.ones((n, steps), bool), steps=np.ones((n, steps), bool)),
        "steady": np.zeros((n, 2), bool),
    }
    found["by_horizon"] = {
        name: np.broadcast_to(np.asarray(value, float)[:, None], (n, steps))
        for name, value in {**found["controls"], "model": rmse}.items()
    }
    return SimpleNamespace(**found)


@pytest.fixture(scope="session")
def errors() -> Callable[..., Any]:
    """Agents of whom there are no more than errors: ``errors(ratio, steps, drift=0.3)``."""
    return agents_with_errors
