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
from twinfold.models.factor import init_factor_model
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
    **settings: Any,
) -> FittedModel:
    """Random members on a random scale; the first state has a floor, the last one a ceiling."""
    config = FitConfig.parse({"members": 3, "state_net": (16,), "rank": 3, "seed": seed} | settings)
    rng = np.random.default_rng(seed)
    size = len(LEVELS) if discrete else n_action
    stack = jax.vmap(lambda key: init_factor_model(key, config, n_agents, n_state, size, discrete))(
        jax.random.split(jax.random.key(seed), config.members)
    )
    low, high = np.full(n_state, -np.inf), np.full(n_state, np.inf)
    low[0], high[-1] = -0.7, 0.7
    columns = 0 if discrete else n_action
    normalizer = Normalizer(
        state_mean=rng.normal(size=n_state) * 3,
        state_scale=rng.uniform(0.5, 2, n_state),
        target_mean=rng.normal(size=n_state) * 0.1,
        target_scale=rng.uniform(0.1, 0.3, n_state),
        action_mean=rng.normal(size=columns),
        action_scale=rng.uniform(0.5, 2, columns),
        low=low,
        high=high,
    )
    width = 1 if discrete else n_action
    return FittedModel(
        members=stack,
        normalizer=normalizer,
        config=config,
        roles=Roles(
            agent="unit",
            time="t",
            state=tuple(f"s{d}" for d in range(n_state)),
            action=tuple(f"a{a}" for a in range(width)),
            action_type="discrete" if discrete else "continuous",
        ),
        agent_ids=tuple(f"u{n}" for n in range(n_agents)) if agent_ids is None else agent_ids,
        action_levels=LEVELS if discrete else None,
        time_step=time_step,
        ranges=DataRanges(
            rng.normal(size=n_state), rng.normal(size=n_state), np.zeros(width), np.ones(width)
        ),
        band=np.abs(rng.normal(size=(7, n_state))) if band else None,
        info={"fingerprint": "abc", "validation": {"rmse": 0.1}},
    )


@pytest.fixture(scope="session")
def random_model() -> Callable[..., FittedModel]:
    return build_model
