"""Methods whose fit is a run of ``twinfold fit``: ours, and the controls made of the same nets."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.benchmark.methods.method import FitRequest, Given, Method, Record, parsed
from twinfold.config import FitConfig
from twinfold.utils.seeds import derived_seed

if TYPE_CHECKING:
    from twinfold.benchmark.collect import Trajectories
    from twinfold.benchmark.predictions import Predictions
    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel
    from twinfold.tasks import Task

ONE_STRENGTH = (0.001,)
"""Shrinkages of a fit with one agent, where each gives the same."""


@dataclass(frozen=True, kw_only=True)
class SimulatorMethod(Method):
    """A method that fits simulators with ``twinfold.fit``.

    Its settings are those of the suite for every fit and, over them, its own.

    Attributes:
        shrinkages: that are tried where the suite names none; None for those of ``FitConfig``. A
            fit of one agent has no others to be drawn to, so that one strength is enough.
    """

    shrinkages: tuple[float, ...] | None = None
    keeps_to_data: bool = True

    @abc.abstractmethod
    def panel(self, request: FitRequest) -> PanelDataset:
        """Return the data that the nets are fitted to."""

    def settings(self, given: Given) -> FitConfig:
        """Return the settings of a fit, without the seed of the repeat."""
        values = {"effort": given.effort, **given.fit}
        if self.shrinkages is not None:
            values.setdefault("shrinkages", self.shrinkages)
        config = parsed(FitConfig.parse, values, f"fit.{given.task}")
        if not given.own:
            return config
        return parsed(FitConfig.parse, {**values, **given.own}, f"baselines.{self.name}")

    def defaults(self, task: str) -> Record:
        """Return the defaults of ``FitConfig``."""
        return FitConfig().model_dump(mode="json")

    def recorded(self, settings: FitConfig, seed: int) -> Record:
        """Return all settings of a fit; every repeat has a seed of its own."""
        return seeded(settings, seed).model_dump(mode="json")

    def canonical(self, settings: FitConfig, seed: int) -> str:
        """Return the settings as JSON."""
        return seeded(settings, seed).model_dump_json()

    def fit(self, request: FitRequest) -> FittedModel:
        """Return simulators, fitted to the panel of the method, in a run directory."""
        from twinfold.training.fit import fit

        return fit(
            self.panel(request),
            seeded(request.settings, request.seed),
            out=request.out,
            reserve=request.reserve,
            source=request.source,
            log=request.log,
            progress=request.progress,
        )

    def load(self, path: Path) -> FittedModel:
        """Return the run of a directory."""
        from twinfold.training.run_directory import load_run

        return load_run(path)

    def info(self, model: FittedModel) -> Record:
        """Return where a run comes from, and its held-out error beside that of no change."""
        validation = model.info.validation
        return {
            **dict(model.info),
            "held_out_error": validation.get("rmse"),
            "persistence_error": validation.get("persistence_rmse"),
        }

    def check(self, model: FittedModel, task: Task) -> None:
        """Refuse a run whose states or actions are not those of a task."""
        from twinfold.planning.plan import check_fits

        check_fits(model, task)

    def dynamics(self, model: FittedModel, agent: int, draws: int = 0) -> Any:
        """Return the simulators of an agent."""
        return model.dynamics(self.agent_of(agent), draws)

    def predict(
        self, model: FittedModel, agents: Sequence[int], found: Trajectories
    ) -> list[Predictions]:
        """Return what every member predicts, all agents in one program."""
        import numpy as np

        from twinfold.benchmark.predictions import Predictions
        from twinfold.models.rollout import rollout_members

        index = model.agent_indices(self.agent_of(agent) for agent in agents)
        n_agents, n_paths, length, n_state = found.states[:, :, 1:].shape
        flat = n_agents * n_paths
        paths = rollout_members(
            model.members,
            model.normalizer,
            np.repeat(index, n_paths),
            found.states[:, :, 0].reshape(flat, n_state).astype(np.float64),
            found.actions.reshape(flat, length, *found.actions.shape[3:]),
        )
        paths = paths.reshape(-1, n_agents, n_paths, length, n_state)
        return [
            Predictions(found.states[a], paths[:, a], found.mask[a, :, :length])
            for a in range(n_agents)
        ]

    def planning_model(self, model: FittedModel) -> FittedModel:
        """Return the run itself."""
        return model


def seeded(config: FitConfig, seed: int) -> FitConfig:
    """Return a config with the seed of a repeat."""
    return config.model_copy(update={"seed": derived_seed(config.seed + seed)})
