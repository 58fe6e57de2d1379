"""A method of one's own: a policy that needs one number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel

from twinfold.benchmark.methods.method import FitRequest, Given, Method
from twinfold.errors import RunError


class LeaningSettings(BaseModel, extra="forbid", frozen=True):
    angle: float = 0.0


@dataclass(frozen=True)
class Leaning:
    """Pushes to the side that the pole leans to."""

    angle: float
    info: Mapping[str, Any]

    def act(self, states: NDArray[Any]) -> NDArray[np.int32]:
        return (states[:, 2] > self.angle).astype(np.int32)


@dataclass(frozen=True, kw_only=True)
class LeaningMethod(Method):
    broken: Exception | None = None

    def settings(self, given: Given) -> LeaningSettings:
        return LeaningSettings(**given.own)

    def defaults(self, task: str) -> dict[str, Any]:
        return LeaningSettings().model_dump()

    def fit(self, request: FitRequest) -> Leaning:
        if self.broken is not None:
            raise self.broken
        info = {"seconds": 0.5, "source": dict(request.source), "agent": request.agent}
        if self.needs:
            info["below"] = [request.other(name).info["agent"] for name in self.needs]
        request.out.parent.mkdir(parents=True, exist_ok=True)
        request.out.write_text(json.dumps({"angle": request.settings.angle, "info": info}))
        return Leaning(request.settings.angle, info)

    def load(self, path: Path) -> Leaning:
        try:
            return Leaning(**json.loads(path.read_text()))
        except ValueError:
            raise RunError(f"{path} is damaged") from None


@pytest.fixture
def make_leaning() -> Any:
    """Makes such a method."""

    def make(**changes: Any) -> LeaningMethod:
        fields = {
            "name": "leaning",
            "title": "Leaning",
            "role": "baseline",
            "abilities": frozenset({"act"}),
            "about": "Pushes to the side that the pole leans to.",
            "suffix": ".json",
        }
        return LeaningMethod(**{**fields, **changes})

    return make


@pytest.fixture
def leaning(make_leaning: Any) -> LeaningMethod:
    return make_leaning()
