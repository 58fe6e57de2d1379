"""Flags that several commands have, and how their values are read."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinfold.cli.values import Values, number, takes
from twinfold.errors import UsageError, one_of
from twinfold.utils.files import destination, draft_of, write_errors
from twinfold.utils.text import clipped

if TYPE_CHECKING:
    from twinfold.data.ids import AgentId
    from twinfold.models.fitted_model import FittedModel

_NAMES = Parameter(negative="", consume_multiple=False, json_list=False)  # "[b]" is a name too
Names = Annotated[list[str] | None, _NAMES]
SomeNames = Annotated[list[str], _NAMES]
Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
Flag = Annotated[bool, Parameter(negative="", show_default=False)]


def shown(default: object) -> Parameter:
    """Return a flag that is None when not given; its help says what is then used."""
    return Parameter(show_default=lambda _: default)


def names(values: Sequence[str] | None, known: Collection[str] = ()) -> tuple[str, ...]:
    """Return the names that a repeated flag gives.

    A value is a known name as it stands, spaces and commas included; or else several separated by
    commas, quoted as in a CSV where they hold some: ``a,b`` or ``"temp, C",speed``. Of these, one
    that is not known as it stands goes without the spaces around it.

    Args:
        values: the words given.
        known: the names that there are.
    """
    found: list[str] = []
    for value in values or ():
        if value in known or "\n" in value or "\r" in value:  # which a CSV would take off
            found.append(value)
            continue
        try:
            exact, loose = (
                next(csv.reader([value], skipinitialspace=skip)) or [""] for skip in (False, True)
            )
        except csv.Error:  # a line break
            exact = loose = [value]
        if len(exact) != len(loose):  # a quoted comma behind a space
            exact = loose
        alone = len(loose) == 1
        found += [
            part if alone or part in known else other.strip()
            for part, other in zip(exact, loose, strict=True)
        ]
    return tuple(found)


def named_agents(values: Sequence[str] | None, model: FittedModel) -> tuple[AgentId, ...]:
    """Return the ids of the agents that a repeated flag names, each once.

    Raises:
        UsageError: an agent is unknown.
    """
    asked = names(values, {str(agent) for agent in model.agent_ids})
    return tuple(dict.fromkeys(model.agent_ids[n] for n in model.agent_indices(asked)))


def whole(word: str, expected: str) -> int:
    """Return ``12`` for ``"12"``.

    Raises:
        UsageError: it is no whole number; the message says what was expected.
    """
    try:
        return number(word, int)
    except ValueError:
        raise UsageError(f"{expected}, not {clipped(word)}") from None


def numbers(text: str, flag: str) -> list[float]:
    """Return ``[1.0, -2.5]`` for ``"1,-2.5"``.

    Raises:
        UsageError: a part is no number; the message names the flag.
    """
    try:
        return [number(word, float) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers separated by commas, not {clipped(text)}") from None


def state_rows(text: str, names: Sequence[str], acts: Sequence[str] = ()) -> list[list[float]]:
    """Return the value of ``--state``: a row or, separated by semicolons, more, the earliest first.

    The rows before the last one may have an action too, of the columns ``acts``, all or none.

    Raises:
        UsageError: naming the columns.
    """
    rows = [numbers(part, "--state") for part in text.split(";")]
    acting = len(rows[0]) == len(names) + len(acts)
    for k, values in enumerate(rows):
        wanted = [*names, *(acts if acting and k < len(rows) - 1 else ())]
        if len(values) != len(wanted):
            raise UsageError(
                f"--state needs {len(wanted)} numbers separated by commas ({', '.join(wanted)}), "
                f"not {len(values)}"
            )
    return rows


def check_outputs(suffixes: Mapping[str, Sequence[str]], **outputs: Path | None) -> None:
    """Refuse files that cannot be written, before anything is computed.

    Args:
        suffixes: those that each flag takes.
        outputs: the file of each flag; None if it was not given.

    Raises:
        UsageError: an unknown suffix, a folder, a place under a file, a link that leads to what is
            not the user's, or one file for two flags.
    """
    taken: dict[Path, str] = {}
    for name, path in outputs.items():
        if path is None:
            continue
        flag, valid = f"--{name}", suffixes[name]
        if valid and path.suffix.lower() not in valid:
            named = f"suffix {path.suffix!r}" if path.suffix else "no suffix"
            raise UsageError(f"{flag} {path} has {named}; {one_of(valid)}")
        with write_errors(path):  # such as a name that is too long
            target = _free_place(path, flag)
            other = taken.setdefault(target.resolve(), flag)
        if other != flag:
            raise UsageError(f"{other} and {flag} are the same file, {path}; give two")


def _free_place(path: Path, flag: str) -> Path:
    """Return where a file will go; refuse a folder, and a place that cannot be written to."""
    if path.is_dir():
        raise UsageError(f"{flag} {path} is a directory; give the path of a file")
    target = destination(path)
    parent = next(folder for folder in target.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise UsageError(f"{flag} {path}: {parent} is a file; give a folder")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"{flag} {path}: nothing can be written to {parent}; choose another")
    return target


@contextmanager
def all_or_none(*paths: Path | None) -> Iterator[dict[Path, Path]]:
    """Give a draft to write for every path that is not None; they become the files together.

    If the block ends with an error none of the files is there, or each is as it was. A path alone
    is its own draft: every writer of a file writes all of it or nothing.

    Raises:
        UsageError: a path is not a regular file, or its directory cannot be written to.
    """
    given = [path for path in paths if path is not None]
    if len(given) < 2:
        yield {path: path for path in given}
        return
    drafts: dict[Path, Path] = {}
    try:
        for path in given:
            drafts[path] = draft_of(path)
        yield drafts
        for path, draft in drafts.items():
            with write_errors(path):
                os.replace(draft, destination(path))
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def settings_flags(fields: Mapping[str, Any], default: Callable[[Any], object]) -> Any:
    """Return a dataclass with a flag for every setting, None where it is not given.

    A flag takes what its field does.

    Args:
        fields: Pydantic fields by name; the description of a field is the help of its flag.
        default: what the help says that a flag is when it is not given, by the field.
    """

    def flag(field: Any) -> Any:
        values = Values.of(field.annotation, field.metadata)
        kind = field.annotation if field.annotation is bool else values.hint
        options: dict[str, Any] = {
            "help": " ".join(field.description.split()),
            "show_default": lambda _: default(field),
        }
        taken = Parameter(**options) if values == Values() else takes(values, **options)
        return Annotated[kind | None, taken]

    flags = [(name, flag(field), None) for name, field in fields.items()]
    return make_dataclass("SettingsFlags", flags, frozen=True)
