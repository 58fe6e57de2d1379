"""Checks of the model itself: does it miss something systematic, is it stable, how rich is it.

Factors are unique only up to a change of basis, so everything here looks at predictions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adapt import MISFIT, agent_misfit
from twinfold.models.fitted_model import FittedModel
from twinfold.models.posterior import features_of
from twinfold.models.rollout import rollout_members
from twinfold.uncertainty.holdout_evaluation import Examined
from twinfold.uncertainty.support import own_share
from twinfold.validation.baselines import best_simple
from twinfold.validation.check import Check, Status
from twinfold.validation.thresholds import CRITERIA, Criteria

Floats = NDArray[np.float64]

_AGENTS, _PROBES = 200, 64  # of the prediction tensor


def misfits(model: FittedModel) -> Check:
    """Agents of the run whose own data no factors explain.

    phi, the squared residuals over the squared noise, is compared with that of the other agents on
    a logarithmic scale: an agent is flagged beyond the normal quantile for one in a hundred sets
    of agents, and beyond ``MISFIT``.
    """
    from scipy import stats

    known = model.posterior
    has = np.flatnonzero(known.evidence.count > 0)
    values = np.median(agent_misfit(model), axis=0)[has]
    size = np.log(values)
    middle = np.median(size)
    spread = max(1.4826 * float(np.median(np.abs(size - middle))), 0.1)
    limit = max(np.log(MISFIT), middle + spread * float(stats.norm.isf(0.01 / len(has))))
    bad = np.flatnonzero(size > limit)
    bad = bad[np.argsort(-values[bad])]
    names = tuple(model.agent_ids[n] for n in has[bad])
    return Check(
        "agents whose own data does not fit",
        "warn" if len(bad) else "pass",
        f"{len(bad)} of {len(has)} agents",
        f"squared residuals up to {np.exp(limit):.3g} times the noise",
        "Every agent's data is explained by factors of its own."
        if not len(bad)
        else f"{names[0]!r} fits {values[bad[0]]:.3g} times worse than the noise allows: "
        "contradictory rows, another regime, or an agent unlike all others. Its band is wide.",
        agents=names,
        values={"phi": values[bad].tolist(), "median": float(np.exp(middle))},
    )


def residual_structure(found: Examined, rules: Criteria = CRITERIA) -> Check:
    """How much of the one-step residuals a quadratic function of state and action explains."""
    mask = found.ends.mask
    norm = found.model.normalizer
    state = np.concatenate([found.ends.state[:, None], found.ends.next_state[:, :-1]], axis=1)[mask]
    standard = norm.encode_state(state)
    action = found.ends.action[mask]
    if found.model.action_levels is None:
        code = norm.encode_action(action)
    else:
        code = np.eye(len(found.model.action_levels))[action][:, 1:]
    x = np.concatenate([np.ones((len(standard), 1)), standard, standard**2, code], axis=1)
    y = found.residual[mask]
    limit = np.quantile(np.abs(y), 0.99, axis=0)
    y = np.clip(y, -limit, limit)
    n, q = x.shape
    if n <= 3 * q:
        return Check(
            "residuals against state and action",
            "unknown",
            f"{n} transitions",
            f"more than {3 * q}",
            "Too few transitions to tell whether errors depend on state or action.",
        )
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]
    left = np.square(y - x @ coefficients).sum(axis=0) / (n - q)
    total = np.maximum(np.square(y - y.mean(axis=0)).sum(axis=0) / (n - 1), 1e-30)
    share = np.clip(1 - left / total, 0.0, 1.0)
    worst = int(share.argmax())
    name = found.model.roles.state[worst]
    fine = share[worst] < rules.structured
    return Check(
        "residuals against state and action",
        "pass" if fine else "warn",
        f"{100 * share[worst]:.0f} % of their variance in {name!r}",
        f"below {100 * rules.structured:.0f} %",
        "One-step errors hardly depend on state and action."
        if fine
        else f"One-step errors of {name!r} depend on state or action: the model misses something "
        "systematic there that the columns show: a derived column such as a product or a limit, or "
        "joint features (--features joint) if actions do different things in different states.",
        values=dict(zip(found.model.roles.state, share.tolist(), strict=True)),
    )


def members_agree(
    model: FittedModel, found: Examined, seed: int, rules: Criteria = CRITERIA
) -> Check:
    """Whether members that were trained from other seeds predict alike, where it matters.

    Two figures. How far members are from each other along the held-out ends, over the error there:
    what another seed would change. And the correlation between two members, over agents and
    probes, of the predicted one-step changes less their mean over the agents: whether they tell
    agents apart alike. Plans rest on what single members say; they must not where members differ by
    far more than the error and by as much as the best simple control is wrong.
    """
    name = "stability across seeds"
    if model.n_members < 2 or len(model.agent_ids) < 3:
        return Check(
            name,
            "unknown",
            f"{model.n_members} members, {len(model.agent_ids)} agents",
            "2 members and 3 agents",
            "Nothing to compare.",
        )
    responses = _responses(model, seed)
    own = responses - responses.mean(axis=1, keepdims=True)
    flat = own.reshape(len(own), -1)
    with np.errstate(invalid="ignore"):  # of a member that diverged
        table = np.corrcoef(np.nan_to_num(flat))
    pairs = table[np.triu_indices(len(table), 1)]
    value = float(np.median(np.nan_to_num(pairs)))
    apart = float(np.median(found.disagreement))
    times = apart / max(float(np.median(found.rmse)), 1e-12)
    simple = float(np.median(found.controls[best_simple(found)]))
    status: Status = "pass" if times <= 1 or value >= rules.agreeing else "warn"
    if times > rules.unstable and apart > simple:
        status = "fail"
    return Check(
        name,
        status,
        f"members differ by {times:.2g} times the error; correlation {value:.2f} between them",
        f"at most 1, or {rules.agreeing:g}",
        "Another seed would change predictions by less than their error."
        if times <= 1
        else "Members tell agents apart alike."
        if status == "pass"
        else "Another seed would change predictions by more than their error here: use the mean of "
        "the members, and ask for the support of a prediction. More rows of each agent would help.",
        planning=True,
        values={"times": times, "correlation": value, "pairs": pairs.tolist()},
    )


def numerical_rank(model: FittedModel, seed: int, rules: Criteria = CRITERIA) -> Check:
    """How many latent terms the predictions use: the rank of the unfolded tensor, agents by rest.

    PerSim's theorem says that few suffice for smooth dynamics; a model that needs all it has may
    need more.
    """
    responses = _responses(model, seed)
    whole = np.isfinite(responses).all(axis=(1, 2))  # not of a member that diverged
    responses = np.nan_to_num(responses[int(whole.argmax())])
    values = np.linalg.svd(responses, compute_uv=False)
    share = np.cumsum(values**2) / max(float(np.square(values).sum()), 1e-30)
    used = int(np.searchsorted(share, rules.energy)) + 1
    rank = min(model.members.rank, *responses.shape)
    full = used >= rank > 1
    return Check(
        "numerical rank",
        "warn" if full else "pass",
        f"{used} of {rank} terms hold {100 * rules.energy:.1f} % of the predictions",
        f"fewer than {rank}",
        "The rank is more than what the agents need."
        if not full
        else "Predictions use all the latent terms there are. That is no fault by itself; where "
        "errors are larger than the noise, agents may differ in more ways than the rank allows.",
        values={"rank": used, "of": rank, "singular_values": values[: rank + 2].tolist()},
    )


def own_data(model: FittedModel, rules: Criteria = CRITERIA) -> Check:
    """How much of the agents' predictions, where the data lies, is determined by their own data."""
    known = model.posterior
    rows = np.arange(len(model.sample.state))[:: max(1, len(model.sample.state) // _PROBES)]
    features = features_of(
        model.members, model.normalizer, model.sample.state[rows], model.sample.action[rows]
    )
    n_agents = len(model.agent_ids)
    agents = np.random.default_rng(0).permutation(n_agents)[:_AGENTS]
    share = np.array(
        [
            own_share(known.prior, known.evidence, features, np.full(len(rows), n)).mean()
            for n in agents
        ]
    )
    poor = float((share < rules.poor).mean())
    worst = agents[np.argsort(share)][:5]
    return Check(
        "coverage by own data",
        "pass" if poor <= rules.poor_agents else "warn",
        f"{100 * float(np.median(share)):.0f} % own data in the median; mostly borrowed for "
        f"{100 * poor:.0f} % of agents",
        f"at most {100 * rules.poor_agents:.0f} % of agents mostly borrowed",
        "Most agents' predictions rest on their own data."
        if poor <= rules.poor_agents
        else "Many agents' predictions are borrowed from the population where the data lies: they "
        "have too few rows, or rows that are too much alike.",
        agents=tuple(model.agent_ids[n] for n in worst) if poor > 0 else (),
        values={"median": float(np.median(share)), "poor": poor},
    )


def factor_map(model: FittedModel) -> dict[str, Any]:
    """Agents on a plane by how they respond: principal components of predicted changes."""
    responses = np.median(_responses(model, 0), axis=0)
    own = responses - responses.mean(axis=0)
    left, values, _ = np.linalg.svd(np.nan_to_num(own), full_matrices=False)
    plane = (left * values)[:, :2]
    if plane.shape[1] < 2:
        plane = np.pad(plane, [(0, 0), (0, 2 - plane.shape[1])])
    known = model.posterior
    chosen = _chosen(model, 0)
    return {
        "ids": [model.agent_ids[n] for n in chosen],
        "x": plane[:, 0].tolist(),
        "y": plane[:, 1].tolist(),
        "trained": known.trained[chosen].tolist(),
        "transitions": known.evidence.count[chosen].tolist(),
    }


def _chosen(model: FittedModel, seed: int) -> NDArray[np.int64]:
    n_agents = len(model.agent_ids)
    if n_agents <= _AGENTS:
        return np.arange(n_agents)
    return np.sort(np.random.default_rng((seed, 17)).permutation(n_agents)[:_AGENTS])


def _responses(model: FittedModel, seed: int) -> Floats:
    """Predicted targets ``(M, N', P D)`` of agents at probes, standardised."""
    agents = _chosen(model, seed)
    rng = np.random.default_rng((seed, 19))
    rows = rng.permutation(len(model.sample.state))[:_PROBES]
    state, action = model.sample.state[rows], model.sample.action[rows]
    n_agents, n_probes = len(agents), len(rows)
    paths = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(agents, n_probes),
        np.tile(state, (n_agents, 1)),
        np.tile(action, (n_agents, *[1] * (action.ndim - 1)))[:, None],
    )[:, :, 0]
    norm, start = model.normalizer, np.tile(state, (n_agents, 1))
    target = np.stack([norm.encode_target(start, path) for path in paths])  # linear in the factors
    return target.reshape(model.n_members, n_agents, -1)
