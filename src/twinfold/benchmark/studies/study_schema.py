"""What a record of each study holds, as far as tables and figures read it; more may be there.

A number that was not finite when it was recorded is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twinfold.benchmark.studies.study_settings import UNCLIPPED
from twinfold.tasks import TASK_NAMES
from twinfold.utils.reading import problem_lines
from twinfold.utils.text import cut

Number = float | None
Count = Annotated[int, Field(ge=0)]
Rows = Annotated[list[list[Number]], Field(min_length=1)]
"""A table of numbers, ``(T, D)``."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class Recorded(_Part):
    """What the record of any study holds.

    Attributes:
        task: that it is of.
        dataset: policy that the data comes from.
        settings: of the study.
        seconds: that it took, if that is known.
        agent: that it is of, where there is a record for each; ``rank`` likewise.
    """

    task: str
    dataset: str | None
    settings: dict[str, Any]
    seconds: Number = None
    agent: int | None = None
    rank: int | None = None

    @model_validator(mode="after")
    def _known_task(self) -> Self:
        if self.task not in (*TASK_NAMES, UNCLIPPED):
            raise ValueError(f"there is no task {cut(repr(self.task), 60)}")
        return self


class _Median(_Part):
    median: Number
    low: Number
    high: Number


class _OfAgents(_Median):
    agents: list[Number]


class _UnseenSettings(_Part):
    agents: Count
    known: list[Count]


class _Unseen(_Part):
    unseen_agents: Annotated[list[int], Field(min_length=1)]
    ways: Annotated[dict[str, _OfAgents], Field(min_length=1)]
    static_explained: Number
    settings: _UnseenSettings


class _MapSettings(_Part):
    folds: Count


class _R2(_Part):
    linear: dict[str, Number]
    smooth: dict[str, Number]
    pca_map: dict[str, Number]
    tsne_map: dict[str, Number]


class _Map(_Part):
    covariates: Annotated[dict[str, list[Number]], Field(min_length=1)]
    pca: Rows
    tsne: Rows
    explained_by_pca: Annotated[list[float], Field(min_length=2)]
    components: Count
    r2: _R2
    settings: _MapSettings

    @model_validator(mode="after")
    def _fits(self) -> Self:
        n_agents = len(self.pca)
        for name in ("pca", "tsne"):
            _table(name, getattr(self, name), n_agents, 2)
        for name, values in self.covariates.items():
            if len(values) != n_agents:
                raise ValueError(f"covariates.{name} has {len(values)} agents, pca {n_agents}")
        _same_names("r2", vars(self.r2), self.covariates)
        return self


class _Carts(_Part):
    agent: int
    label: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]
    covariates: dict[str, float]
    history: Count
    horizons: Annotated[list[Count], Field(min_length=1)]
    states: list[str]
    lasting: Count
    true: Annotated[list[list[float]], Field(min_length=1)]
    predicted: Annotated[dict[str, Rows], Field(min_length=1)]
    rmse: dict[str, Number]
    rmse_shown: dict[str, Number]
    fits: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not {"x", "theta"} <= {*self.states} or "length" not in self.covariates:
            raise ValueError("a cart has the states x and theta and the covariate length")
        if unknown := {*self.predicted} - {"persim", "cadm", "cadm-pets"}:
            raise ValueError(f"there is no model {cut(repr(min(unknown)), 60)}")
        size = len(self.horizons), len(self.states)
        _table("true", self.true, *size)
        for name, rows in self.predicted.items():
            _table(f"predicted.{name}", rows, *size)
        _same_names("errors", {"rmse": self.rmse, "rmse_shown": self.rmse_shown}, self.predicted)
        steps = self.fits.get("cadm", {}).get("steps", 0)
        if type(steps) is not int:
            raise ValueError(f"fits.cadm.steps is no integer: {cut(repr(steps), 60)}")
        return self


class _Band(_Part):
    label: str
    true: Rows
    predicted: list[list[Number]]
    low: list[list[Number]]
    high: list[list[Number]]
    rmse: Number
    inside: float
    steps_inside: float


class _Bands(_Part):
    columns: Annotated[list[str], Field(min_length=1)]
    coverage: float
    agents: Annotated[list[_Band], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for i, agent in enumerate(self.agents):
            steps = len(agent.true) - 1
            _table(f"agents.{i}.true", agent.true, steps + 1, len(self.columns))
            for name in ("predicted", "low", "high"):
                _table(f"agents.{i}.{name}", getattr(agent, name), steps, len(self.columns))
        return self


class _Spectrum(_Part):
    values: Annotated[list[Number], Field(min_length=1)]
    numerical_rank: Count


class _Spectra(_Part):
    agents: _Spectrum
    states: _Spectrum
    actions: _Spectrum


class _RankSettings(_Part):
    tolerance: float


class _Rank(_Part):
    rank: Annotated[int, Field(ge=1)]
    rmse: _Median
    tensor_error: Number
    least_error: float
    true: _Spectra
    learned: _Spectra
    settings: _RankSettings


_STUDIES: dict[str, type[BaseModel]] = {
    "unseen": _Unseen,
    "map": _Map,
    "carts": _Carts,
    "bands": _Bands,
    "rank": _Rank,
}


def problem_of(study: str, record: Any) -> str | None:
    """Return in one line why a record cannot be used; None if it can.

    Args:
        study: its name; of one that is not known only what all studies have is looked at.
        record: as it was read.
    """
    for schema in (Recorded, *filter(None, [_STUDIES.get(study)])):
        try:
            schema.model_validate(record)
        except ValidationError as error:
            return next(problem_lines(error.errors(), str))
    return None


def _table(name: str, rows: Sequence[Sequence[Any]], n_rows: int, n_columns: int) -> None:
    """Raise ValueError unless a table has so many rows and columns."""
    if len(rows) != n_rows or any(len(row) != n_columns for row in rows):
        raise ValueError(f"{name} is no table of {n_rows} rows and {n_columns} columns")


def _same_names(what: str, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise ValueError unless each mapping has all the names of another."""
    for name, values in found.items():
        if missing := [key for key in wanted if key not in values]:
            raise ValueError(f"{what}: {name} says nothing of {cut(repr(missing[0]), 60)}")
