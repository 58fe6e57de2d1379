"""Whether whatever a suite names exists. No JAX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twinfold.benchmark.methods.method import Ability
from twinfold.benchmark.methods.registry import get_method, method_names
from twinfold.benchmark.paper import AGENT_LABELS
from twinfold.benchmark.suite_parts import ABILITIES, DATASETS, PLANNERS, TASKS, Profile
from twinfold.errors import UsageError, one_of

if TYPE_CHECKING:
    from twinfold.benchmark.suite import Suite


def check_names(suite: Suite) -> None:
    """Check that whatever a suite names exists.

    A suite with ``fits_of`` is checked twice: its axis of training agents is known once the suite
    beside it is read.

    Raises:
        UsageError: it does not; the message lists what does.
    """
    _known("task", suite.tasks, TASKS)
    _known("dataset", suite.datasets, DATASETS)
    _known("method", suite.methods, method_names())
    _known("agent", suite.agents, range(len(AGENT_LABELS["cart_pole"])))
    _known("number of training_agents", suite.training_agents, suite.training_agents)
    for setting in ("fit", "plan"):
        _known(f"task in [{setting}]", getattr(suite, setting), suite.tasks)
    planning = [name for name in suite.methods if suite.kind == "return"
                and "act" not in get_method(name).abilities]  # fmt: skip
    _known("method in [planners]", suite.planners, planning)
    fitted = [name for name in suite.methods if get_method(name).fits]
    _known("method in [baselines]", suite.baselines, fitted)
    for planners in suite.planners.values():
        _known("planner", planners, PLANNERS)
    for profile in suite.profiles.values():
        _check_profile(suite, profile, fitted)
    able = [name for name in method_names() if set(ABILITIES[suite.kind]) & _abilities(name)]
    for name in suite.methods:
        if name not in able:
            lacking = {"prediction": "predicts", "return": "earns"}[suite.kind]
            raise UsageError(
                f"method {name!r} {lacking} nothing; kind {suite.kind!r} takes {one_of(able)}"
            )
    if not suite.datasets and fitted:
        raise UsageError(f"no datasets; {one_of(DATASETS)}")


def _abilities(name: str) -> frozenset[Ability]:
    return get_method(name).abilities


def _check_profile(suite: Suite, profile: Profile, fitted: list[str]) -> None:
    _known("task in episodes_by_task", profile.episodes_by_task, suite.tasks)
    _known("method in baselines of a profile", profile.baselines, fitted)
    for part in ("tasks", "datasets", "methods", "agents"):
        if (named := getattr(profile, part)) is not None:
            _known(f"{part[:-1]} of a profile", named, getattr(suite, part))
            if not named and getattr(suite, part):
                raise UsageError(f"a profile has no {part}; {one_of(getattr(suite, part))}")
    if profile.training_agents is not None:
        sizes = profile.training_agents
        _known("number of training_agents of a profile", sizes, sizes)
        if len(sizes) > 1 and not suite.training_agents:
            raise UsageError(
                "a profile has several training_agents, and the suite has no such axis; give one"
            )
    for left_out in profile.without:
        for name, valid in (
            ("task", suite.tasks),
            ("dataset", suite.datasets),
            ("method", suite.methods),
            ("planner", PLANNERS),
            ("n_agents", suite.training_agents),
        ):
            unread = name == "n_agents" and suite.fits_of is not None and not valid
            if not unread and (value := getattr(left_out, name)) is not None:
                _known(f"{name} in without", [value], valid)
        _known("agent in without", left_out.agents or (), suite.agents)


def _known(what: str, names: Any, valid: Any) -> None:
    names = list(names)
    for name in names:
        if name not in valid:
            raise UsageError(f"unknown {what} {name!r}; {one_of(valid)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"{what} {twice!r} is named twice: {', '.join(map(str, names))}")
