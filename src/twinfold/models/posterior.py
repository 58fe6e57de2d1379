"""The posterior of every agent's factors: a Bayesian linear regression, given the nets.

With the features Z(s, a) of a member fixed, the standardised target is linear in the factors,

    y = Z u + e,    e_d ~ N(0, sigma_d^2),    u ~ N(mu, Lambda^-1)

with mu and Lambda from the training agents (``adaptation.empirical_bayes``) and sigma from
held-out errors. An agent's data enters by sums over its transitions alone (W = diag(1 / sigma^2)):

    G = sum Z^T W Z,   b = sum Z^T W (y - Z mu),   c = sum (y - Z mu)^T W (y - Z mu)

    u | data ~ N(mu + (Lambda + G)^-1 b,  phi (Lambda + G)^-1)
    phi = max(1, RSS / K),   RSS = c - 2 b^T d + d^T G d,   d = E[u] - mu

with K the observed values: D of each transition, less what is missing. A value that was not
observed adds to no sum.

So data can come in any order and in any parts, and an agent can be forgotten. phi says how much
worse an agent fits than the noise allows: data that contradicts itself, or the model, makes the
posterior wide instead of confidently wrong.

Axes: M members, N agents, r rank, D state columns, K transitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.data.transitions import Transitions
from twinfold.models.factor_model import FactorModel
from twinfold.models.member_features import member_features
from twinfold.models.normal_equations import inverse, solution
from twinfold.models.normalizer import Normalizer
from twinfold.models.prior import PRIOR, Prior, no_walls, prior_root
from twinfold.models.static_prior import OwnPrior, StaticPrior

Floats = NDArray[np.float64]

_CHUNK = 8192  # transitions whose features are held at once, fewer if they are large:
_VALUES = 2**22  # numbers in their features and (r, r) products


@dataclass(frozen=True)
class PosteriorSettings:
    """Numbers of a posterior that leaves nothing open, and of drawing from any.

    Attributes:
        certain: precision of factors that data leaves nothing open about.
        draws: from the posterior, for each member and question.
    """

    certain: float = 1e12
    draws: int = 4


POSTERIOR = PosteriorSettings()
"""Those of every posterior."""


class Evidence(NamedTuple):
    """Sums over each agent's transitions: all that its data says. Float64, on the host.

    Attributes:
        gram: ``(M, N, r, r)``, G.
        moment: ``(M, N, r)``, b.
        energy: ``(M, N)``, c.
        count: ``(N,)`` int64, transitions.
        missing: ``(N,)`` int64, values of these that were not observed.
    """

    gram: Floats
    moment: Floats
    energy: Floats
    count: NDArray[np.int64]
    missing: NDArray[np.int64]

    @classmethod
    def none(cls, n_members: int, n_agents: int, rank: int) -> Evidence:
        """Return the evidence of agents without data."""
        return cls(
            np.zeros((n_members, n_agents, rank, rank)),
            np.zeros((n_members, n_agents, rank)),
            np.zeros((n_members, n_agents)),
            np.zeros(n_agents, np.int64),
            np.zeros(n_agents, np.int64),
        )

    def values(self, n_state: int) -> NDArray[np.int64]:
        """Return how many values of ``n_state`` columns were observed of each agent, ``(N,)``."""
        return self.count * n_state - self.missing

    def take(self, agents: NDArray[np.integer] | slice) -> Evidence:
        """Return what is known of some agents."""
        return Evidence(
            self.gram[:, agents],
            self.moment[:, agents],
            self.energy[:, agents],
            self.count[agents],
            self.missing[agents],
        )

    def join(self, other: Evidence) -> Evidence:
        """Return the evidence of these agents and of further ones."""
        return Evidence(
            np.concatenate([self.gram, other.gram], axis=1),
            np.concatenate([self.moment, other.moment], axis=1),
            np.concatenate([self.energy, other.energy], axis=1),
            np.concatenate([self.count, other.count]),
            np.concatenate([self.missing, other.missing]),
        )

    def minus(self, other: Evidence) -> Evidence:
        """Return the evidence that is not in ``other``, of the same agents."""
        return Evidence(
            self.gram - other.gram,
            self.moment - other.moment,
            self.energy - other.energy,
            self.count - other.count,
            self.missing - other.missing,
        )

    def from_mean(self, move: Floats) -> Evidence:
        """Counted from a prior mean that has moved by ``(M, r)``; weights of rows stay."""
        turned = np.einsum("mnrs,ms->mnr", self.gram, move)
        energy = self.energy - np.einsum("mnr,mr->mn", 2 * self.moment - turned, move)
        return self._replace(moment=self.moment - turned, energy=np.maximum(energy, 0.0))

    def copy(self) -> Evidence:
        """Arrays of its own."""
        parts: list[Any] = [part.copy() for part in self]
        return Evidence(*parts)

    def add(self, agents: NDArray[np.integer], other: Evidence) -> Evidence:
        """With more data of some agents, each named once."""
        total = self.copy()
        for mine, theirs in zip(total[:3], other[:3], strict=True):
            mine[:, agents] += theirs
        total.count[agents] += other.count
        total.missing[agents] += other.missing
        return total


class Posterior(NamedTuple):
    """Everything that is known of the agents' factors.

    Attributes:
        prior: of all agents.
        evidence: of each.
        trained: ``(N,)`` bool, whether the nets have seen the agent's data.
        static: what static columns say of an agent; None if they say nothing, or there are none.
        values: ``(N, C)``, these columns, NaN where not known; None without any.
    """

    prior: Prior
    evidence: Evidence
    trained: NDArray[np.bool_]
    static: StaticPrior | None = None
    values: Floats | None = None

    @classmethod
    def certain(cls, factors: Floats, n_state: int) -> Posterior:
        """Return a posterior that leaves nothing open about agents.

        Args:
            factors: of all agents, ``(M, N, r)``.
            n_state: D.
        """
        n_members, n_agents, rank = factors.shape
        mean, identity = factors.mean(axis=1), np.eye(rank)
        away = factors - mean[:, None]
        evidence = Evidence(
            np.tile(POSTERIOR.certain * identity, (n_members, n_agents, 1, 1)),
            POSTERIOR.certain * away,
            POSTERIOR.certain * np.square(away).sum(axis=-1),
            np.ones(n_agents, np.int64),
            np.zeros(n_agents, np.int64),
        )
        noise = np.ones((n_members, n_state))
        precision = np.tile(identity, (n_members, 1, 1))
        prior = Prior(mean, precision, noise, noise, no_walls(n_state))
        return cls(prior, evidence, np.ones(n_agents, bool))

    def take(self, agents: NDArray[np.integer]) -> Posterior:
        """Return what is known of some agents."""
        values = None if self.values is None else self.values[agents]
        return Posterior(
            self.prior, self.evidence.take(agents), self.trained[agents], self.static, values
        )

    @property
    def own_prior(self) -> OwnPrior | None:
        """Prior of every agent by its static columns; None if it is the same of all."""
        if self.static is None or self.values is None:
            return None
        return self.static.own(self.prior.precision, self.values)

    def solve(self) -> tuple[Floats, Floats]:
        """Mean ``(M, N, r)`` and covariance ``(M, N, r, r)`` of every agent's factors."""
        return solve(self.prior, self.evidence, self.own_prior)


def rows_at_once(n_rows: int, n_state: int, rank: int) -> int:
    """Return how many rows are looked at together.

    One shape for all chunks, and few shapes for all tables: there are few programs then.
    """
    most = max(64, _VALUES // (rank * max(n_state, rank)))
    return min(_CHUNK, 1 << (most - 1).bit_length(), 1 << (n_rows - 1).bit_length())


def gather(
    members: FactorModel,
    normalizer: Normalizer,
    prior: Prior,
    data: Transitions,
    n_agents: int,
    progress: Callable[[int, int], None] | None = None,
    factors: Floats | None = None,
) -> Evidence:
    """Return the evidence of transitions about their agents.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        prior: of all agents.
        data: transitions, those of an agent next to each other.
        n_agents: N.
        progress: receives (rows of a member done, rows in all).
        factors: ``(M, N, r)``, what the agents are already known to be, by which rows are weighed;
            by the prior if None.
    """
    n_rows, n_members = len(data), len(prior.mean)
    n_state, rank = data.state.shape[1], prior.mean.shape[1]
    found = Evidence.none(n_members, n_agents, rank)
    found.count[:] = np.bincount(data.agent, minlength=n_agents)
    if data.counted is not None:
        np.add.at(found.missing, data.agent, (~data.counted).sum(axis=1))
    if not n_rows:
        return found
    size = rows_at_once(n_rows, n_state, rank)
    roots = prior_root(prior)
    chunks = [slice(first, min(first + size, n_rows)) for first in range(0, n_rows, size)]
    for rows in chunks:  # an agent may lie in two of them
        state = normalizer.carry(data.start[rows])
        inputs = normalizer.inputs(state).astype(np.float32)
        action = normalizer.encode_action(data.action[rows])
        action = action.astype(np.int32 if action.ndim == 1 else np.float32)
        target = normalizer.encode_target(data.state[rows], data.next_state[rows])
        fill = size - len(inputs)
        if fill:
            inputs = np.pad(inputs, [(0, fill), (0, 0)])
            action = np.pad(action, [(0, fill)] + [(0, 0)] * (action.ndim - 1))
        features = member_features(members, inputs, action)[:, : len(target)]
        agent = data.agent[rows]
        counted = None if data.weight is None else data.weight[rows]
        limited = prior.at_wall(normalizer.encode_state(data.truth[rows]))
        starts = np.flatnonzero(np.r_[True, agent[1:] != agent[:-1]])
        for m in range(n_members):
            own = None if factors is None else factors[m, agent]
            z, residual = whitened(
                prior, m, roots[m], features[m].astype(np.float64), target, limited, own, counted
            )
            turned = np.swapaxes(z, 1, 2)
            sums = (turned @ z, (turned @ residual[..., None])[..., 0], (residual**2).sum(axis=1))
            for total, part in zip(found[:3], sums, strict=True):
                total[m, agent[starts]] += np.add.reduceat(part, starts)

        if progress is not None:
            progress(rows.stop, n_rows)
    return found


def whitened(
    prior: Prior,
    member: int,
    root: Floats,
    features: Floats,
    target: Floats,
    limited: NDArray[np.bool_],
    factors: Floats | None = None,
    counted: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Features ``(K, D, r)`` and residuals from the prior mean ``(K, D)``, in units of the noise.

    What no agent of the population could have produced counts less (Huber's weight of the residual
    under the prior's prediction). The weight depends on the transition alone, not on other data.
    Where the agents' factors are given, what they do not explain counts less. And no transition
    counts for more than float64 can hold beside the prior: one from a state of 1e10 by mistake
    would decide everything.

    Args:
        prior: of all members.
        member: which of them.
        root: a root of the prior covariance, ``(r, r)``, by ``prior_root``.
        features: Z, ``(K, D, r)``.
        target: y, ``(K, D)``.
        limited: ``(K,)``, whether a transition ends at a wall.
        factors: ``(K, r)``, of each transition's agent; None for the prior's prediction.
        counted: ``(K, D)``, by how much the variance of each target's noise is more: divided by
            it; 0 where the target was not observed. None for all 1.
    """
    noise = np.where(limited[:, None], prior.limit_noise[member], prior.noise[member])
    if counted is not None:
        noise = noise / np.sqrt(np.where(counted > 0, counted, 1.0))
    residual = target - features @ prior.mean[member]
    variance = np.square(features @ root).sum(axis=-1)
    if factors is None:
        deviation = np.sqrt(variance + noise**2)
        distance = np.abs(residual)
    else:
        deviation = noise
        distance = np.abs(target - (features @ factors[..., None])[..., 0])
    weight = np.minimum(1.0, PRIOR.huber * deviation / np.maximum(distance, 1e-300))
    weight = np.minimum(weight, PRIOR.leverage / np.maximum(variance / noise**2, 1.0))
    scale = np.sqrt(weight) / noise
    if counted is not None:
        scale = np.where(counted > 0, scale, 0.0)
    return features * scale[..., None], residual * scale


def solve(prior: Prior, evidence: Evidence, own: OwnPrior | None = None) -> tuple[Floats, Floats]:
    """Mean ``(M, N, r)`` and covariance ``(M, N, r, r)`` of every agent's factors.

    Args:
        prior: of all agents.
        evidence: of each.
        own: what is known of each before any of its data, if that is not the prior of all.
    """
    base, moment = prior.precision[:, None], evidence.moment
    if own is not None:
        base, moment = own.precision, moment + np.einsum("mnrs,mns->mnr", *own[::-1])
    covariance = inverse(base, evidence.gram)
    covariance = (covariance + np.swapaxes(covariance, -1, -2)) / 2
    shift = solution(base, evidence.gram, moment)
    return prior.mean[:, None] + shift, misfit(prior, evidence, shift)[..., None, None] * covariance


def misfit(prior: Prior, evidence: Evidence, shift: Floats) -> Floats:
    """phi, ``(M, N)``: how many times larger than the noise the squared residuals are, at least 1.

    Args:
        prior: its noise has D columns.
        evidence: of the agents.
        shift: ``(M, N, r)``, posterior less prior mean.
    """
    explained = np.einsum("mnr,mnr->mn", evidence.moment, shift)
    quadratic = np.einsum("mnr,mnrs,mns->mn", shift, evidence.gram, shift)
    values = np.maximum(evidence.values(prior.noise.shape[1]), 1)
    return np.maximum((evidence.energy - 2 * explained + quadratic) / values, 1.0)


def factor_draws(
    posterior: Posterior, agents: NDArray[np.integer], n_draws: int, seed: int = 0
) -> Floats:
    """Draws of the factors of some agents, ``(M, U, n_draws, r)``; pairs mirror each other.

    Args:
        posterior: of all agents.
        agents: ``(U,)`` indices.
        n_draws: an odd number leaves the last one without its mirror image.
        seed: of the standard normal numbers, which all agents share.
    """
    mean, covariance = posterior.take(agents).solve()
    n_members, _, rank = mean.shape
    rng = np.random.default_rng((seed, 5))
    half = rng.standard_normal((n_members, -(-n_draws // 2), rank))
    normal = np.stack([half, -half], axis=2).reshape(n_members, -1, rank)[:, :n_draws]
    # Through eigenvectors: a covariance that has all but vanished in a direction stays usable. That
    # of a member that diverged has none; its mean is not finite either.
    values, vectors = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, 0.0))
    root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    return mean[:, :, None] + np.einsum("murs,mks->mukr", root, normal)
