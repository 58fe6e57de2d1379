"""Settings of the studies, read from suites of the kind ``study``; no JAX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinfold.baselines.cadm_settings import CaDMSettings
from twinfold.config import FitConfig
from twinfold.errors import UsageError, one_of
from twinfold.tasks import TASK_NAMES
from twinfold.utils.reading import READING, problem_lines, read_toml
from twinfold.utils.text import cut

UNCLIPPED = "unclipped_mountain_car"
"""MountainCar without its limits: the task of Proposition 1."""

Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Ranks = Annotated[int, Field(ge=1, le=512, strict=True)]
Agent = Annotated[int, Field(ge=0, le=1_000_000, strict=True)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]


class StudySettings(BaseModel):
    """What every study has.

    Attributes:
        title: above its figures.
        runs: pairs of a task and the policy of its data.
        agents: N of the population; the first five are the test agents.
        seed: of data and fits.
        fit: settings of the simulators' fits that are not the defaults.
        trajectories: true ones of each agent that predictions are compared with.
        steps: of a prediction, open loop.
        axes: settings that say which records there are, and change no figure of one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    axes: ClassVar[frozenset[str]] = frozenset({"title", "runs"})

    title: str
    runs: Annotated[tuple[tuple[str, str], ...], Field(min_length=1, max_length=100)]
    agents: Count = 500
    seed: Seed = 0
    fit: dict[str, Any] = {}
    trajectories: Count = 100
    steps: Annotated[int, Field(ge=1, le=1000, strict=True)] = 50

    @property
    def config(self) -> FitConfig:
        """Return the settings of a fit.

        Raises:
            UsageError: one is unknown or out of range.
        """
        return FitConfig.parse({"seed": self.seed, **self.fit})

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for task, _ in self.runs:
            if task not in (*TASK_NAMES, UNCLIPPED):
                raise ValueError(f"unknown task {cut(repr(task), 60)}; {one_of(TASK_NAMES)}")
        self.config  # noqa: B018
        return self


class UnseenSettings(StudySettings):
    """Settings of the study of unseen agents.

    Attributes:
        unseen: agents kept from the nets: the test agents, and others drawn at random.
        known: numbers of observed transitions that an agent is solved for from.
        ridges: penalties of the learned map that are tried, per agent.
        lengths: length scales of its kernel that are tried, in standard deviations of a covariate.
    """

    unseen: Annotated[int, Field(ge=5, le=100_000, strict=True)] = 60
    known: tuple[Count, ...] = (1, 3, 10)
    ridges: tuple[Annotated[float, Field(gt=0)], ...] = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
    lengths: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 1.0, 2.0, 4.0, 8.0)

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        if self.unseen >= self.agents:
            raise ValueError(f"{self.unseen} unseen agents of {self.agents} leave none to train on")
        return self


class MapSettings(StudySettings):
    """Settings of the maps of agents (Figure 1).

    Attributes:
        probes: states that every agent responds to, drawn from the training data.
        folds: of the cross-validation.
        components: of the responses, that covariates are read from.
        share: of the variance of the responses, below which a component is rounding or noise.
        perplexity: of t-SNE.
        drawn: agents whose places a record keeps, for the picture.
    """

    probes: Count = 64
    folds: Annotated[int, Field(ge=2, le=100, strict=True)] = 10
    components: Annotated[int, Field(ge=1, le=512, strict=True)] = 16
    share: Annotated[float, Field(ge=0, lt=1)] = 1e-6
    perplexity: Annotated[float, Field(gt=0)] = 30.0
    drawn: Count = 500


class CartSettings(StudySettings):
    """Settings of the drawn carts (Figure 2).

    Attributes:
        shown: agents to draw.
        horizons: steps ahead at which true and predicted carts are drawn.
        cadm: settings of CaDM that are not the defaults.
    """

    axes: ClassVar[frozenset[str]] = frozenset({"title", "runs", "shown"})
    shown: Annotated[tuple[Agent, ...], Field(min_length=1, max_length=20)] = (2, 3)
    horizons: Annotated[tuple[Count, ...], Field(min_length=1, max_length=10)] = (1, 10, 25, 50)
    cadm: dict[str, Any] = {}

    @model_validator(mode="after")
    def _within_reach(self) -> Self:
        if max(self.horizons) > self.steps:
            raise ValueError(f"horizon {max(self.horizons)} is beyond the {self.steps} steps")
        CaDMSettings.parse(self.cadm)
        return self


class BandSettings(StudySettings):
    """Settings of trajectories with bands (Figure 2 of the other tasks).

    Attributes:
        shown: agents to draw.
        columns: states to draw, by task; all of a task that is not named.
    """

    axes: ClassVar[frozenset[str]] = frozenset({"title", "runs", "columns"})
    shown: Annotated[tuple[Agent, ...], Field(min_length=1, max_length=20)] = (0, 2, 4)
    columns: dict[str, tuple[str, ...]] = {}


class RankSettings(StudySettings):
    """Settings of the study of the rank (Theorem 1, Proposition 1).

    Attributes:
        ranks: of the models to fit.
        length: steps of a training trajectory of the unclipped task, which never ends.
        grid: states of the tensor whose rank is counted, drawn from the training data.
        tolerance: singular values below that share of the largest do not count.
        kept: singular values of an unfolding that a record keeps.
    """

    axes: ClassVar[frozenset[str]] = frozenset({"title", "runs", "ranks"})
    ranks: Annotated[tuple[Ranks, ...], Field(min_length=1, max_length=50)] = (1, 2, 3, 5, 8)
    length: Count = 30
    grid: Count = 300
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-2
    kept: Count = 12


STUDIES: dict[str, type[StudySettings]] = {
    "unseen": UnseenSettings,
    "map": MapSettings,
    "carts": CartSettings,
    "bands": BandSettings,
    "rank": RankSettings,
}
"""Settings of each study, by its name."""


HEADINGS = ("name", "kind", "title", "profiles")
"""What a suite of studies holds beside a table for each study."""


def load_studies(path: str | Path, profile: str = "quick") -> dict[str, StudySettings]:
    """Return the settings of studies from a suite that holds a table for each.

    A profile changes settings of every study that has them, and those of one study in a table of
    its name: ``[profiles.smoke]`` and ``[profiles.smoke.map]``.

    Args:
        path: TOML file of the kind ``study``.
        profile: how much is measured, by the names in the suite.

    Raises:
        UsageError: the file cannot be read, or a study, profile or setting does not exist.
    """
    values = read_toml(path, UsageError)
    changes = _profile(path, values.get("profiles", {}), profile)
    found: dict[str, StudySettings] = {}
    for name, part in values.items():
        if name in HEADINGS:
            continue
        if name not in STUDIES or not isinstance(part, dict):
            raise UsageError(f"{path}: no study {cut(repr(name), 60)}; {one_of(STUDIES)}")
        # A table of a study's name is of that study, whatever setting is called the same.
        own = given if isinstance(given := changes.get(name), dict) else {}
        fields = STUDIES[name].model_fields
        common = {k: v for k, v in changes.items() if k in fields and v is not own}
        found[name] = _parsed(path, name, {**part, **common, **own})
    return found


def _profile(path: str | Path, profiles: Any, name: str) -> dict[str, Any]:
    """Return what a profile changes.

    Raises:
        UsageError: there is no such profile, or it changes what no study has.
    """
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name, {}), dict):
        raise UsageError(f"{path}: [profiles] holds a table for each profile")
    if name not in profiles:
        raise UsageError(f"{path} has no profile {cut(repr(name), 60)}; {one_of(profiles)}")
    known = {field for study in STUDIES.values() for field in study.model_fields}
    for key, value in profiles[name].items():
        if key in STUDIES and isinstance(value, dict):
            continue
        if key not in known:
            raise UsageError(
                f"{path}: [profiles.{name}]: unknown setting {cut(repr(key), 60)}; {one_of(known)}"
            )
    return profiles[name]


def _parsed(path: str | Path, name: str, values: dict[str, Any]) -> StudySettings:
    kind = STUDIES[name]
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines: Sequence[str] = list(
            problem_lines(error.errors(), lambda _: one_of(kind.model_fields))
        )
    except UsageError as error:
        lines = str(error).splitlines()
    raise UsageError(
        "\n".join(f"{path}: [{name}]: {cut(line, READING.line)}" for line in lines)
    ) from None
