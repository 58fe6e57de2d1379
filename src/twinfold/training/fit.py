"""Learn a simulator for every agent of a panel.

    1. choose features, rank, length of training and shrinkage on held-out data (``select_model``)
    2. train the ensemble on everything with that choice
    3. solve for every agent's factors in closed form, given the nets (in step 1 as well)
    4. turn the held-out errors of step 1 into a prediction band

The agents' data is scarce, so nothing of it is lost: step 2 sees all of it.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.adaptation.empirical_bayes import trained_posterior
from twinfold.config import FitConfig
from twinfold.data.issues import counted
from twinfold.data.outliers import spike_rows
from twinfold.data.panel import PanelDataset, Transitions
from twinfold.models.behaviour_policy import fit_behaviour
from twinfold.models.factor_model import FactorModel
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.linear import LinearFit, linear_data
from twinfold.models.normalizer import Normalizer
from twinfold.models.posterior import Posterior
from twinfold.models.run_info import RunInfo
from twinfold.models.static_prior import STATIC
from twinfold.training.ensemble import TrainingContext, fresh_member, stacked, train_members
from twinfold.training.model_selection import Log, select_model
from twinfold.training.run_directory import RunWriter
from twinfold.training.trainer import MemberJob, Progress
from twinfold.training.trials import NO_NETS, Candidate
from twinfold.uncertainty.conformal import calibrate, split_reserved

_SAMPLE = 2048  # states that the run keeps


def fit(
    dataset: PanelDataset,
    config: FitConfig | None = None,
    *,
    out: str | Path | None = None,
    reserve: int | Literal["auto"] | PanelDataset = "auto",
    source: Mapping[str, Any] | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> FittedModel:
    """Learn a simulator for every agent (PerSim, section 4).

    Args:
        dataset: the panel.
        config: settings; the defaults are meant for any panel.
        out: run directory to write. While the fit runs, its state is kept in ``<out>.partial``;
            an interrupted fit started again with the same data and settings goes on from there,
            to the same result.
        reserve: agents that the nets must not see, to calibrate the band on: how many of the panel,
            drawn at random; or a panel of further ones. "auto" takes a tenth (20 to 100) of 60
            agents or more. The model is adapted to them in closed form, so it knows them as well.
        source: where the data came from, kept in the run; never a model input.
        log: receives one line per thing worth knowing.
        progress: receives (what, steps done, steps in all) about ten times a second.

    Raises:
        UsageError: the run directory exists, an agent is reserved and fitted to at once, or none is
            left to learn from.
        RunError: the partial run belongs to other data or settings.
    """
    config = config or FitConfig()
    log = log or (lambda line: None)
    whole = dataset
    dataset, reserved = split_reserved(whole, reserve, config.seed)
    if dataset is not whole:  # the fingerprint of the run is of the others alone
        source = {**(source or {}), "fingerprint": whole.fingerprint()}
    given, dataset = dataset, without_spikes(dataset, log)
    data = dataset.transitions()
    fingerprint = given.fingerprint()
    if out is None:
        return _fit(dataset, data, config, reserved, source, log, progress, None, fingerprint)
    identity = _identity(given, given.transitions())
    if reserved is not None:
        identity += _identity(reserved, reserved.transitions())
    writer = RunWriter(out, config, identity)
    try:
        if writer.resumed:
            log(f"going on with the interrupted fit in {writer.partial}")
        return _fit(dataset, data, config, reserved, source, log, progress, writer, fingerprint)
    finally:
        writer.close()


def without_spikes(dataset: PanelDataset, log: Log) -> PanelDataset:
    """The data without rows whose values are far from all others: they would decide on the rest."""
    rows = spike_rows(dataset)
    if not len(rows):
        return dataset
    first = dataset.agent_ids[dataset.agent[rows[0]]]
    log(
        f"warning: {counted(len(rows), 'row')} with values far from all others, the first of agent "
        f"{first!r}, left out of the fit; trajectories are split there"
    )
    return dataset.without_rows(rows)


def _identity(dataset: PanelDataset, data: Transitions) -> str:
    """SHA-256 (hex) of all that a resumed fit relies on: the data, and the order it is held in.

    The fingerprint alone is the same for another order of agents and another time step.
    """
    digest = hashlib.sha256(dataset.fingerprint().encode())
    digest.update(json.dumps(dataset.agent_ids).encode())
    digest.update(data.agent.tobytes() + data.segment.tobytes() + data.step.tobytes())
    return digest.hexdigest()


def _fit(
    dataset: PanelDataset,
    data: Transitions,
    config: FitConfig,
    reserved: PanelDataset | None,
    source: Mapping[str, Any] | None,
    log: Log,
    progress: Progress | None,
    writer: RunWriter | None,
    fingerprint: str,
) -> FittedModel:
    begun = time.perf_counter()
    problem = TrainingContext.of(dataset, data, config, progress, writer)
    log(
        f"{dataset.n_agents} agents, {len(data)} transitions, {data.state.shape[1]} state columns, "
        f"{dataset.roles.action_type} action; {config.members} members"
    )
    choice = select_model(dataset, problem, log)
    candidate, config, band, noise, validation = choice
    problem = problem._replace(config=config)
    rows = np.arange(len(data), dtype=np.int32)
    normalizer = problem.normalizer(rows)
    levels = problem.action_size if problem.discrete else 0
    sums = linear_data(normalizer, data, problem.n_agents, levels)
    linear = candidate.fit_linear(sums)
    members, losses = _members(problem, candidate, normalizer, rows, linear, log)
    sample = np.sort(np.random.default_rng((config.seed, 3)).permutation(len(data))[:_SAMPLE])
    stack = stacked(members)
    explained = None
    static = None if dataset.static is None else dataset.static[: dataset.n_agents]
    posterior = trained_posterior(stack, normalizer, data, noise, dataset.n_agents, static, linear)
    solved = jnp.asarray(posterior.solve()[0], jnp.float32)
    stack = eqx.tree_at(lambda members: members.agents, stack, solved)
    if static is not None:
        explained = _static_explained(dataset, posterior, log)
    behaviour = None
    if not problem.discrete and config.behaviour_steps:
        factors = np.asarray(stack.agents[0], np.float64)
        behaviour = fit_behaviour(data, normalizer, factors, config.behaviour_steps, config.seed)
        share = 100 * float(behaviour.explained)
        log(f"the policy of the data explains {share:.0f} % of its actions")
    model = FittedModel(
        members=stack,
        normalizer=normalizer,
        config=config,
        roles=dataset.roles,
        agent_ids=dataset.agent_ids,
        action_levels=dataset.action_levels,
        time_step=dataset.time_step,
        ranges=dataset.data_ranges(),
        band=band,
        sample=DataSample(data.state[sample], data.action[sample], data.agent[sample]),
        behaviour=behaviour,
        posterior=posterior,
        sums=sums,
        info=RunInfo(
            twinfold=__version__,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            python=platform.python_version(),
            jax=jax.__version__,
            device=jax.devices()[0].platform,
            fingerprint=fingerprint,
            source=dict(source or {}),
            agents=dataset.n_agents,
            transitions=len(data),
            linear=candidate.linear,
            own=() if linear is None else linear.own,
            features="joint" if candidate.structure.joint else "separable",
            rank=candidate.structure.rank,
            steps=candidate.steps,
            unrolled_steps=candidate.unrolled,
            shrinkage=candidate.shrinkage,
            static_explained=explained,
            behaviour_explained=None if behaviour is None else float(behaviour.explained),
            validation=validation,
            training_loss=tuple(round(float(value), 8) for value in losses),
            seconds=round(time.perf_counter() - begun, 2),
        ),
    )
    if reserved is not None:
        model = calibrate(model, reserved)
        log(f"the band is calibrated on {reserved.n_agents} agents that the nets have not seen")
    if writer is not None:
        writer.finish(model)
    log(f"fitted in {time.perf_counter() - begun:.1f} s")
    return model


def _members(
    problem: TrainingContext,
    candidate: Candidate,
    normalizer: Normalizer,
    rows: NDArray[np.int32],
    linear: LinearFit | None,
    log: Log,
) -> tuple[list[FactorModel], NDArray[np.floating]]:
    """The members and their last losses, beside the linear model of all data."""
    config = problem.config
    if not candidate.structure.rank:  # all members would be the same
        return [fresh_member(problem, normalizer, 0, NO_NETS, linear)], np.zeros(0)
    log(
        f"training {config.members} members for {candidate.steps} steps on all {len(rows)} "
        "transitions"
    )
    jobs = [
        MemberJob(
            f"member-{m}",
            m,
            candidate.steps,
            candidate.shrinkage,
            candidate.structure,
            candidate.unrolled,
        )
        for m in range(config.members)
    ]
    members, losses = train_members(problem, rows, normalizer, jobs, "training", linear)
    return members, losses


def _static_explained(dataset: PanelDataset, posterior: Posterior, log: Log) -> float:
    """Return how much of the agents' differences static columns explain, and say so."""
    names = ", ".join(map(repr, dataset.roles.static))
    assert dataset.static is not None
    whole = int((~np.isnan(dataset.static[: dataset.n_agents]).any(axis=1)).sum())
    if posterior.static is not None:
        explained = float(posterior.static.explained)
        log(
            f"the static columns ({names}) explain {100 * explained:.0f} % of how agents differ, "
            "each agent left out in turn; new agents that have them begin there"
        )
        return explained
    if whole < STATIC.fewest:
        log(
            f"warning: {whole} agents have all static columns ({names}), {STATIC.fewest} are "
            "needed; they are left aside"
        )
    else:
        log(f"the static columns ({names}) do not tell agents apart; they are left aside")
    return 0.0
