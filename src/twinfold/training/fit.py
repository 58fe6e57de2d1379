"""Learn a simulator for every agent of a panel.

    1. choose features, rank, length of training and shrinkage on held-out data (``select_model``)
    2. train the ensemble on everything with that choice
    3. solve for every agent's factors in closed form, given the nets (in step 1 as well)
    4. turn the held-out errors of step 1 into a prediction band

The agents' data is scarce, so nothing of it is lost: step 2 sees all of it.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from twinfold import __version__
from twinfold.adaptation.adaptation_settings import POSTERIOR
from twinfold.adaptation.input_checks import reach_problems
from twinfold.config import FitConfig
from twinfold.data.actions import ActionCode
from twinfold.data.outliers import spike_rows
from twinfold.data.panel import PanelDataset
from twinfold.data.roles import Roles
from twinfold.errors import InvalidDataError
from twinfold.models.behaviour_policy import Behaviour, fit_behaviour
from twinfold.models.factor_model import FactorModel
from twinfold.models.filling import filled_in
from twinfold.models.fitted_model import DataSample, FittedModel
from twinfold.models.known_inputs import wander
from twinfold.models.learned_goal import fit_goal
from twinfold.models.normalizer import Normalizer
from twinfold.models.normalizer_fit import unit_problems
from twinfold.models.posterior import Posterior
from twinfold.models.recent import last_starts, last_times
from twinfold.models.run_info import RunInfo
from twinfold.training.agent_factors import posterior_of, solved
from twinfold.training.ensemble import TrainingContext, check_history
from twinfold.training.left_out import left_out_in_turn
from twinfold.training.model_selection import Choice, Log, select_model
from twinfold.training.noise_regression import world_noise
from twinfold.training.refilling import refilled
from twinfold.training.regression_settings import REGRESSION
from twinfold.training.run_writer import RunWriter
from twinfold.training.selection_record import calibration_line, static_line
from twinfold.training.selection_settings import SELECTION
from twinfold.training.train_on_all import Trained, train_on_all
from twinfold.training.trainer import Progress
from twinfold.uncertainty.conformal import calibrate, split_reserved
from twinfold.utils.programs import drop_programs
from twinfold.utils.text import counted


def fit(
    dataset: PanelDataset | Any,
    config: FitConfig | None = None,
    *,
    roles: Roles | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    reserve: int | Literal["auto"] | PanelDataset = "auto",
    source: Mapping[str, Any] | None = None,
    log: Log | None = None,
    progress: Progress | None = None,
) -> FittedModel:
    """Learn a simulator for every agent (PerSim, section 4).

    Args:
        dataset: the panel; or a data frame of any kind, with ``roles``.
        config: settings; the defaults are meant for any panel.
        roles: which column of a frame is what; see ``PanelDataset.from_frame``.
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
        InvalidDataError: the units of a column are too small or too large for single precision, or
            a value of a reserved agent is too far from all others.
        RunError: the partial run belongs to other data or settings.
    """
    drop_programs()  # of earlier fits in this process
    config = config or FitConfig()
    log = log or (lambda line: None)
    if not isinstance(dataset, PanelDataset):
        dataset = PanelDataset.from_frame(dataset, roles or {})
        for line in dataset.warnings:
            log(f"warning: {line}")
    whole = dataset
    dataset, reserved = split_reserved(whole, reserve, config.seed)
    if dataset is not whole:  # the fingerprint of the run is of the others alone
        source = {**(source or {}), "fingerprint": whole.fingerprint()}
    provenance = {"fingerprint": dataset.fingerprint(), "source": dict(source or {})}
    clean = filled_in(without_spikes(dataset, log))
    data = clean.transitions()
    problem = TrainingContext.of(clean, data, config, progress)
    _check_numbers(problem, clean.roles, reserved)
    check_history(data, config.history)
    with _run_writer(out, config, dataset, reserved) as writer:
        if writer is not None and writer.resumed:
            log(f"going on with the interrupted fit in {writer.partial}")
        begun = time.perf_counter()
        model, choice = _fit(clean, problem._replace(writer=writer), provenance, log)
        if reserved is not None:
            others = left_out_in_turn(model, dataset, clean, choice)
            model = calibrate(model, reserved, others)
            log(calibration_line(model.calibration, reserved))
        if writer is not None:
            writer.finish(model)
        log(f"fitted in {time.perf_counter() - begun:.1f} s")
    return model


def without_spikes(dataset: PanelDataset, log: Log) -> PanelDataset:
    """Return the data without rows whose values are far from all others, which would decide."""
    rows = spike_rows(dataset)
    if not len(rows):
        return dataset
    first = dataset.agent_ids[dataset.agent[rows[0]]]
    log(
        f"warning: {counted(len(rows), 'row')} with values far from all others, the first of agent "
        f"{first!r}, left out of the fit; trajectories are split there"
    )
    return dataset.without_rows(rows)


def _check_numbers(problem: TrainingContext, roles: Roles, reserved: PanelDataset | None) -> None:
    """Refuse, before anything is trained, what the nets could not compute with."""
    with np.errstate(over="ignore", invalid="ignore"):
        normalizer = problem.normalizer(np.arange(len(problem.data), dtype=np.int32))
    problems = list(unit_problems(normalizer, roles.state, _action_names(roles)))
    columns = ("state", "action", "action_type", "levels")  # others are refused as such
    if reserved and all(getattr(reserved.roles, x) == getattr(roles, x) for x in columns):
        problems = problems or reach_problems(normalizer, reserved)
    if problems:
        raise InvalidDataError(problems)


def _action_names(roles: Roles) -> tuple[str, ...]:
    """Return the names of the numbers that the model takes of an action."""
    return ActionCode(roles, roles.levels).names


def _run_writer(
    out: str | Path | None, config: FitConfig, *tables: PanelDataset | None
) -> AbstractContextManager[RunWriter | None]:
    """Return the writer of a run directory, closed at the end; None without a directory."""
    if out is None:
        return nullcontext()
    identity = "".join(_identity(table) for table in tables if table is not None)
    return closing(RunWriter(out, config, identity))


def _identity(dataset: PanelDataset) -> str:
    """Return the SHA-256 (hex) of all that a resumed fit relies on: the data, and how it is joined.

    The fingerprint alone is the same for another time step.
    """
    data = dataset.transitions()
    digest = hashlib.sha256(dataset.fingerprint().encode())
    digest.update(json.dumps(dataset.agent_ids).encode())
    digest.update(data.agent.tobytes() + data.segment.tobytes() + data.step.tobytes())
    return digest.hexdigest()


def _fit(
    dataset: PanelDataset, problem: TrainingContext, provenance: dict[str, Any], log: Log
) -> tuple[FittedModel, Choice]:
    """Choose a model, train it on everything, and solve for every agent; return both.

    Args:
        dataset: the panel.
        problem: its transitions and the settings.
        provenance: fingerprint and source of the panel, for the record.
        log: receives one line per thing worth knowing.
    """
    begun = time.perf_counter()
    log(
        f"{counted(dataset.n_agents, 'agent')}, {counted(len(problem.data), 'transition')}, "
        f"{counted(problem.data.state.shape[1], 'state column')}, {dataset.roles.action_kind}; "
        f"{counted(problem.config.members, 'member')}"
    )
    dataset, by_nets = refilled(dataset, problem, log)
    problem = problem._replace(data=dataset.transitions()) if by_nets else problem
    choice = select_model(dataset, problem, log)
    memory = choice.candidate.history, choice.candidate.changes_alone
    problem = problem._replace(config=choice.config).with_history(dataset, *memory)
    if choice.candidate.structure.rank:
        log(
            f"training {counted(problem.config.members, 'member')} for {choice.candidate.steps} "
            f"steps on all {len(problem.data)} transitions"
        )
    trained = train_on_all(problem, choice.candidate)
    posterior = posterior_of(dataset, problem, trained, choice.noise)
    if dataset.static is not None:
        with_linear = choice.candidate.reads_static
        log(static_line(dataset, posterior.static, with_linear))
    members = solved(trained.members, posterior)
    goal, lines = fit_goal(dataset)
    for line in lines:
        log(line)
    behaviour = _behaviour(dataset, problem, trained.normalizer, members, log)
    info = _run_info(dataset, problem, choice, trained, posterior, behaviour, provenance)
    model = FittedModel(
        members=members,
        normalizer=trained.normalizer,
        config=problem.config,
        roles=dataset.roles,
        agent_ids=dataset.agent_ids,
        action_levels=dataset.action_levels,
        time_step=dataset.time_step,
        ranges=dataset.data_ranges(),
        band=choice.band,
        sample=_sample(problem),
        behaviour=behaviour,
        posterior=posterior,
        sums=trained.sums,
        goal=goal,
        noise=world_noise(problem, trained.normalizer, members, _noise_sd(trained, posterior)),
        recent=last_starts(problem.data, dataset.n_agents, dataset.roles, dataset.uneven),
        ended=last_times(dataset),
        levels=dict(dataset.levels),
        wander=wander(problem.data, problem.config.seed),
        info=info.changed(filled_by_nets=by_nets, seconds=round(time.perf_counter() - begun, 2)),
    )
    return model, choice


def _noise_sd(trained: Trained, posterior: Posterior) -> NDArray[np.float64]:
    """Return the noise that held-out predictions have, ``(D,)``, raw units."""
    return np.median(posterior.prior.noise, axis=0) * trained.normalizer.target_scale


def _behaviour(
    dataset: PanelDataset,
    problem: TrainingContext,
    normalizer: Normalizer,
    members: FactorModel,
    log: Log,
) -> Behaviour | None:
    """Return the policy that the data was recorded with, learned from it; None if none is."""
    config = problem.config
    if problem.discrete or dataset.roles.mixed or not config.behaviour_steps:
        return None
    factors = np.asarray(members.agents[0], np.float64)
    behaviour = fit_behaviour(
        problem.data, normalizer, factors, config.behaviour_steps, config.seed
    )
    share = 100 * float(behaviour.explained)
    log(f"the policy of the data explains {share:.0f} % of its actions")
    return behaviour


def _sample(problem: TrainingContext) -> DataSample:
    """Return the states and actions that the run keeps."""
    data = problem.data
    order = np.random.default_rng((problem.config.seed, 3)).permutation(len(data))
    rows = np.sort(order[: SELECTION.kept_states])
    known = None if data.known is None else data.known[rows]
    return DataSample(data.state[rows], data.action[rows], data.agent[rows], known)


def _run_info(
    dataset: PanelDataset,
    problem: TrainingContext,
    choice: Choice,
    trained: Trained,
    posterior: Posterior,
    behaviour: Behaviour | None,
    provenance: dict[str, Any],
) -> RunInfo:
    """Return the record of a fit."""
    candidate, linear = choice.candidate, trained.linear
    explained = None
    if dataset.static is not None:
        explained = 0.0 if posterior.static is None else float(posterior.static.explained)
    return RunInfo(
        **provenance,
        twinfold=__version__,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        jax=jax.__version__,
        device=jax.devices()[0].platform,
        agents=dataset.n_agents,
        transitions=len(problem.data),
        linear=candidate.linear,
        own=() if linear is None else linear.own,
        features="joint" if candidate.structure.joint else "separable",
        rank=candidate.structure.rank,
        history=candidate.history,
        memory_trust=problem.trust,
        steps=candidate.steps,
        unrolled_steps=candidate.unrolled,
        shrinkage=candidate.shrinkage,
        static_explained=explained,
        behaviour_explained=None if behaviour is None else float(behaviour.explained),
        validation=choice.validation,
        settings=_settings(),
        training_loss=tuple(round(float(value), 8) for value in trained.losses),
    )


def _settings() -> dict[str, Any]:
    """Return the numbers that decide in a fit, as JSON has them."""
    parts = {"selection": SELECTION, "regression": REGRESSION, "posterior": POSTERIOR}
    return json.loads(json.dumps({name: dataclasses.asdict(part) for name, part in parts.items()}))
