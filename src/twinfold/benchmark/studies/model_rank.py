"""How many latent terms the dynamics of a task need (Theorem 1, Proposition 1 of the paper).

A separable model of rank r is fitted for several r. The tensor of its predictions over agents,
states with coordinates, and actions,

    T[n, (s, d), a] = sum_l u_l(n) v_l(s, d) w_l(a),

has rank r at most along each of the three; so for the true tensor no such model can do better than

    |T - T_r| / |T| >= max over unfoldings of sqrt(sum_{i > r} sigma_i^2) / |T|

(Eckart and Young), with sigma the singular values of an unfolding. Both tensors are in the units
that the model is trained in: standardised differences of the states.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold import metrics
from twinfold.benchmark.collect import simulate_policy, task_roles, to_frame
from twinfold.benchmark.studies.study_fits import fit_summary, fitted
from twinfold.benchmark.studies.study_settings import UNCLIPPED, RankSettings
from twinfold.data.panel import PanelDataset
from twinfold.models.fitted_model import FittedModel
from twinfold.models.member_features import features_of
from twinfold.models.rollout import rollout_members
from twinfold.tasks import Task
from twinfold.tasks.task import agent_covariates
from twinfold.utils.seeds import LARGEST_SEED

Floats = NDArray[np.float64]
Record = dict[str, Any]
Log = Callable[[str], None]

UNFOLDINGS = ("agents", "states", "actions")


def rank_fit(
    task: Task, policy: str, rank: int, settings: RankSettings, folder: Path, log: Log
) -> FittedModel:
    """Return separable nets of a rank, without a linear model beside them.

    Args:
        task: the task.
        policy: of the data.
        rank: r.
        settings: of the study.
        folder: of fits.
        log: receives one line per thing worth knowing.
    """
    covariates = agent_covariates(task, settings.agents, settings.seed)
    length = settings.length if task.name == UNCLIPPED else None
    found = simulate_policy(task, covariates, policy, n_steps=length, seed=settings.seed)
    panel = PanelDataset.from_frame(to_frame(task, found), task_roles(task))
    config = settings.config.model_copy(
        update={"features": "separable", "linear": "none", "rank": rank}
    )
    source = {
        "task": task.name,
        "policy": policy,
        "n_agents": settings.agents,
        "seed": settings.seed,
    }
    return fitted(panel, config, source, folder, f"{task.name}-{policy}-rank-{rank}", log)


def run_rank(model: FittedModel, task: Task, settings: RankSettings) -> Record:
    """Return errors and singular values of a model and of the truth.

    Args:
        model: nets without a linear model, from ``rank_fit``.
        task: the true task.
        settings: of the study.
    """
    learned, true = prediction_tensors(model, task, settings)
    size = float(np.sqrt(np.square(true).sum()))
    spectra = {name: singular_values(true, name) for name in UNFOLDINGS}
    rank = model.members.rank
    bounds = [float(np.sqrt(np.square(values[rank:]).sum())) / size for values in spectra.values()]
    errors = np.sqrt(np.square(learned - true).sum(axis=(1, 2, 3, 4))) / size
    # The member in the middle stands for all: a mean of members would have another rank.
    middle = learned[int(np.argsort(errors)[len(errors) // 2])]
    return {
        "rank": rank,
        "rmse": _rollout_error(model, task, settings),
        "tensor_error": float(np.median(errors)),
        "least_error": max(bounds),
        "true": _counted(spectra, settings),
        "learned": _counted({name: singular_values(middle, name) for name in UNFOLDINGS}, settings),
        "fit_of": fit_summary(model),
    }


def prediction_tensors(
    model: FittedModel, task: Task, settings: RankSettings
) -> tuple[Floats, Floats]:
    """Return what members and truth say of the same agents, states and actions.

    Args:
        model: nets of discrete actions.
        task: the true task.
        settings: of the study.

    Returns:
        Learned ``(M, N, G, L, D)`` and true ``(N, G, L, D)`` standardised differences of states.
    """
    rng = np.random.default_rng((settings.seed, 71))
    state = model.sample.state[rng.permutation(len(model.sample.state))[: settings.grid]]
    agents = np.arange(len(model.agent_ids))
    levels = np.arange(model.n_levels, dtype=np.int32)
    rows, action = np.repeat(state, len(levels), axis=0), np.tile(levels, len(state))
    features = features_of(model.members, model.normalizer, rows, action)  # (M, K, D, r)
    factors = np.asarray(model.members.agents, np.float64)
    learned = np.einsum("mkdr,mnr->mnkd", features, factors, optimize=True)
    covariates = agent_covariates(task, settings.agents, settings.seed)[agents]
    after = _true_steps(task, covariates, rows, action)
    true = model.normalizer.encode_target(np.broadcast_to(rows, after.shape), after)
    shape = len(agents), len(state), len(levels), len(task.state_names)
    return learned.reshape(-1, *shape), true.reshape(shape)


def singular_values(tensor: Floats, along: str) -> Floats:
    """Return the singular values of an unfolding.

    Args:
        tensor: over agents, states, actions and coordinates, ``(N, G, L, D)``.
        along: what the rows are: agents, states (with coordinates) or actions.
    """
    order = {"agents": (0, 1, 2, 3), "states": (1, 3, 0, 2), "actions": (2, 0, 1, 3)}[along]
    turned = tensor.transpose(order)
    n_rows = turned.shape[0] * turned.shape[1] if along == "states" else turned.shape[0]
    values: Any = np.linalg.svd(turned.reshape(n_rows, -1), compute_uv=False)
    return values


def _counted(spectra: dict[str, Floats], settings: RankSettings) -> Record:
    """Return the leading singular values, the largest as one, and how many count."""
    return {
        name: {
            "values": [float(f"{v:.3g}") for v in (values / values[0])[: settings.kept]],
            "numerical_rank": int((values > settings.tolerance * values[0]).sum()),
        }
        for name, values in spectra.items()
    }


def _true_steps(task: Task, covariates: Floats, state: Floats, action: Any) -> Floats:
    """Return the true next states of all agents from the same states, ``(N, K, D)``."""
    over_rows = jax.vmap(task.step, (None, 0, 0))
    over_agents = jax.jit(jax.vmap(over_rows, (0, None, None)))
    with jax.enable_x64(True):  # differences are small beside the states
        own = task.covariates(covariates)
        wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), own)
        return np.asarray(over_agents(wide, jnp.asarray(state), jnp.asarray(action)), np.float64)


def _rollout_error(model: FittedModel, task: Task, settings: RankSettings) -> Record:
    """Return the median over agents of the open-loop error, with its interval.

    Actions are those of the task's test policy; where there is none, random ones.
    """
    agents = np.arange(len(model.agent_ids))
    covariates = agent_covariates(task, settings.agents, settings.seed)
    policy = "random" if task.name == UNCLIPPED else "test"
    seed = (10_000 + settings.seed) % (LARGEST_SEED + 1)
    paths, steps = settings.trajectories, settings.steps
    found = simulate_policy(task, covariates, policy, paths, steps, seed=seed)
    n_state = found.states.shape[-1]
    rolled = rollout_members(
        model.members,
        model.normalizer,
        np.repeat(agents, paths),
        found.states[:, :, 0].reshape(-1, n_state).astype(np.float64),
        found.actions.reshape(-1, steps),
    )
    middle = metrics.trimmed_mean(rolled).reshape(len(agents), paths, steps, n_state)
    error = metrics.rmse(middle, found.states[:, :, 1:], found.mask).mean(axis=1)
    low, high = metrics.bootstrap_interval(error, np.median)
    return {"median": float(np.median(error)), "low": low, "high": high}
