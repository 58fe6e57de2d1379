"""The schema of a run directory: checked once, before anything is made of its files.

Sizes: M members, N agents, r rank, D state columns, W sines and cosines of angles, E known inputs,
A action columns, B of these continuous, L levels of a discrete action, C static columns as coded, q
linear features, s statistics, T terms of the static curve, V numbers that a learned reward reads, R
random features of it; P and Q numbers in one half of a symmetric matrix of r and of q rows, U of
what acted in a step of a memory. Sizes that nothing else says are those of the first array that has
them: S states of the sample, H steps of the band, n reserved agents, h steps of their scores, w
rows of the changes of known inputs and o their steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from twinfold.config import FitConfig
from twinfold.data.actions import ActionCode
from twinfold.data.ids import AgentId
from twinfold.data.levels import coded_names
from twinfold.data.memory import n_acted
from twinfold.data.roles import Roles
from twinfold.models.learned_goal import GOAL
from twinfold.models.run_info import RunInfo
from twinfold.models.static_curve import n_terms
from twinfold.models.static_prior import STATIC
from twinfold.uncertainty.holdout_statistics import STATISTICS
from twinfold.utils.text import clipped

Arrays = Mapping[str, NDArray[Any]]
Sealed = Literal["model.safetensors", "agents.json", "config.toml"]

FORMAT = "twinfold-run"
VERSION = 10
READ = (9, 10)
"""Versions that are read; 9 had no learned goal, no noise and no missing values."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Seal(_Strict):
    """Size and SHA-256 of a file."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RunRecord(_Strict):
    """The contents of ``run.json``.

    Attributes:
        format: what the file is; ``version``: of it.
        sha256: of everything else in it, by ``run_format.digest``.
        files: size and checksum of the other files. ``metrics.jsonl`` is a log that nothing reads:
            it has none.
        roles: of the columns.
        time_step: between two rows.
        uneven: whether the length of a step is an input.
        levels: of the exogenous and static columns that are words.
        config: settings of the fit.
        info: provenance and measured errors.
    """

    format: Literal["twinfold-run"]
    version: int
    sha256: str
    files: Annotated[dict[Sealed, Seal], Field(min_length=3)]
    roles: Annotated[Roles, BeforeValidator(Roles.parse)]
    time_step: Any
    uneven: bool = False
    levels: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = Field(default_factory=dict)
    config: FitConfig
    info: RunInfo

    @field_validator("config", mode="before")
    @classmethod
    def _settings(cls, value: Any) -> Any:
        return FitConfig.parse(value) if isinstance(value, dict) else value

    @field_validator("time_step", mode="before")
    @classmethod
    def _step(cls, value: Any) -> float | pd.Timedelta:
        """Return a number or a duration, which pandas writes as a text."""
        text = value.get("timedelta") if isinstance(value, dict) else None
        step: Any
        none: Any
        if isinstance(text, str):
            step, none = pd.Timedelta(text), pd.Timedelta(0)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            step, none = float(value), 0.0
        else:
            raise ValueError("it must be a number, or a duration")
        if not step > none:  # nor is NaT
            raise ValueError("it must be positive")
        return step


class Entry(NamedTuple):
    """Shape, type and values that an array must have.

    Attributes:
        shape: names of sizes or numbers, separated by blanks.
        dtype: as NumPy spells it.
        rule: name of what its values must be, in ``run_arrays.RULES``.
    """

    shape: str
    dtype: str = "float64"
    rule: str = "finite"


_ALWAYS = {
    "normalizer.state_mean": Entry("D"),
    "normalizer.state_scale": Entry("D", rule="positive"),
    "normalizer.keep": Entry("D"),
    "normalizer.target_mean": Entry("D"),
    "normalizer.target_scale": Entry("D", rule="positive"),
    "normalizer.wave_mean": Entry("W"),
    "normalizer.wave_scale": Entry("W", rule="positive"),
    "normalizer.action_mean": Entry("B"),
    "normalizer.action_scale": Entry("B", rule="positive"),
    "normalizer.low": Entry("D", rule="limits"),
    "normalizer.high": Entry("D", rule="limits"),
    "normalizer.target_low": Entry("D", rule="limits"),
    "normalizer.target_high": Entry("D", rule="limits"),
    "normalizer.change_mean": Entry("D"),
    "normalizer.change_scale": Entry("D", rule="positive"),
    "ranges.state_low": Entry("D"),
    "ranges.state_high": Entry("D"),
    "ranges.action_low": Entry("A"),
    "ranges.action_high": Entry("A"),
    "sample.state": Entry("S D"),
    "sample.agent": Entry("S", "int32", "agents or -1"),
    "prior.mean": Entry("M r"),
    "prior.precision": Entry("M r r", rule="positive definite"),
    "prior.noise": Entry("M D", rule="positive"),
    "prior.limit_noise": Entry("M D", rule="positive"),
    "prior.walls": Entry("2 D", rule="limits"),
    "evidence.gram": Entry("M N P", rule="half of positive"),
    "evidence.moment": Entry("M N r"),
    "evidence.energy": Entry("M N", rule="not negative"),
    "evidence.count": Entry("N", "int64", "not negative"),
    "trained": Entry("N", "bool", "any"),
    "recent": Entry("N Z", rule="gaps"),
    "sums.gram": Entry("N Q", rule="half of positive"),
    "sums.moment": Entry("N q D"),
    "sums.energy": Entry("N D", rule="not negative"),
}
_DISCRETE = {
    "action_levels": Entry("L", "int64", "increasing"),
    "sample.action": Entry("S", "int32", "levels"),
}
_CONTINUOUS = {"sample.action": Entry("S A")}
# Groups of arrays that a model may lack: all of a group, or none.
_OPTIONAL = {
    "band": {"band": Entry("H D", rule="widths")},
    "ended": {"ended": Entry("N", rule="gaps")},
    "evidence.missing": {"evidence.missing": Entry("N", "int64", "not negative")},
    "calibration.": {
        "calibration.scores": Entry("n h", rule="scores"),
        "calibration.statistics": Entry("n s", rule="any"),
        "calibration.agent": Entry("n", "int32", "agents"),
    },
    "few.": {
        "few.counts": Entry("k", "int32", "increasing"),
        "few.scores": Entry("k n h", rule="scores"),
    },
    "normalizer.known": {
        "normalizer.known_mean": Entry("E"),
        "normalizer.known_scale": Entry("E", rule="positive"),
        "normalizer.known_low": Entry("E"),
        "normalizer.known_high": Entry("E"),
        "normalizer.known_at_once": Entry(""),
        "sample.known": Entry("S E"),
        "wander": Entry("w o E"),
    },
    "normalizer.acted": {
        "normalizer.acted_mean": Entry("U"),
        "normalizer.acted_scale": Entry("U", rule="positive"),
    },
    "sums.rows": {"sums.rows": Entry("N", rule="not negative")},
    "noise.": {
        "noise.process": Entry("D", rule="not negative"),
        "noise.agent": Entry("N D", rule="positive"),
        "noise.slope": Entry("D D"),
        "noise.measured": Entry("D", rule="not negative"),
    },
    "goal.reward.": {
        "goal.reward.mean": Entry("V"),
        "goal.reward.scale": Entry("V", rule="positive"),
        "goal.reward.random": Entry("X R"),
        "goal.reward.weights": Entry("F"),
        "goal.reward.explained": Entry(""),
    },
    "goal.end.": {
        "goal.end.mean": Entry("D"),
        "goal.end.scale": Entry("D", rule="positive"),
        "goal.end.random": Entry("Y R"),
        "goal.end.weights": Entry("G"),
    },
    "static_values": {"static_values": Entry("N C", rule="gaps")},
    "static.": {
        "static.low": Entry("C"),
        "static.high": Entry("C"),
        "static.centre": Entry("C"),
        "static.scale": Entry("C", rule="positive"),
        "static.shift": Entry("M r"),
        "static.weights": Entry("M C r"),
        "static.precision": Entry("M r r", rule="positive definite"),
        "static.explained": Entry(""),
    },
    "added.": {
        "added.state_low": Entry("N D", rule="gaps"),
        "added.state_high": Entry("N D", rule="gaps"),
        "added.action_low": Entry("N A", rule="gaps"),
        "added.action_high": Entry("N A", rule="gaps"),
    },
}


_CURVE = {
    "static.curve.degree": Entry(""),
    "static.curve.centre": Entry("T"),
    "static.curve.shift": Entry("M r"),
    "static.curve.weights": Entry("M T r"),
    "static.curve.precision": Entry("M r r", rule="positive definite"),
    "static.curve.spread": Entry("T T", rule="positive definite"),
    "static.curve.agents": Entry("", rule="positive"),
}


def check_ids(ids: Any) -> tuple[AgentId, ...]:
    """Return agents' ids as ``agents.json`` has them; of an adapted run some may be numbers.

    Raises:
        ValueError: they are not a list of distinct texts and numbers.
    """
    if not isinstance(ids, list) or not ids:
        raise ValueError(f"it must be a list of agents' ids, not {clipped(ids)}")
    seen: set[AgentId] = set()
    for agent in ids:
        if type(agent) not in (str, int, float):
            raise ValueError(f"{clipped(agent)} is no id of an agent")
        if agent in seen:
            raise ValueError(f"agent {clipped(agent)} is in it twice")
        seen.add(agent)
    return tuple(ids)


def sizes_of(record: RunRecord, arrays: Arrays, n_agents: int) -> dict[str, int]:
    """Return the sizes that the settings, roles and ids of a run say.

    Raises:
        ValueError: they contradict each other.
    """
    config, info, roles = record.config, record.info, record.roles
    if len(set(roles.columns)) < len(roles.columns):
        raise ValueError("the roles in run.json name a column twice")
    discrete = roles.discrete
    n_state = len(roles.state)
    n_action = 1 if discrete else len(ActionCode(roles, roles.levels).names)
    n_levels = arrays["action_levels"].size if discrete and "action_levels" in arrays else 0
    known = arrays["normalizer.known_mean"].size if "normalizer.known_mean" in arrays else 0
    if known != len(coded_names(roles.exogenous, record.levels)) + record.uneven:
        raise ValueError("run.json and model.safetensors differ in known inputs")
    acted = arrays["normalizer.acted_mean"].size if "normalizer.acted_mean" in arrays else 0
    if acted not in (0, n_acted(n_action, n_levels, known - record.uneven)):
        raise ValueError("run.json and model.safetensors differ in what a memory holds")
    memory = (info.history - 1) * (n_state + acted)
    n_inputs = n_state + memory + len(roles.angle) + known
    q = 1 + n_inputs + (n_levels if discrete else n_action)
    if record.uneven:
        q = 2 * q + (n_levels if discrete else n_action)
    linear = "members.linear.shared" in arrays
    if not (linear or info.rank):
        raise ValueError("info.rank in run.json is 0, and there are no linear terms")
    for feature, column in info.own:
        if not (linear and feature < q and column < n_state):
            raise ValueError(f"info.own in run.json cannot hold {[feature, column]}")
    r = info.rank + (1 + len(info.own) if linear else 0)
    n_static = len(coded_names(roles.static, record.levels))
    return {
        **_curve_terms(arrays, n_static),
        "M": config.members if info.rank else 1,
        "N": n_agents,
        "r": r,
        "D": n_state,
        "W": 2 * len(roles.angle),
        "A": n_action,
        "B": 0 if discrete else n_action,
        "L": n_levels,
        "C": n_static,
        "q": q,
        "I": n_inputs,
        "E": known,
        "Z": n_state + memory + known,
        "U": acted,
        "s": len(STATISTICS),
        "P": r * (r + 1) // 2,
        "Q": q * (q + 1) // 2,
        "V": 2 * n_state + (n_levels if discrete else n_action),
        "X": 1 + 2 * n_state + (n_levels if discrete else n_action),
        "Y": 1 + n_state,
        "R": GOAL.random,
    }


def _curve_terms(arrays: Arrays, n_static: int) -> dict[str, int]:
    """Return the number of terms of the static curve; nothing if a run has none.

    Raises:
        ValueError: its degree is none that a fit chooses.
    """
    if "static.curve.degree" not in arrays:
        return {}
    degree = arrays["static.curve.degree"]
    if degree.shape or float(degree) not in STATIC.degrees:
        raise ValueError(f"static.curve.degree must be one of {STATIC.degrees}")
    return {"T": n_terms(n_static, int(degree))}


def schema_of(arrays: Arrays, size: dict[str, int], nets: dict[str, Any]) -> dict[str, Entry]:
    """Return what each array of a run must be.

    Args:
        arrays: of the run; they say which groups it has.
        size: of the run, by ``sizes_of``.
        nets: shapes of the arrays of members and behaviour, by name.
    """
    schema = _ALWAYS | (_DISCRETE if size["B"] == 0 else _CONTINUOUS)
    for prefix, group in _OPTIONAL.items():
        if any(name.startswith(prefix) for name in arrays):
            schema |= group
    if "static.covariance" in arrays:  # runs of before it was kept have none
        schema["static.covariance"] = Entry("C C", rule="positive definite")
    if "T" in size:
        schema |= _CURVE
    if arrays["sums.gram"].ndim == 3:  # every column has rows of its own
        schema["sums.gram"] = Entry("N D Q", rule="half of positive")
        if "sums.rows" in arrays:
            schema["sums.rows"] = Entry("N D", rule="not negative")
    for name, like in nets.items():
        of_member = name.startswith("members")
        words = ["M"] if of_member else []
        words += [str(number) for number in like.shape[len(words) :]]
        rule = "positive" if name == "behaviour.noise" else "any" if of_member else "finite"
        schema[name] = Entry(" ".join(words), str(like.dtype), rule)
    return schema
