"""Fitted models without a fit: random members, for what does not depend on training.

With courses of agents that the first of these members moves, for what depends on data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.adaptation.input_checks import with_levels_of
from twinfold.config import FitConfig
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.data.transitions import DataRanges, Transitions
from twinfold.models.factor_model import FactorModel, init_factor_model, structures
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.linear_sums import LinearData, linear_data
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Posterior
from twinfold.models.random_arrays import split
from twinfold.models.recent import last_starts
from twinfold.models.rollout import rollout_members
from twinfold.models.run_info import RunInfo
from twinfold.training.ensemble import stacked

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
    posterior: bool = False,
    lengths: Sequence[int] = (12,),
    changes_alone: bool = False,
    **settings: Any,
) -> FittedModel:
    """Random members on a random scale; the first state has a floor, the last one a ceiling.

    An angle has neither, and a scale of about one radian. With ``posterior`` the agents have had
    data, of so many transitions each in turn: courses by the first member, with a little noise.
    With a history of several rows its memory holds what acted, unless of ``changes_alone``.
    """
    config = FitConfig.parse({"members": 3, "state_net": (16,), "rank": 3, "seed": seed} | settings)
    history = 1 if config.history == "auto" else config.history
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
        change_mean=np.linspace(-0.1, 0.1, n_state),
        change_scale=np.linspace(0.2, 0.4, n_state),
        angles=angles,
        history=history,
    )
    if history > 1 and not changes_alone:
        mean, scale = normalizer.action_mean, normalizer.action_scale
        if discrete:
            mean, scale = np.array([0.4, 0.3, 0.2, 0.1]), np.ones(4)
        normalizer = replace(normalizer, acted_mean=mean, acted_scale=scale)

    def one(key: Any) -> FactorModel:
        return init_factor_model(
            key, config, n_agents, n_state, size, discrete, structure, normalizer.n_inputs
        )

    width = 1 if discrete else n_action
    members = stacked([one(key) for key in split(jax.random.key(seed), config.members)])
    model = FittedModel(
        members=members,
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
        sample=DataSample(
            rng.normal(size=(40, n_state)),
            rng.integers(0, size, 40).astype(np.int32)
            if discrete
            else rng.uniform(size=(40, n_action)),
            rng.integers(0, n_agents, 40).astype(np.int32),
        ),
        posterior=Posterior.certain(np.asarray(members.agents, np.float64), n_state),
        sums=LinearData.none(normalizer, n_agents, size if discrete else 0),
        recent=np.full((n_agents, n_state + normalizer.n_memory), np.nan),
        band=np.abs(rng.normal(size=(7, n_state))) if band else None,
        info=RunInfo(
            fingerprint="abc",
            features="joint" if structure.joint else "separable",
            rank=structure.rank,
            history=history,
            validation={"rmse": 0.1},
        ),
    )
    if not posterior:
        return model
    data = panel_of(model, np.resize(lengths, n_agents), own_factors(model))
    rows = transitions_of(model, data)
    known = trained_posterior(model.members, normalizer, rows, None, n_agents)
    factors = jnp.asarray(known.solve()[0], jnp.float32)
    return replace(
        model,
        ranges=data.data_ranges(),
        sample=DataSample(rows.state, rows.action, rows.agent),
        sums=linear_data(normalizer, rows, n_agents, model.n_levels),
        recent=last_starts(rows, n_agents, model.roles),
        members=eqx.tree_at(lambda m: m.agents, model.members, factors),
        posterior=known,
        info=model.info.changed(
            fingerprint=data.fingerprint(),
            agents=n_agents,
            source={"made_with": own_factors(model).tolist()},
        ),
    )


def with_wall(model: FittedModel, data: Transitions) -> FittedModel:
    """The model where the largest value of the first column is a wall with a noise of its own."""
    norm, posterior = model.normalizer, model.posterior
    high = np.full(len(norm.state_mean), np.inf)
    high[0] = norm.encode_state(data.next_state)[:, 0].max()
    prior = posterior.prior._replace(
        limit_noise=7 * posterior.prior.noise, walls=np.stack([-np.full(len(high), np.inf), high])
    )
    return replace(
        model,
        normalizer=replace(norm, high=high),
        posterior=posterior._replace(prior=prior),
    )


def own_factors(model: FittedModel) -> Any:
    """``(N, r)``, the agents as the first member had them when their data was made."""
    if "made_with" in model.info.source:
        return np.array(model.info.source["made_with"])
    return np.asarray(model.members.agents, np.float64)[0]


def course_table(
    model: FittedModel,
    lengths: Any,
    factors: Any,
    *,
    ids: Sequence[Any] | None = None,
    seed: int = 1,
    noise: float = 0.05,
) -> pd.DataFrame:
    """A course of so many transitions for each row of factors ``(K, r)``, by the first member.

    Noise is in standard deviations of the target. What the member says is not limited, so that it
    is linear in the factors.
    """
    rng, n_agents = np.random.default_rng(seed), len(factors)
    ends = {name: np.full(len(model.roles.state), np.inf) for name in ("high", "target_high")}
    ends |= {name.replace("high", "low"): -value for name, value in ends.items()}
    norm = replace(model.normalizer, **ends)
    n_steps, n_state = max(*lengths, 1), len(model.roles.state)
    start = norm.state_mean + 0.5 * norm.state_scale * rng.normal(size=(n_agents, n_state))
    if model.discrete:
        actions: Any = rng.integers(0, len(LEVELS), (n_agents, n_steps)).astype(np.int32)
    else:
        spread = rng.normal(size=(n_agents, n_steps, len(model.roles.action)))
        actions = norm.action_mean + norm.action_scale * spread
    first = jax.tree.map(lambda leaf: leaf[:1], model.members)
    first = eqx.tree_at(lambda m: m.agents, first, jnp.asarray(factors, jnp.float32)[None])
    path = rollout_members(first, norm, np.arange(n_agents), start, actions)[0]
    path = path + noise * norm.target_scale * rng.normal(size=path.shape)
    names = model.agent_ids if ids is None else tuple(ids)
    tables = []
    for n, length in enumerate(lengths):
        states = np.concatenate([start[n, None], path[n]])[: length + 1]
        table = {model.roles.agent: [names[n]] * (length + 1), model.roles.time: range(length + 1)}
        table |= {name: states[:, d] for d, name in enumerate(model.roles.state)}
        given = LEVELS[actions[n], None] if model.discrete else actions[n]
        for a, name in enumerate(model.roles.action):
            table[name] = [*given[:length, a].tolist(), None]
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def panel_of(model: FittedModel, lengths: Any, factors: Any, **options: Any) -> PanelDataset:
    """``course_table`` as a panel."""
    return PanelDataset.from_frame(course_table(model, lengths, factors, **options), model.roles)


def transitions_of(model: FittedModel, panel: PanelDataset) -> Transitions:
    """With actions as the model counts its levels."""
    alone = not model.normalizer.acted_mean.size
    return with_levels_of(model, panel).transitions(model.history, changes_alone=alone)
