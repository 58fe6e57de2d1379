"""Fitted models without a fit: random members, for what does not depend on training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.data.panel import DataRanges
from twinfold.data.roles import Roles
from twinfold.models.ensemble import FittedModel
from twinfold.models.factor import FactorModel, init_factor_model, structures
from twinfold.models.normalizer import Normalizer

LEVELS = np.array([-1, 0, 5, 7])


def build_model(
    *,
    discrete: bool = True,
    n_agents: int = 5,
    n_state: int = 3,
    n_action: int = 2,
    seed: int = 0,
    agent_ids: tuple[Any, ...] | None = None,
    time_step: Any = 1.0,
    band: bool = True,
    angles: tuple[int, ...] = (),
    direct: tuple[int, ...] = (),
    **settings: Any,
) -> FittedModel:
    """Random members on a random scale; the first state has a floor, the last one a ceiling.

    An angle has neither, and a scale of about one radian.
    """
    config = FitConfig.parse({"members": 3, "state_net": (16,), "rank": 3, "seed": seed} | settings)
    rng = np.random.default_rng(seed)
    size = len(LEVELS) if discrete else n_action
    (structure, *_) = structures(config, size, discrete)
    low, high = np.full(n_state, -np.inf), np.full(n_state, np.inf)
    low[0], high[-1] = -0.7, 0.7
    low[list(angles)], high[list(angles)] = -np.inf, np.inf
    columns = 0 if discrete else n_action
    keep = np.ones(n_state)
    keep[list(direct)] = 0.0
    state_mean, state_scale = rng.normal(size=n_state) * 3, rng.uniform(0.5, 2, n_state)
    normalizer = Normalizer(
        state_mean=state_mean,
        state_scale=state_scale,
        keep=keep,
        target_mean=np.where(keep, rng.normal(size=n_state) * 0.1, state_mean),
        target_scale=np.where(keep, rng.uniform(0.1, 0.3, n_state), state_scale),
        action_mean=rng.normal(size=columns),
        action_scale=rng.uniform(0.5, 2, columns),
        low=low,
        high=high,
        target_low=np.full(n_state, -2.0),  # passed by few predictions
        target_high=np.full(n_state, 2.0),
        wave_mean=rng.uniform(-0.5, 0.5, 2 * len(angles)),
        wave_scale=rng.uniform(0.3, 1, 2 * len(angles)),
        angles=angles,
    )

    def one(key: jax.Array) -> FactorModel:
        return init_factor_model(
            key, config, n_agents, n_state, size, discrete, structure, normalizer.n_inputs
        )

    width = 1 if discrete else n_action
    return FittedModel(
        members=jax.vmap(one)(jax.random.split(jax.random.key(seed), config.members)),
        normalizer=normalizer,
        config=config,
        roles=Roles(
            agent="unit",
            time="t",
            state=tuple(f"s{d}" for d in range(n_state)),
            action=tuple(f"a{a}" for a in range(width)),
            action_type="discrete" if discrete else "continuous",
            angle=tuple(f"s{d}" for d in angles),
        ),
        agent_ids=tuple(f"u{n}" for n in range(n_agents)) if agent_ids is None else agent_ids,
        action_levels=LEVELS if discrete else None,
        time_step=time_step,
        ranges=DataRanges(
            rng.normal(size=n_state), rng.normal(size=n_state), np.zeros(width), np.ones(width)
        ),
        sample=rng.normal(size=(40, n_state)),
        band=np.abs(rng.normal(size=(7, n_state))) if band else None,
        info={
            "fingerprint": "abc",
            "features": "joint" if structure.joint else "separable",
            "rank": structure.rank,
            "validation": {"rmse": 0.1},
        },
    )


@pytest.fixture(scope="session")
def random_model() -> Callable[..., FittedModel]:
    return build_model
