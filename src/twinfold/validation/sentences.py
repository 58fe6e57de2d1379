"""Words that users read of each check, from ``sentences.toml``."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any, Literal, NamedTuple

Status = Literal["pass", "warn", "fail", "unknown"]


class Said(NamedTuple):
    """Templates of one outcome of a check."""

    figure: str
    expected: str
    advice: str


def _rows(check: dict[str, Any]) -> dict[str, Said]:
    """Return the templates of one check by outcome; those of an outcome may stand alone."""
    shared = {key: check.pop(key) for key in ("figure", "expected")}
    return {
        outcome: Said(**{**shared, **(row if isinstance(row, dict) else {"advice": row})})
        for outcomes, row in check.items()
        for outcome in outcomes.split(", ")
    }


_TABLES = tomllib.loads(
    resources.files("twinfold.validation").joinpath("sentences.toml").read_text(encoding="utf-8")
)

SENTENCES = {name: _rows(check) for name, check in _TABLES["checks"].items()}
"""Templates by check and outcome."""

OUTCOMES: dict[str, Status] = {
    outcome: status for status, outcomes in _TABLES["outcomes"].items() for outcome in outcomes
}
"""Statuses of the outcomes that are none themselves."""

CONTROL_NAMES: dict[str, str] = _TABLES["controls"]
NO_BETTER: dict[str, str] = _TABLES["no_better"]
STATISTIC_NAMES: dict[str, str] = _TABLES["statistics"]
WOULD_DO: dict[str, str] = _TABLES["would_do"]
REMEDIES: dict[str, str] = _TABLES["remedies"]
