"""True trajectories beside predicted ones, and open-loop predictions of any ``Dynamics``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike, NDArray

from twinfold import metrics
from twinfold.metrics import trimmed_mean
from twinfold.models.dynamics import Dynamics

_DIGITS = 6  # of recorded values


@dataclass(frozen=True, eq=False)
class Predictions:
    """True and predicted trajectories of one agent under the test policy.

    P trajectories of L steps; D state coordinates. What came before, if anything, is left out.

    Attributes:
        true: ``(P, L + 1, D)``, the start included.
        members: ``(M, P, L, D)``.
        mask: ``(P, L)``, True for steps that the episode took.
    """

    true: NDArray[Any]
    members: NDArray[Any]
    mask: NDArray[np.bool_]


def rollout_stack(stack: Dynamics, states: ArrayLike, actions: ArrayLike) -> NDArray[np.float64]:
    """Return open-loop predictions of every member of a stack, ``(M, P, L, D)``, raw units.

    Args:
        stack: dynamics of one agent with a leading member axis on its array leaves.
        states: starts, ``(P, D)``, raw units.
        actions: ``(P, L)`` indices of levels, or ``(P, L, A)``.
    """
    starts = jnp.asarray(np.asarray(states), jnp.float32)
    return np.asarray(_rollouts(stack, starts, jnp.asarray(np.asarray(actions))), np.float64)


@eqx.filter_jit
def _rollouts(stack: Dynamics, states: Array, actions: Array) -> Float[Array, "M P L D"]:
    def one(member: Dynamics, state: Array, plan: Array) -> Array:
        def step(carry: Any, code: Any) -> tuple[Any, Array]:
            return member.step(carry, code)

        return jax.lax.scan(step, member.init(state), jax.vmap(member.encode)(plan))[1]

    over_starts = eqx.filter_vmap(one, in_axes=(None, 0, 0))
    return eqx.filter_vmap(over_starts, in_axes=(eqx.if_array(0), None, None))(
        stack, states, actions
    )


def error_figures(found: Predictions) -> dict[str, Any]:
    """Return the figures of one agent's open-loop error, plain values.

    The mean RMSE over trajectories with its 95 % bootstrap interval, its standard deviation and
    interquartile mean, the median R2 of those with two steps or more, and the errors themselves.
    Where the mean is not finite, the figures say so, with the mean error over the steps before.

    Args:
        found: of the agent.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        predicted = trimmed_mean(found.members)
        error = metrics.rmse(predicted, found.true[:, 1:], found.mask)
        fit = metrics.r2(predicted, found.true[:, 1:], found.mask)
        # Of a trajectory with a single step there is no R2, whatever was predicted.
        fit = fit[found.mask.sum(axis=1) > 1]
        summary = metrics.summarise(error)
        low, high = metrics.bootstrap_interval(error, np.mean)
    figures = {
        "rmse_mean": summary["mean"],
        "rmse_std": summary["std"],
        "rmse_iqm": summary["iqm"],
        "rmse_low": low,
        "rmse_high": high,
        "r2_median": float(np.median(fit)) if fit.size else float("nan"),
        "n": summary["n"],
        "values": rounded(error),
    }
    if not np.isfinite(summary["mean"]):
        figures |= {"diverged": True, "last_finite": _last_finite(found, predicted)}
    return figures


def _last_finite(found: Predictions, predicted: NDArray[np.float64]) -> dict[str, Any]:
    """Return the mean RMSE over the steps before any prediction stops to be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (predicted - found.true[:, 1:]) ** 2
    broken = (found.mask & ~np.isfinite(squares.sum(axis=-1))).any(axis=0)
    steps = int(broken.argmax()) if broken.any() else len(broken)
    if not steps:
        return {"rmse_mean": None, "steps": 0}
    kept = predicted[:, :steps], found.true[:, 1 : steps + 1], found.mask[:, :steps]
    return {"rmse_mean": float(np.mean(metrics.rmse(*kept))), "steps": steps}


def rounded(values: ArrayLike) -> list[float]:
    """Return values with the digits that a record keeps."""
    return [float(f"{value:.{_DIGITS}g}") for value in np.asarray(values, np.float64)]
