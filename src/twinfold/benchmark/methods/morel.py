"""MOReL, of all agents' data or of one agent's (:mod:`twinfold.baselines.morel`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.baselines.morel_settings import MOReLSettings
from twinfold.benchmark.methods.method import FitRequest, Given, Method, Record, parsed

if TYPE_CHECKING:
    from twinfold.baselines.morel_model import MOReL
    from twinfold.benchmark.collect import Trajectories
    from twinfold.benchmark.predictions import Predictions


@dataclass(frozen=True, kw_only=True)
class MOReLMethod(Method):
    """A policy trained in a pessimistic ensemble; its ensemble predicts as well."""

    suffix: str = ".safetensors"

    def settings(self, given: Given) -> MOReLSettings:
        """Return its settings."""
        return parsed(MOReLSettings.parse, given.own, f"baselines.{self.name}")

    def defaults(self, task: str) -> Record:
        """Return the defaults of ``MOReLSettings``."""
        return MOReLSettings().model_dump(mode="json")

    def fit(self, request: FitRequest) -> MOReL:
        """Fit the ensemble, train the policy, and write one file."""
        from twinfold.baselines import fit_morel, save_morel

        model = fit_morel(
            request.dataset,
            request.task,
            None if request.agent is None else [request.agent],
            request.settings,
            request.seed,
            source=request.source,
            progress=request.progress,
        )
        save_morel(model, request.out)
        request.log(f"{self.name}: fitted in {model.info.seconds:.1f} s: {request.out}")
        return model

    def load(self, path: Path) -> MOReL:
        """Return the fit of a file."""
        from twinfold.baselines import load_morel

        return load_morel(path)

    def owns(self, model: Any) -> bool:
        """Return whether this is a MOReL of this kind."""
        from twinfold.baselines import MOReL

        return isinstance(model, MOReL) and model.method == self.name

    def predict(
        self, model: MOReL, agents: Sequence[int], found: Trajectories
    ) -> list[Predictions]:
        """Return what the ensemble predicts; it knows no agents."""
        from twinfold.benchmark.predictions import Predictions

        return [
            Predictions(
                found.states[a],
                model.rollout(found.states[a, :, 0], found.actions[a]),
                found.mask[a],
            )
            for a in range(len(agents))
        ]


def _morel(*, per_agent: bool) -> MOReLMethod:
    kind = "one agent's trajectory" if per_agent else "all agents' trajectories"
    return MOReLMethod(
        name=f"morel-{'a' if per_agent else 'p'}",
        title=f"MOReL-{'A' if per_agent else 'P'}",
        role="baseline",
        abilities=frozenset({"predict", "act"}),
        per_agent=per_agent,
        about=f"MOReL (Kidambi et al., NeurIPS 2020): a policy trained in an ensemble that halts "
        f"where its members disagree, from {kind}; by PPO here.",
    )


MOREL_P, MOREL_A = _morel(per_agent=False), _morel(per_agent=True)
