"""Support of a prediction: the agent's own data, other agents' data, or nothing.

Three figures for every state and action on the way of a prediction:

    own    share of the prior variance of the prediction that the agent's own data has taken away
           (``own_share``); the rest is borrowed from the population
    near   1 where the training data is as dense as where it usually is, falling to 0 at twice the
           distance that 95 % of the data keeps from its neighbours
    agree  1 where the members agree as on the training data, falling to 0 at four times the
           disagreement that 95 % of the data stays below

The support of a step is near x agree; that of a prediction after h steps the least so far, because
a prediction is no better than the worst step it went through.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.memory import start_of
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.normal_equations import inverse
from twinfold.models.posterior import Evidence
from twinfold.models.prior import Prior
from twinfold.utils.cores import usable_cores
from twinfold.utils.text import unused_name

Floats = NDArray[np.float64]

UNSUPPORTED, BORROWED, OWN = 0, 1, 2
BASIS = ("unsupported", "borrowed", "own data")
"""Names of what a prediction rests on, by number."""

_FEATURES = 2**23  # numbers of features held at once


@dataclass(frozen=True)
class SupportSettings:
    """Numbers that decide what counts as support.

    Attributes:
        unsupported: support below which a prediction is called unsupported.
        own_data: share of the agent's own data from which on a prediction rests on it.
        neighbours: of a state and action in the training data, over which the distance is averaged.
        level_distance: of two levels of a discrete action: neither stands for the other.
        quantile: share of the training data whose distance and disagreement are the reference.
        fade_distance: times the reference distance, where nothing is left.
        fade_disagreement: times the reference disagreement, where nothing is left.
    """

    unsupported: float = 0.5
    own_data: float = 0.5
    neighbours: int = 3
    level_distance: float = 10.0
    quantile: float = 0.95
    fade_distance: float = 2.0
    fade_disagreement: float = 4.0


SUPPORT = SupportSettings()
"""Those of every answer; the training data is measured by them once per model."""


class Support(NamedTuple):
    """``...`` as asked.

    Attributes:
        score: ``(..., H)`` in [0, 1], the least support up to each step.
        own: ``(..., H)`` in [0, 1], share of the agent's own data; NaN if the run has no posterior.
        basis: ``(..., H)`` int, an index into ``BASIS``.
    """

    score: Floats
    own: Floats
    basis: NDArray[np.int8]

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Support:
        """Return the same function of each array."""
        return Support(function(self.score), function(self.own), function(self.basis))


class SupportReference(NamedTuple):
    """Distance and disagreement on the training data, the measure of those of a prediction.

    Attributes:
        tree: of the inputs of the nets and the actions.
        distance: to the nearest neighbours, that 95 % of the data keeps.
        disagreement: of the members, that 95 % of the data stays below; the noise, if that is more.
    """

    tree: Any
    distance: float
    disagreement: float


_references: weakref.WeakKeyDictionary[FittedModel, SupportReference] = weakref.WeakKeyDictionary()


def path_support(
    model: FittedModel,
    agent: NDArray[np.integer],
    states: Floats,
    actions: NDArray[Any],
    reference: FittedModel | None = None,
    known: Floats | None = None,
) -> Support:
    """Return the support of predictions along their way.

    Args:
        model: a fitted model.
        agent: ``(Q,)`` indices.
        states: ``(Q, H, D)``, from which each action is taken: the start, then predicted states.
        actions: ``(Q, H)`` level indices or ``(Q, H, A)`` raw units.
        reference: model whose training data is the reference; ``model`` if None.
        known: ``(Q, H, E)``, known inputs of each step, raw units; the mean ones if None.
    """
    n_queries, horizon, n_state = states.shape
    flat = states.reshape(-1, n_state)
    codes = actions.reshape(-1, *actions.shape[2:])
    who = np.repeat(agent, horizon)
    trained = support_reference(reference or model)
    finite = np.asarray(np.isfinite(flat).all(axis=1))
    safe = np.where(finite[:, None], flat, model.normalizer.state_mean)
    told = None if known is None else known.reshape(-1, known.shape[-1])
    if told is not None and model.uneven:  # longer steps are taken in parts
        told = np.minimum(told, np.append(np.full(told.shape[1] - 1, np.inf), _longest(model)))
    safe = start_of(safe, model.normalizer.n_memory, told)
    away = _distance(trained.tree, _inputs(model, safe, codes))
    apart, own = _members(model, who, safe, codes)
    near = _fade(away / trained.distance, SUPPORT.fade_distance)
    agree = _fade(apart / trained.disagreement, SUPPORT.fade_disagreement)
    step = np.where(finite, near * agree, 0.0).reshape(n_queries, horizon)
    score = np.minimum.accumulate(step, axis=1)
    own = own.reshape(n_queries, horizon)
    basis = np.where(own >= SUPPORT.own_data, OWN, BORROWED)
    basis = np.where(score < SUPPORT.unsupported, UNSUPPORTED, basis).astype(np.int8)
    return Support(score, own, basis)


def _longest(model: FittedModel) -> float:
    """Return the length of the longest step of the training data, in usual ones."""
    return float(model.normalizer.known_high[-1])


def own_share(prior: Prior, evidence: Evidence, features: Floats, agent: NDArray[Any]) -> Floats:
    """Return the share of a prediction that an agent's own data determines, ``(K,)`` in [0, 1].

        1 - tr_W(Z (Lambda + G)^-1 Z^T) / tr_W(Z Lambda^-1 Z^T)

    the share of the prior variance of the prediction that the agent's data has taken away, the mean
    over the members. 0 for an agent without data.

    Args:
        prior: of all agents.
        evidence: of the agents.
        features: ``(M, K, D, r)``, Z of the queries.
        agent: ``(K,)``, whose.
    """
    # With a covariance S = L L^T, tr_W(Z S Z^T) is the sum of squares of W^(1/2) Z L.
    before = _root(np.linalg.inv(prior.precision))  # (M, r, r)
    who, place = np.unique(agent, return_inverse=True)
    after = _root(inverse(prior.precision[:, None], evidence.gram[:, who]))  # (M, n, r, r)
    z = features / prior.noise[:, None, :, None]
    total, left = np.empty(z.shape[:2]), np.empty(z.shape[:2])
    for m in range(len(z)):
        for out, root in ((total, before[m]), (left, after[m, place])):
            part = z[m] @ root  # (K, D, r)
            out[m] = np.einsum("kdr,kdr->k", part, part)
    share = 1.0 - left / np.maximum(total, 1e-300)
    return np.clip(share, 0.0, 1.0).mean(axis=0)


def _root(covariance: NDArray[np.floating]) -> Floats:
    """Return L with L L^T the covariance ``(..., r, r)``, however badly conditioned."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]


def abstention(support: Support, abstained: NDArray[np.bool_], least: float) -> str:
    """Return why there is no prediction where ``abstained``, ``(Q, H)``, in a sentence."""
    query, step = (int(i) for i in np.argwhere(abstained)[0])
    return (
        f"no prediction from step {step + 1} on: its support is "
        f"{support.score[query, step]:.2f}, below {least:g}; neither the agent nor others were "
        "seen in such states under such actions, or the members of the model contradict each other"
    )


def support_columns(support: Support, taken: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return the columns ``support`` and ``basis``, an underscore added where the name is taken."""
    table: dict[str, NDArray[Any]] = {}
    names = np.asarray(BASIS, dtype=object)
    for name, values in (("support", support.score), ("basis", names[support.basis])):
        table[unused_name(name, taken)] = values.reshape(-1)
    return table


def _fade(ratio: Floats, end: float) -> Floats:
    """Return 1 up to 1, then linear to 0 at ``end``; 0 for what is not finite."""
    return np.nan_to_num(np.clip((end - ratio) / (end - 1), 0.0, 1.0), nan=0.0)


def _inputs(model: FittedModel, state: Floats, action: NDArray[Any]) -> Floats:
    """Return what distances are measured in: inputs of the nets, and the action.

    Two levels of a discrete action are as far apart as it takes for neither to stand for the other.
    """
    norm, n_state = model.normalizer, len(model.roles.state)
    inputs = norm.inputs(norm.encode_state(state[:, :n_state]))
    if norm.n_known:
        inputs = np.concatenate([inputs, norm.known_of(norm.carry(state))], axis=1)
    if model.action_levels is None:
        return np.concatenate([inputs, norm.encode_action(action)], axis=1)
    marks = np.eye(len(model.action_levels))[np.asarray(action, np.int64)]
    return np.concatenate([inputs, SUPPORT.level_distance * marks], axis=1)


def _distance(tree: Any, inputs: Floats, skip: int = 0) -> Floats:
    """Return the mean distance to the nearest neighbours, ``skip`` of them left out."""
    count = min(SUPPORT.neighbours + skip, tree.n)
    found = np.asarray(tree.query(inputs, k=count, workers=usable_cores())[0]).reshape(
        len(inputs), count
    )
    return found[:, min(skip, count - 1) :].mean(axis=1)


def _members(
    model: FittedModel, agent: NDArray[np.integer], state: Floats, action: NDArray[Any]
) -> tuple[Floats, Floats]:
    """Return the members' disagreement of one step, and the agent's own share: ``(K,)`` each."""
    n_state, rank = len(model.roles.state), model.members.rank
    size = max(64, _FEATURES // (model.n_members * n_state * rank))
    factors = np.asarray(model.members.agents, np.float64)
    apart, own = np.empty(len(state)), np.full(len(state), np.nan)
    for first in range(0, len(state), size):
        part = slice(first, first + size)
        features = features_of(model.members, model.normalizer, state[part], action[part])
        with np.errstate(invalid="ignore", over="ignore"):  # where predictions have diverged
            target = np.einsum("mkdr,mkr->mkd", features, factors[:, agent[part]])
            away = np.abs(target - np.median(target, axis=0))
            apart[part] = np.median(away, axis=0).mean(axis=-1)
            prior, evidence = model.posterior[:2]
            own[part] = own_share(prior, evidence, features, agent[part])
    return apart, own


def support_reference(model: FittedModel) -> SupportReference:
    """Return distance and disagreement on the training data of a model, measured once per model."""
    if model not in _references:
        _references[model] = _measure(model)
    return _references[model]


def _measure(model: FittedModel) -> SupportReference:
    from scipy.spatial import KDTree

    state, action, agent, known = model.sample
    state = start_of(state, model.normalizer.n_memory, known)
    tree = KDTree(_inputs(model, state, action))
    # A point's nearest neighbour is itself.
    distance = np.quantile(_distance(tree, tree.data, skip=1), SUPPORT.quantile)
    apart = np.quantile(_members(model, agent, state, action)[0], SUPPORT.quantile)
    # Members that have learned the noise by heart agree on the data far better than is meant.
    noise = 0.0
    if model.posterior is not None:
        noise = float(np.median(model.posterior.prior.noise, axis=0).mean())
    return SupportReference(tree, max(float(distance), 1e-9), max(float(apart), noise, 1e-9))
