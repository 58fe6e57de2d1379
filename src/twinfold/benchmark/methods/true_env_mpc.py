"""Planning with the true dynamics: what a planner earns without model error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.benchmark.methods.method import Evaluation, FitRequest, Given, Method, Record

if TYPE_CHECKING:
    from twinfold.tasks import Task


@dataclass(frozen=True, kw_only=True)
class TrueDynamics(Method):
    """The true task in the place of a learned simulator; nothing is fitted."""

    fits: bool = False

    def settings(self, given: Given) -> None:
        """Return nothing: there is no fit."""

    def defaults(self, task: str) -> Record:
        """Return no settings."""
        return {}

    def fit(self, request: FitRequest) -> Any:
        """Refuse: there is no fit."""
        raise NotImplementedError(f"{self.name} fits nothing")

    def load(self, path: Path) -> Any:
        """Refuse: there is no fit."""
        raise NotImplementedError(f"{self.name} fits nothing")

    def returns(
        self, model: Any, task: Task, agents: Sequence[int], evaluation: Evaluation
    ) -> Record:
        """Return the returns of planning with the true dynamics."""
        from twinfold.benchmark import protocol

        return protocol.evaluate_true(
            task,
            agents,
            episodes=evaluation.episodes,
            seed=evaluation.seed,
            plan=evaluation.plan,
            progress=evaluation.progress,
        )


TRUE_ENV_MPC = TrueDynamics(
    name="true-env-mpc",
    title="true dynamics",
    role="reference",
    abilities=frozenset({"plan"}),
    about="Planning with the true dynamics: what a planner earns without model error.",
)
