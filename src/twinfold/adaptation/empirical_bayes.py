"""Empirical Bayes: what the agents that the nets were trained on say of others, and of themselves.

Axes: M members, N agents, r rank, D state columns, K transitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twinfold.adaptation.adaptation_settings import POSTERIOR
from twinfold.data.transitions import Transitions
from twinfold.metrics import robust_scale
from twinfold.models.covariance import widened_covariance
from twinfold.models.factor_model import FactorModel
from twinfold.models.linear import LinearFit
from twinfold.models.member_features import features_of
from twinfold.models.normal_equations import inverse, solution
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Evidence, Posterior, gather
from twinfold.models.prior import Prior, no_walls, with_fixed
from twinfold.models.static_prior import StaticColumns, StaticPrior, fit_static, given_static

Floats = NDArray[np.float64]
Counter = Callable[[int, int], None]
"""Receives how much is done, and of how much."""

_CHUNK = 8192  # transitions whose features are held at once


def empirical_prior(
    factors: Floats, noise: Floats, n_fixed: int = 0, variance: Floats | None = None
) -> Prior:
    """Return mean and covariance of trained factors.

    For the covariance see ``covariance.widened_covariance``. A single agent says nothing of how
    agents differ: its spread is taken to be as large as its factors. Of the fixed columns' factors
    both are known.

    Args:
        factors: ``(M, N, r)``.
        noise: ``(M, D)``, in standard deviations of the target.
        n_fixed: fixed columns of Z, the first ones.
        variance: ``(S,)`` of the own linear coefficients, the fixed columns but the first.
    """
    values = np.asarray(factors, np.float64)
    n_members, n_agents, rank = values.shape
    mean = values.mean(axis=1)
    mean[:, :n_fixed] = np.eye(1, n_fixed)[0]
    net = values[..., n_fixed:]
    if net.size:
        deviation = net - mean[:, None, n_fixed:]
        spread = np.square(deviation if n_agents > 1 else net).mean(axis=(1, 2)) + 1e-12
        covariance = widened_covariance(deviation, spread)
        if n_agents == 1:
            covariance = spread[:, None, None] * np.eye(rank - n_fixed)
        precision = np.asarray(np.linalg.inv(covariance), np.float64)
    else:
        precision = np.zeros((n_members, 0, 0))
    precision = np.stack([with_fixed(own, n_fixed, variance) for own in precision])
    noise = np.maximum(noise, POSTERIOR.least_noise)
    return Prior(mean, precision, noise, noise, no_walls(noise.shape[1]))


def trained_posterior(
    members: FactorModel,
    normalizer: Normalizer,
    data: Transitions,
    held_out: Floats | None,
    n_agents: int,
    static: Floats | None = None,
    linear: LinearFit | None = None,
    weighed_again: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Posterior:
    """Return the posterior of the agents that the nets were trained on.

    They are solved for as new agents are: with the noise that held-out data shows, and a prior that
    is what they have in common. Where the noise is larger than that of the training data, which the
    trained factors took up, the covariance of these is too wide; so it is estimated by expectation
    maximisation (Dempster, Laird and Rubin 1977), as the covariance over agents of what is left
    when each is known no better than its data allows.

    Args:
        members: a stack.
        normalizer: float64, on the host.
        data: their transitions, those of an agent next to each other.
        held_out: ``(D,)``, robust scale of held-out errors of one step, in standard deviations of
            the target; None if there are none. A member that fits its own training data worse than
            that has the noise of that.
        n_agents: N.
        static: ``(N, C)``, their static columns, NaN where not known; None without such columns.
            What these say is what the linear model has found, if it has; or else learned from the
            agents that are mostly known by their own data.
        linear: the linear model that the members' fixed columns are of; None if they have none.
        weighed_again: whether the weights of rows are those by the prior that comes out, as of new
            agents; and where there is next to no noise, by what the agent's own factors explain: a
            few transitions that the nets do not know would count for more than all others else. If
            not, they are those by the prior to begin with, in half the time or less.
        progress: receives ("solving for agents", percent done, 100).
    """
    n_fixed = members.n_fixed
    learned = members.rank > n_fixed and n_agents > 1
    again = weighed_again and learned
    tell = _Stages(progress, 1 + learned + again)
    prior = _trained_prior(members, normalizer, data, held_out, linear)
    prior = _with_limits(prior, members, normalizer, data)
    evidence = gather(members, normalizer, prior, data, n_agents, tell.stage(0))
    prior, evidence = maximised(prior, evidence, n_fixed, progress=tell.stage(1))
    if again:
        evidence = _weighed_again(members, normalizer, data, prior, evidence, tell)
    known = Posterior(prior, evidence, np.ones(n_agents, bool))
    if static is None:
        return known
    columns = None if linear is None or linear.static is None else StaticColumns.of(static)
    if linear is None or columns is None:
        return _with_static(known, static, n_fixed)
    return known._replace(static=_by_linear(known, columns, linear), values=static)


class _Stages(NamedTuple):
    """Progress in several stages that take about as long each.

    Attributes:
        progress: receives (what, percent done, 100); None for none.
        count: number of stages.
    """

    progress: Callable[[str, int, int], None] | None
    count: int

    def stage(self, number: int, part: int = 0, parts: int = 1) -> Counter | None:
        """Return what receives (done, all) of a part of a stage."""
        told = self.progress
        if told is None:
            return None

        def tell(done: int, of: int) -> None:
            share = (number + (part + done / max(of, 1)) / parts) / self.count
            told("solving for agents", int(100 * share), 100)

        return tell


def _trained_prior(
    members: FactorModel,
    normalizer: Normalizer,
    data: Transitions,
    held_out: Floats | None,
    linear: LinearFit | None,
) -> Prior:
    """Return the prior by the trained factors, with the noise of held-out data if that is more."""
    residual, target, weight = _residuals(members, normalizer, data)
    scale = np.stack([robust_scale(error, target, weight) for error in residual])
    scale = np.where(np.isfinite(scale), scale, np.inf)
    noise = np.maximum(scale, 0.0 if held_out is None else held_out)
    # As the linear model's noise is: where both are none, agents may differ as much as it says.
    noise = np.maximum(noise, POSTERIOR.least_noise)
    n_fixed, variance = members.n_fixed, None
    if linear is not None:
        variance = linear.variance
        if members.rank == n_fixed and len(variance):
            # Chosen in units of the noise: a larger noise leaves what it says of agents as it was.
            column = np.array(linear.own)[:, 1]
            variance = variance * np.square(np.median(noise, axis=0) / linear.noise)[column]
    return empirical_prior(np.asarray(members.agents, np.float64), noise, n_fixed, variance)


def _with_limits(
    prior: Prior, members: FactorModel, normalizer: Normalizer, data: Transitions
) -> Prior:
    """Return the prior with the hard limits of the data, and with the noise of what ends there."""
    prior = prior._replace(walls=_walls(normalizer, data))
    limited = prior.at_wall(normalizer.encode_state(data.truth))
    if not limited.any():
        return prior
    residual, _, weight = _residuals(members, normalizer, data.select(limited))
    there = np.stack([_trimmed_rms(error, weight) for error in residual])
    there = np.where(np.isfinite(there), there, np.inf)
    return prior._replace(limit_noise=np.maximum(prior.noise, there))


def _weighed_again(
    members: FactorModel,
    normalizer: Normalizer,
    data: Transitions,
    prior: Prior,
    evidence: Evidence,
    tell: _Stages,
) -> Evidence:
    """Return the evidence with weights of rows by a prior that was estimated from it.

    Where there is next to no noise, the weights are those by what each agent's own factors explain.
    """
    n_agents = evidence.moment.shape[1]
    if np.median(prior.noise, axis=0).max() >= POSTERIOR.clean:
        return gather(members, normalizer, prior, data, n_agents, tell.stage(2))
    for part in range(POSTERIOR.reweighed):
        own = Posterior(prior, evidence, np.ones(n_agents, bool)).solve()[0]
        told = tell.stage(2, part, POSTERIOR.reweighed)
        evidence = gather(members, normalizer, prior, data, n_agents, told, own)
    return evidence


def _by_linear(known: Posterior, columns: StaticColumns, linear: LinearFit) -> StaticPrior:
    """Return what static columns say of agents by a linear model; of the nets' terms nothing."""
    precision, evidence = known.prior.precision, known.evidence
    weights = np.zeros((columns.x.shape[1], precision.shape[1]))
    assert linear.static is not None
    for k, (feature, column) in enumerate(linear.own):
        weights[:, 1 + k] = linear.static[:, feature, column]
    metric = evidence.gram.sum(axis=1) / max(int(evidence.count.sum()), 1)
    return given_static(precision, metric, columns, weights)


def _with_static(known: Posterior, static: Floats, n_fixed: int) -> Posterior:
    """Return the posterior with what static columns ``(N, C)`` say of agents, if they do."""
    prior, evidence = known.prior, known.evidence
    # Share of the prior variance that an agent's own data leaves open, in units of predictions.
    metric = evidence.gram.sum(axis=1) / max(int(evidence.count.sum()), 1)
    before = np.linalg.inv(prior.precision)
    after = inverse(prior.precision[:, None], evidence.gram)
    total = np.einsum("mrs,mrs->m", metric, before)
    left = np.einsum("mrs,mnrs->mn", metric, after) / np.maximum(total, 1e-300)[:, None]
    # Factors of the others are mostly the mean of all: that would hide what the columns say.
    well_known = np.nanmedian(left, axis=0) < POSTERIOR.borrowed
    values = np.where(well_known[:, None], static, np.nan)
    fitted = fit_static(prior.mean, known.solve()[0], metric, values)
    if fitted is None:
        return known._replace(values=static)
    for part in (fitted, fitted.curve) if n_fixed else ():
        if part is not None:  # what is known stays known
            part.shift[:, 0], part.weights[..., 0] = 0.0, 0.0
            part.precision[:, 0], part.precision[..., 0] = 0.0, 0.0
            part.precision[:, 0, 0] = prior.precision[:, 0, 0]
    return known._replace(static=fitted, values=static)


def maximised(
    prior: Prior,
    evidence: Evidence,
    n_fixed: int,
    rounds: int = POSTERIOR.rounds,
    progress: Counter | None = None,
) -> tuple[Prior, Evidence]:
    """Return mean and covariance of the nets' factors, by expectation maximisation.

    The mean of the prior moves with them, and the evidence is counted from it.

    Args:
        prior: to begin with.
        evidence: of the agents.
        n_fixed: fixed columns, whose prior stays.
        rounds: of both steps.
        progress: receives (rounds done, rounds in all).
    """
    n_members, n_agents, rank = evidence.moment.shape
    if rank == n_fixed or n_agents < 2:
        return prior, evidence
    net = slice(n_fixed, None)
    for done in range(rounds):
        covariance = inverse(prior.precision[:, None], evidence.gram)
        shift = solution(prior.precision[:, None], evidence.gram, evidence.moment)
        sound = np.isfinite(shift).all(axis=(1, 2)) & np.isfinite(covariance).all(axis=(1, 2, 3))
        move = np.zeros((n_members, rank))
        move[sound, net] = shift[sound, :, net].mean(axis=1)
        deviation = (shift - move[:, None])[..., net]
        total = np.swapaxes(deviation, 1, 2) @ deviation + covariance[..., net, net].sum(axis=1)
        # One more agent, isotropic, as for the trained factors.
        size = np.einsum("mrr->m", total) / (n_agents * (rank - n_fixed)) + 1e-12
        weight = min(1.0, (rank - n_fixed) / n_agents)
        total += weight * size[:, None, None] * np.eye(rank - n_fixed)
        found = prior.precision.copy()
        # A member that diverged stays as it is.
        found[sound, net, net] = np.linalg.inv(total[sound] / (n_agents + weight))
        prior = prior._replace(mean=prior.mean + move, precision=found)
        evidence = evidence.from_mean(move)
        if progress is not None:
            progress(done + 1, rounds)
    return prior, evidence


def _walls(normalizer: Normalizer, data: Transitions) -> Floats:
    """Return hard limits that few transitions end at, ``(2, D)``, standardised: the rarest ones.

    A limit that many end at is no wall but what usually happens (a flag that is mostly 0): the nets
    have learned it, and the other columns of these transitions tell agents apart.
    """
    standard = normalizer.encode_state(data.truth)  # what was not observed is at no wall
    walls, nowhere = np.stack([normalizer.low, normalizer.high]), no_walls(standard.shape[1])
    at = np.stack([standard <= walls[0], standard >= walls[1]])  # (2, K, D)
    while at.any(axis=(0, 2)).mean() > POSTERIOR.limit_share:  # all together, not each by itself
        side, column = np.unravel_index(at.mean(axis=1).argmax(), walls.shape)
        walls[side, column], at[side, :, column] = nowhere[side, column], False
    return walls


def _residuals(
    members: FactorModel, normalizer: Normalizer, data: Transitions
) -> tuple[Floats, Floats, Floats | None]:
    """Return residuals ``(M, K, D)`` of a sample, targets and weights ``(K, D)``, standardised."""
    factors = np.asarray(members.agents, np.float64)
    some = data.select(np.arange(len(data))[:: max(1, -(-len(data) // POSTERIOR.noise_sample))])
    target = normalizer.encode_target(some.state, some.next_state)
    found = []
    for first in range(0, len(some), _CHUNK):
        part = slice(first, first + _CHUNK)
        features = features_of(members, normalizer, some.start[part], some.action[part])
        predicted = np.einsum("mkdr,mkr->mkd", features, factors[:, some.agent[part]])
        found.append(target[part] - predicted)
    return np.concatenate(found, axis=1), target, some.weight


def _trimmed_rms(error: NDArray[np.floating], weight: Floats | None) -> Floats:
    """Return the root mean square, ``(D,)``, of all but the largest of errors ``(K, D)``.

    Those of weight 0 do not count; a column of which none counts has none.
    """
    if weight is not None:
        columns = [error[weight[:, d] > 0, d, None] for d in range(error.shape[1])]
        return np.array([_trimmed_rms(x, None)[0] if len(x) else 0.0 for x in columns])
    size = np.sort(np.abs(np.asarray(error, np.float64)), axis=0)
    return np.sqrt(np.square(size[: math.ceil(POSTERIOR.limit_quantile * len(size))]).mean(axis=0))
