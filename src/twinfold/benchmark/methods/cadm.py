"""CaDM, the paper's first baseline, in its two variants (:mod:`twinfold.baselines.cadm`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.baselines.cadm_settings import CaDMSettings, Variant
from twinfold.benchmark.methods.method import FitRequest, Given, Method, Record, parsed
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.baselines.cadm_model import CaDM
    from twinfold.benchmark.collect import Trajectories
    from twinfold.benchmark.predictions import Predictions
    from twinfold.tasks import Task

HISTORY_NOTE = (
    "CaDM knows an agent by its recent steps: the first {steps} true steps of every test "
    "trajectory are its history, and its error is that of the steps that follow. A trajectory that "
    "ends before counts nowhere."
)
EMPTY_NOTE = (
    "CaDM begins every episode without a history, and every true step goes into it. A terminal "
    "value is computed before, for an agent of which nothing is known."
)


@dataclass(frozen=True, kw_only=True)
class CaDMMethod(Method):
    """A variant of CaDM.

    Attributes:
        variant: vanilla or PE-TS.
    """

    variant: Variant
    suffix: str = ".safetensors"

    def settings(self, given: Given) -> CaDMSettings:
        """Return its settings."""
        return parsed(CaDMSettings.parse, given.own, f"baselines.{self.name}")

    def defaults(self, task: str) -> Record:
        """Return the defaults of ``CaDMSettings``."""
        return CaDMSettings().model_dump(mode="json")

    def recorded(self, settings: CaDMSettings, seed: int) -> Record:
        """Return the variant, all settings, and the seed."""
        return {"variant": self.variant, **super().recorded(settings, seed)}

    def fit(self, request: FitRequest) -> CaDM:
        """Fit on the same data as every method, and write one file."""
        from twinfold.baselines import fit_cadm, save_cadm

        model = fit_cadm(
            request.dataset,
            request.settings,
            self.variant,
            request.seed,
            source=dict(request.source),
            progress=request.progress,
        )
        save_cadm(model, request.out)
        request.log(f"{self.name}: fitted in {model.info.seconds:.1f} s: {request.out}")
        return model

    def load(self, path: Path) -> CaDM:
        """Return the fit of a file."""
        from twinfold.baselines import load_cadm

        return load_cadm(path)

    def owns(self, model: Any) -> bool:
        """Return whether this is a CaDM of the variant."""
        from twinfold.baselines import CaDM

        return isinstance(model, CaDM) and model.variant == self.variant

    def check(self, model: CaDM, task: Task) -> None:
        """Refuse a fit whose states or actions are not those of a task."""
        from twinfold.planning.plan import check_fits

        check_fits(model, task)

    def history_steps(self, model: CaDM) -> int:
        """Return the length of the history."""
        return model.config.history

    def error_note(self, model: CaDM) -> str:
        """Return which steps of a trajectory its errors are of."""
        return HISTORY_NOTE.format(steps=model.config.history)

    def return_note(self, model: CaDM) -> str:
        """Return what an episode begins with."""
        return EMPTY_NOTE

    def dynamics(self, model: CaDM, agent: int, draws: int = 0) -> Any:
        """Return the nets, or the particles; of an agent of which nothing is known yet."""
        return model.dynamics()

    def predict(self, model: CaDM, agents: Sequence[int], found: Trajectories) -> list[Predictions]:
        """Return what is predicted after the first steps of each trajectory."""
        return [after_history(model, agent, found, a) for a, agent in enumerate(agents)]


def after_history(model: CaDM, agent: int, found: Trajectories, place: int) -> Predictions:
    """Return what a model predicts that reads the first steps of each trajectory of an agent.

    Raises:
        UsageError: every trajectory ends before.
    """
    import numpy as np

    from twinfold.benchmark.predictions import Predictions

    begun = model.config.history
    lasting = found.mask[place, :, begun]
    if not lasting.any():
        raise UsageError(
            f"every test trajectory of agent {agent} ends within the {begun} steps that the model "
            "is given as history; measure more trajectories"
        )
    states, actions = found.states[place, lasting], found.actions[place, lasting]
    known = model.histories(states[:, : begun + 1].astype(np.float64), actions[:, :begun])
    paths = model.rollout(states[:, begun], actions[:, begun:], known)
    return Predictions(states[:, begun:], paths, found.mask[place, lasting, begun:])


CADM = CaDMMethod(
    name="cadm",
    title="Vanilla CaDM",
    role="baseline",
    abilities=frozenset({"predict", "plan"}),
    variant="vanilla",
    about="Context-aware dynamics model (Lee et al., ICML 2020): one deterministic net.",
)
CADM_PETS = CaDMMethod(
    name="cadm-pets",
    title="PE-TS CaDM",
    role="baseline",
    abilities=frozenset({"predict", "plan"}),
    variant="pe-ts",
    about="Context-aware dynamics model (Lee et al., ICML 2020): a probabilistic ensemble of five "
    "whose predictions follow 20 particles.",
)
