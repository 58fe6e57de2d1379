"""BCQ and CQL, of all agents' data or of one agent's, and beside simulated trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from twinfold.baselines.offline_settings import (
    Algorithm,
    AugmentationSettings,
    OfflineSettings,
    offline_settings,
)
from twinfold.benchmark.methods.method import FitRequest, Given, Method, Record, parsed
from twinfold.benchmark.paper import ACTION_TYPES
from twinfold.errors import UsageError, one_of
from twinfold.utils.reading import problem_lines

if TYPE_CHECKING:
    from twinfold.baselines.offline_policy import OfflinePolicy

SOURCES = {"bcq": "Fujimoto et al., ICML 2019", "cql": "Kumar et al., NeurIPS 2020"}


@dataclass(frozen=True, kw_only=True)
class OfflineMethod(Method):
    """A policy by BCQ or CQL.

    Attributes:
        algorithm: that trains it.
    """

    algorithm: Algorithm
    suffix: str = ".safetensors"
    modules: tuple[str, ...] = ("d3rlpy",)
    extra: str = "baselines"

    def settings(self, given: Given) -> BaseModel:
        """Return the settings of the training."""
        return self.training(given.task, given.own)

    def training(self, task: str, own: Any) -> OfflineSettings:
        """Return the settings of the training, those that the suite does not name by the task."""
        base = offline_settings(ACTION_TYPES[task], one_agent=self.per_agent)
        return parsed(
            lambda values: OfflineSettings.parse(values, base), own, f"baselines.{self.name}"
        )

    def defaults(self, task: str) -> Record:
        """Return the defaults of the case."""
        found = offline_settings(ACTION_TYPES[task], one_agent=self.per_agent)
        return found.model_dump(mode="json")

    def fit(self, request: FitRequest) -> OfflinePolicy:
        """Train, and write one file."""
        from twinfold.baselines import save_offline

        policy = self.trained(request)
        save_offline(policy, request.out)
        request.log(f"{self.name}: trained in {policy.info.seconds:.1f} s: {request.out}")
        return policy

    def trained(self, request: FitRequest) -> OfflinePolicy:
        """Return the policy that recorded trajectories give."""
        from twinfold.baselines import fit_offline

        return fit_offline(
            request.dataset,
            request.task,
            self.algorithm,
            None if request.agent is None else [request.agent],
            request.settings,
            request.seed,
            source=request.source,
            progress=request.progress,
        )

    def load(self, path: Path) -> OfflinePolicy:
        """Return the policy of a file."""
        from twinfold.baselines import load_offline

        return load_offline(path)

    def owns(self, model: Any) -> bool:
        """Return whether this is a policy of this method."""
        from twinfold.baselines import OfflinePolicy

        return isinstance(model, OfflinePolicy) and model.method == self.name

    def fit_settings(self, model: OfflinePolicy) -> Record:
        """Return the settings of the training."""
        return model.settings.model_dump(mode="json")


class AugmentedSettings(BaseModel):
    """Settings of a policy that learns from simulated trajectories too.

    Attributes:
        training: of the policy.
        simulated: of the trajectories.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: OfflineSettings
    simulated: AugmentationSettings


@dataclass(frozen=True, kw_only=True)
class AugmentedMethod(OfflineMethod):
    """A policy from an agent's observed trajectory and five of its simulator (Table 3).

    A suite gives settings of the trajectories as ``simulated = { actor = "behaviour" }``.
    """

    needs: tuple[str, ...] = ("persim",)

    def settings(self, given: Given) -> AugmentedSettings:
        """Return the settings of the training and of the trajectories."""
        own = dict(given.own)
        place = f"baselines.{self.name}.simulated"
        simulated = parsed(_simulated, own.pop("simulated", {}), place)
        return AugmentedSettings(training=self.training(given.task, own), simulated=simulated)

    def defaults(self, task: str) -> Record:
        """Return the defaults of the case."""
        training = super().defaults(task)
        return {"training": training, "simulated": AugmentationSettings().model_dump(mode="json")}

    def trained(self, request: FitRequest) -> OfflinePolicy:
        """Return the policy that both kinds of trajectories give."""
        from twinfold.baselines import fit_augmented

        assert request.agent is not None
        return fit_augmented(
            request.dataset,
            request.task,
            self.algorithm,
            request.other("persim"),
            request.agent,
            request.settings.simulated,
            request.settings.training,
            request.seed,
            source=request.source,
            progress=request.progress,
        )


def _simulated(values: Record) -> AugmentationSettings:
    try:
        return AugmentationSettings.model_validate(values)
    except ValidationError as error:
        lines = problem_lines(error.errors(), lambda _: one_of(AugmentationSettings.model_fields))
        raise UsageError("\n".join(lines)) from None


def _learned(algorithm: Algorithm, *, per_agent: bool) -> OfflineMethod:
    kind = "one agent's trajectory" if per_agent else "all agents' trajectories"
    return OfflineMethod(
        name=f"{algorithm}-{'a' if per_agent else 'p'}",
        title=f"{algorithm.upper()}-{'A' if per_agent else 'P'}",
        role="baseline",
        abilities=frozenset({"act"}),
        per_agent=per_agent,
        algorithm=algorithm,
        about=f"{algorithm.upper()} ({SOURCES[algorithm]}, by d3rlpy): a policy from {kind}.",
    )


def _augmented(algorithm: Algorithm) -> AugmentedMethod:
    return AugmentedMethod(
        name=f"persim-{algorithm}-5",
        title=f"PerSim-{algorithm.upper()}-5",
        role="baseline",
        abilities=frozenset({"act"}),
        per_agent=True,
        algorithm=algorithm,
        about=f"{algorithm.upper()} from an agent's trajectory and five of its learned simulator.",
    )


BCQ_P, BCQ_A = _learned("bcq", per_agent=False), _learned("bcq", per_agent=True)
CQL_P, CQL_A = _learned("cql", per_agent=False), _learned("cql", per_agent=True)
PERSIM_BCQ, PERSIM_CQL = _augmented("bcq"), _augmented("cql")
