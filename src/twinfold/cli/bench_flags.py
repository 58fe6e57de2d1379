"""Flags of the commands below ``twinfold bench``."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from twinfold.cli.flags import Names, names
from twinfold.cli.values import AGENT, Values, takes
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.benchmark.pending import Part
    from twinfold.benchmark.suite import Suite

Ids = Annotated[list[int] | None, takes(replace(AGENT, several=True))]
Sizes = Annotated[list[int] | None, takes(Values(int, ge=1, le=1_000_000, several=True))]


@Parameter(name="*")
@dataclass(frozen=True)
class PartFlags:
    """The part of a suite that is asked for.

    Attributes:
        task: Only these tasks.
        dataset: Only these data sets.
        method: Only these methods.
        agent: Only these agents.
        training_agents: Only these numbers of training agents, of a suite that has several.
    """

    task: Names = None
    dataset: Names = None
    method: Names = None
    agent: Ids = None
    training_agents: Sizes = None

    def part(self) -> Part:
        """Return it as the benchmark calls it; a flag that is not given asks for everything."""
        from twinfold.benchmark.pending import Part

        tasks, datasets, methods = (
            None if given is None else names(given)
            for given in (self.task, self.dataset, self.method)
        )
        return Part(tasks, datasets, methods, self.agent, self.training_agents)


def records_path(suite: str, profile: str, given: Path | None) -> Path:
    """Return where the records of a suite are kept."""
    return given or Path("results") / f"{suite}-{profile}.jsonl"


def is_study(suite: str) -> bool:
    """Return whether a suite holds studies and no table.

    Raises:
        UsageError: there is no such suite.
    """
    from twinfold.benchmark.suite_files import is_study

    return is_study(suite)


def loaded(suite: str, profile: str) -> Suite:
    """Return a suite with what a profile changes of it.

    Raises:
        UsageError: there is no such suite or profile, or the suite cannot be used.
    """
    from twinfold.benchmark.suite import load_suite

    return load_suite(suite).resolved(profile)


def recorded(suite: str, profile: str, records: Path | None) -> tuple[Suite, Path]:
    """Return a suite and the file of its records.

    Raises:
        UsageError: there are none.
    """
    chosen = loaded(suite, profile)
    path = records_path(chosen.name, profile, records)
    if not path.exists():  # what is there and no file is told by the reader
        raise UsageError(
            f"no records {path}: `twinfold bench run {suite} --profile {profile}` makes them"
        )
    return chosen, path


def several(suites: tuple[str, ...], profile: str) -> tuple[list[Suite], list[str]]:
    """Return the suites that are named; all of ``./suites`` that have the profile if none is.

    Those that hold studies are the second list, by name.

    Raises:
        UsageError: there is no such suite, or none at all.
    """
    from twinfold.benchmark.studies.study_settings import load_studies
    from twinfold.benchmark.suite import load_suite
    from twinfold.benchmark.suite_files import find_suite, is_study, suite_names

    tables, studies = [], []
    for name in dict.fromkeys(suites or suite_names()):
        if is_study(name):
            with suppress(*(() if suites else (UsageError,))):  # one without the profile
                load_studies(find_suite(name), profile)
                studies.append(name)
        elif suites or profile in load_suite(name).profiles:
            tables.append(loaded(name, profile))
    if not (tables or studies):
        raise UsageError(f"no suite in ./suites has a profile {profile!r}; name one by its path")
    return tables, studies
