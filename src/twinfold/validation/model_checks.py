"""Checks of the model itself: does it miss something systematic, is it stable, how rich is it.

Factors are unique only up to a change of basis, so everything here looks at predictions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adapt import agent_misfit
from twinfold.metrics import principal_components
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.rollout import agent_responses
from twinfold.uncertainty.holdout_evaluation import HoldoutResult
from twinfold.uncertainty.support import own_share
from twinfold.validation.baselines import best_simple
from twinfold.validation.check import Check, said
from twinfold.validation.thresholds import THRESHOLDS, ValidationThresholds

Floats = NDArray[np.float64]


class Responses(NamedTuple):
    """Predicted one-step changes of some agents at common states and actions.

    Attributes:
        agent: ``(N',)``, indices.
        change: ``(M, N', P D)``, by each member, standardised.
    """

    agent: NDArray[np.int64]
    change: Floats


def responses_of(
    model: FittedModel, seed: int, rules: ValidationThresholds = THRESHOLDS
) -> Responses:
    """Return the responses of some agents at some states of the training data."""
    agents = _chosen(model, seed, rules.response_agents)
    rng = np.random.default_rng((seed, 19))
    rows = rng.permutation(len(model.sample.state))[: rules.response_probes]
    state, action = model.sample.state[rows], model.sample.action[rows]
    return Responses(agents, agent_responses(model, agents, state, action))


def _chosen(model: FittedModel, seed: int, most: int) -> NDArray[np.int64]:
    n_agents = len(model.agent_ids)
    if n_agents <= most:
        return np.arange(n_agents)
    return np.sort(np.random.default_rng((seed, 17)).permutation(n_agents)[:most])


def misfits(model: FittedModel, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Find agents of the run whose own data no factors explain.

    phi, the squared residuals over the squared noise, is compared with that of the other agents on
    a logarithmic scale: an agent is flagged beyond the normal quantile for one in a hundred sets
    of agents, and beyond ``misfit``.
    """
    from scipy import stats

    known = model.posterior
    has_data = np.flatnonzero(known.evidence.count > 0)
    phi = np.median(agent_misfit(model), axis=0)[has_data]
    median = np.median(np.log(phi))
    mad_sd = 1.4826 * float(np.median(np.abs(np.log(phi) - median)))
    quantile = float(stats.norm.isf(rules.level / len(has_data)))
    limit = max(np.log(rules.misfit), median + max(mad_sd, rules.misfit_spread) * quantile)
    bad = np.flatnonzero(np.log(phi) > limit)
    bad = bad[np.argsort(-phi[bad])]
    names = tuple(model.agent_ids[n] for n in has_data[bad])
    return said(
        "agents whose own data does not fit",
        "warn" if names else "pass",
        rules,
        {"phi": phi[bad].tolist(), "median": float(np.exp(median))},
        concerned=names,
        bad=len(bad),
        all=len(has_data),
        limit=np.exp(limit),
        **({"agent": names[0], "worst": phi[bad[0]]} if names else {}),
    )


def residual_structure(found: HoldoutResult, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Check that a quadratic function of state and action explains little of one-step residuals.

    Within agents: of one who is known by a few rows the level is known badly, and agents with high
    levels have high states.
    """
    name = "residuals against state and action"
    mask = found.ends.mask
    agent = np.broadcast_to(found.ends.agent[:, None], mask.shape)[mask]
    x, y = _design(found), found.residual[mask]
    whole = ~np.isnan(y).any(axis=1)  # of steps of which some column was not observed nothing
    x, y, agent = x[whole], y[whole], agent[whole]
    n_agents = len(np.unique(agent))
    n, q = len(x) - n_agents, x.shape[1]
    least = rules.rows_per_weight * q
    if n <= least:
        return said(name, "few", rules, transitions=len(x), needed_rows=least + n_agents)
    gross = np.quantile(np.abs(y), 1 - rules.gross_residuals, axis=0)
    x, y = _within(x, agent), _within(np.clip(y, -gross, gross), agent)
    unexplained = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    variance = np.maximum(np.square(y).sum(axis=0) / n, 1e-30)
    share = np.clip(1 - np.square(unexplained).sum(axis=0) / (n - q) / variance, 0.0, 1.0)
    worst, columns = int(share.argmax()), found.model.roles.state
    return said(
        name,
        "pass" if share[worst] < rules.structured else "warn",
        rules,
        dict(zip(columns, share.tolist(), strict=True)),
        share=share[worst],
        column=columns[worst],
    )


def _design(found: HoldoutResult) -> Floats:
    """Return the state, its square and the action of every step, standardised, ``(K, q)``."""
    mask, norm, levels = found.ends.mask, found.model.normalizer, found.model.action_levels
    before = np.concatenate([found.ends.state[:, None], found.ends.next_state[:, :-1]], axis=1)
    state, action = norm.encode_state(before[mask]), found.ends.action[mask]
    code = norm.encode_action(action) if levels is None else np.eye(len(levels))[action][:, 1:]
    return np.concatenate([state, state**2, code], axis=1)


def _within(values: Floats, agent: NDArray[np.integer]) -> Floats:
    """Return values ``(K, C)`` less the mean of their agent's."""
    _, place, rows = np.unique(agent, return_inverse=True, return_counts=True)
    total = np.zeros((len(rows), values.shape[1]))
    np.add.at(total, place, values)
    return values - (total / rows[:, None])[place]


def members_agree(
    model: FittedModel,
    found: HoldoutResult,
    responses: Responses,
    rules: ValidationThresholds = THRESHOLDS,
) -> Check:
    """Check that members that were trained from other seeds predict alike, where it matters.

    Two figures. How far members are from each other along the held-out ends, over the error there:
    what another seed would change. And the correlation between two members, over agents and
    probes, of the predicted one-step changes less their mean over the agents: whether they tell
    agents apart alike. Plans rest on what single members say; they must not where members differ by
    far more than the error and by as much as the best simple control is wrong.
    """
    name = "stability across seeds"
    if model.n_members < 2 or len(model.agent_ids) < 3:
        return said(name, "few", rules, members=model.n_members, agents=len(model.agent_ids))
    own = responses.change - responses.change.mean(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # of a member that diverged
        table = np.corrcoef(np.nan_to_num(own.reshape(len(own), -1)))
    pairs = table[np.triu_indices(len(table), 1)]
    correlation = float(np.median(np.nan_to_num(pairs)))
    apart = float(np.median(found.disagreement))
    times = apart / max(float(np.median(found.rmse)), 1e-12)
    simple = float(np.median(found.controls[best_simple(found)]))
    if times > rules.unstable and apart > simple:
        outcome = "fail"
    elif times <= 1:
        outcome = "pass"
    else:
        outcome = "alike" if correlation >= rules.agreeing else "warn"
    values = {"times": times, "correlation": correlation, "pairs": pairs.tolist()}
    return said(name, outcome, rules, values, planning=True)


def numerical_rank(
    model: FittedModel, responses: Responses, rules: ValidationThresholds = THRESHOLDS
) -> Check:
    """Count the latent terms that predictions use: the rank of the unfolded tensor, agents by rest.

    PerSim's theorem says that few suffice for smooth dynamics; a model that needs all it has may
    need more. Counted before hard limits bend predictions, which are no terms of the model. The
    terms of a model without nets are the columns of a linear one, whose number says nothing.
    """
    if 0 < model.members.n_fixed == model.members.rank:
        return said("numerical rank", "simple", rules)
    n_states, n_columns = model.sample.state.shape
    n_probes = responses.change.shape[-1] // n_columns
    rows = np.arange(n_states)[:: max(1, n_states // n_probes)]
    state, action = model.sample.state[rows], model.sample.action[rows]
    terms = features_of(model.members, model.normalizer, state, action)  # (M, P, D, r)
    factors = np.asarray(model.members.agents, np.float64)[:, responses.agent]  # (M, N', r)
    tensors = np.einsum("mnr,mpdr->mnpd", factors, terms).reshape(*factors.shape[:2], -1)
    whole = np.isfinite(tensors).all(axis=(1, 2))  # not of a member that diverged
    tensor = np.nan_to_num(tensors[int(whole.argmax())])
    singular = np.linalg.svd(tensor, compute_uv=False)
    held = np.cumsum(singular**2)
    used = int(np.searchsorted(held, rules.energy * held[-1])) + 1 if held[-1] > 0 else 0
    rank = min(model.members.rank, *tensor.shape)
    return said(
        "numerical rank",
        "warn" if used >= rank > 1 else "pass",
        rules,
        {"rank": used, "of": rank, "singular_values": singular[: rank + 2].tolist()},
        energy=100 * rules.energy,
    )


def own_data(model: FittedModel, rules: ValidationThresholds = THRESHOLDS) -> Check:
    """Check that agents' own data determines their predictions, where the data lies."""
    name, known = "coverage by own data", model.posterior
    if model.members.alike:
        return said(name, "same", rules)
    if model.sample.action is None:
        return said(name, "nothing", rules)
    n_states = len(model.sample.state)
    rows = np.arange(n_states)[:: max(1, n_states // rules.response_probes)]
    features = features_of(
        model.members, model.normalizer, model.sample.state[rows], model.sample.action[rows]
    )
    agents = np.random.default_rng(0).permutation(len(model.agent_ids))[: rules.response_agents]
    share = np.array(
        [
            own_share(known.prior, known.evidence, features, np.full(len(rows), n)).mean()
            for n in agents
        ]
    )
    poor = float((share < rules.poor).mean())
    worst = agents[np.argsort(share)][:5]
    return said(
        name,
        "pass" if poor <= rules.poor_agents else "warn",
        rules,
        {"median": float(np.median(share)), "poor": poor},
        concerned=tuple(model.agent_ids[n] for n in worst) if poor > 0 else (),
    )


def factor_map(model: FittedModel, responses: Responses) -> dict[str, Any]:
    """Return agents on a plane by how they respond: principal components of predicted changes."""
    median = np.median(responses.change, axis=0)
    plane, _ = principal_components(np.nan_to_num(median))
    known, chosen = model.posterior, responses.agent
    return {
        "ids": [model.agent_ids[n] for n in chosen],
        "x": plane[:, 0].tolist(),
        "y": plane[:, 1].tolist(),
        "trained": known.trained[chosen].tolist(),
        "transitions": known.evidence.count[chosen].tolist(),
    }
