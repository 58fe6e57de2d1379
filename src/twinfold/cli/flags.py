"""Flags that several commands have, and how their values are read."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields as dataclass_fields, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from twinfold.cli.values import Values, number, reader, takes
from twinfold.errors import UsageError, one_of
from twinfold.utils.files import destination, draft_of, write_errors
from twinfold.utils.text import clipped

if TYPE_CHECKING:
    from twinfold.cli.console import Talk
    from twinfold.data.ids import AgentId
    from twinfold.data.panel import PanelDataset
    from twinfold.data.roles import Roles
    from twinfold.models.fitted_model import FittedModel

Alignment = Literal["next", "same-row"]
Calendar = Literal["month", "day", "quarter", "week", "business", "none"]
_NAMES = Parameter(negative="", consume_multiple=False, json_list=False)  # "[b]" is a name too
Names = Annotated[list[str] | None, _NAMES]
SomeNames = Annotated[list[str], _NAMES]
Words = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
TimeStep = Annotated[str | None, Parameter(show_default=lambda _: "the manifest's, or auto")]
_KINDS = Values(words=("discrete", "continuous"))
ActionTypes = Annotated[
    str | None,
    reader(lambda words: ",".join(_KINDS.read(x.strip()) for w in words for x in w.split(","))),
]
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


@Parameter(name="*", group="Format of the table")
@dataclass(frozen=True)
class FormatFlags:
    """How values are written; what is not given is the manifest's, or plain.

    Attributes:
        decimal: Mark before decimals: "." or ",".
        thousands: Mark between thousands: "," "." "'" "_" or a blank.
        date_format: How times are written, such as %d.%m.%Y; ISO 8601 needs none.
        time_zone: Of local times, such as Europe/Berlin.
        missing: Texts and numbers that stand for no value, separated by commas, such as .,-999.
        censored: Take <0.05 as its bound; as missing if left out.
        encoding: Of a text file, such as cp1252 or utf-16.
        join_ids: Take ids that differ in case, blanks, forms of letters or leading zeros for one.
    """

    decimal: Annotated[str | None, shown(".")] = None
    thousands: Annotated[str | None, shown("none")] = None
    date_format: str | None = None
    time_zone: str | None = None
    missing: Names = None
    censored: Annotated[bool | None, Parameter(negative="", show_default=False)] = None
    encoding: Annotated[str | None, shown("utf-8")] = None
    join_ids: Annotated[bool | None, Parameter(negative="", show_default=False)] = None

    def given(self) -> dict[str, Any]:
        """Return what was given, as settings of a format."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        if self.missing is not None:
            found["missing"] = names(self.missing)
        return found


WHOLE = frozenset({"agent", "time", "state", "action", "action_type"})
"""Roles that are given together, or not at all beside a manifest."""


@Parameter(name="*", group="Columns")
@dataclass(frozen=True)
class RoleFlags:
    """Which column is what; all that are needed, or none and a manifest beside the table.

    Attributes:
        agent: Column of agent ids.
        time: Column of times: numbers or dates.
        state: Columns of the state, separated by commas.
        action: Columns of the action, separated by commas; empty in the last row of a trajectory.
            None if nobody acts: the run then predicts and nothing else.
        action_type: discrete (choices: integers, words or flags) or continuous (quantities); or one
            of them for each action column, separated by commas.
        episode: Column that tells an agent's trajectories apart, if it has several.
        reward: Column of rewards; or an expression over columns, which plans then go by.
        terminated: Column of flags: true on the last row of a trajectory that ended by itself; or
            an expression over state columns.
        truncated: Column of flags: true on the last row of a trajectory that was cut off.
        angle: Those state columns that are angles in radians, separated by commas.
        carried: Those state columns that are carried forward from a slower measurement, separated
            by commas; a value that repeats the one before is taken as missing.
        static: Columns that describe an agent and never change, numbers or words (age, size, site);
            what they say of new agents is learned too.
        exogenous: Columns that are measured, and neither predicted nor chosen, numbers or words
            (weather, a price, the day of the week).
        align: next if an action stands in the row of the state that it is taken in, same-row if
            in that of its outcome; exogenous columns likewise.
        calendar: What times are: month (202312), day, quarter, week, business, or none (numbers).
        form: How values are written.
    """

    agent: str | None = None
    time: str | None = None
    state: Names = None
    action: Names = None
    action_type: ActionTypes = None
    episode: str | None = None
    reward: Words = None
    terminated: Words = None
    truncated: str | None = None
    angle: Names = None
    carried: Names = None
    static: Names = None
    exogenous: Names = None
    align: Annotated[Alignment | None, shown("next")] = None
    calendar: Calendar | None = None
    form: FormatFlags = field(default_factory=FormatFlags)

    def roles(self, table: Path, run: bool = False) -> Roles | dict[str, Any] | None:
        """Return the roles, or None if no flag was given (the manifest beside the table then says).

        Flags that leave out what every table needs are a mapping, if there are roles that they can
        change.

        Args:
            table: the file, whose columns may have commas and spaces in their names.
            run: whether there is a run, whose roles are a table's without a manifest.

        Raises:
            UsageError: some flags were given, but not all that are needed.
        """
        if not (given := self.known(table)):
            return None
        from twinfold.data.manifest import manifest_path

        there = manifest_path(table).is_file()
        if (there and not given.keys() & WHOLE) or (run and given.keys() <= {"align", "calendar"}):
            return given
        needed = ["agent", "time", "state"]
        if "action" in given or "action_type" in given:
            needed += ["action", "action_type"]
        missing = ["--" + name.replace("_", "-") for name in needed if name not in given]
        if missing:
            raise UsageError(
                f"{', '.join(missing)} missing: say which column is the agent, time, state and "
                "action and give the action type, or none of these and a manifest beside the table"
            )
        from twinfold.data.roles import Roles

        return Roles.parse(given)

    def known(self, table: Path) -> dict[str, Any]:
        """Return the roles that were given, however few."""
        held = {entry.name: getattr(self, entry.name) for entry in dataclass_fields(self)}
        given = {name: x for name, x in held.items() if x is not None and name != "form"}
        lists, there = {name: x for name, x in given.items() if isinstance(x, list)}, ()
        if any("," in value for values in lists.values() for value in values):
            from twinfold.data.io import column_names

            there = tuple(column_names(table, self.form.given()))
        return {**given, **{role: names(lists[role], there) for role in lists}}


def run_table(table: Path, columns: RoleFlags, model: FittedModel) -> tuple[Any, Any]:
    """Return roles and format of a table for a run; see ``load_panel``.

    They are those of the flags; else of the manifest beside the table (roles None); else of the
    table that the run was made from. Columns that nothing is learned from may then be missing.

    Args:
        table: the file.
        columns: the flags.
        model: the run.
    """
    from twinfold.data.io import column_names
    from twinfold.data.manifest import manifest_path
    from twinfold.data.roles import Roles

    given, roles = columns.form.given(), columns.roles(table, run=True)
    form = {**fitted_format(model), **given}
    if isinstance(roles, Roles):
        return roles, form
    if manifest_path(table).is_file():
        return roles, given
    fitted, there = model.roles, column_names(table, form)
    spare = ("reward", "terminated", "truncated")
    absent: dict[str, Any] = {role: None for role in spare if getattr(fitted, role) not in there}
    absent["static"] = tuple(name for name in fitted.static if name in there)
    return fitted.model_copy(update={**absent, **(roles or {})}), form


def fitted_format(model: FittedModel) -> dict[str, Any]:
    """Return how the table was written that a run was made from."""
    kept = model.info.source.get("table_format")
    return kept if isinstance(kept, dict) else {}


def load_told(
    table: Path,
    roles: Any,
    form: Any,
    talk: Talk,
    time_step: str | None = None,
    model: FittedModel | None = None,
) -> PanelDataset:
    """Return the panel of a table; what is doubtful about it is said.

    Args:
        table: the file.
        roles: of its columns; the manifest's if None.
        form: how its values are written.
        talk: says it.
        time_step: as ``load_panel``.
        model: the run that it is for, which says whether times are uneven.
    """
    from twinfold.data.io import load_panel

    if model is not None:
        time_step = "variable" if model.uneven else "regular"
    panel = load_panel(table, roles, form=form, time_step=time_step)
    for line in panel.warnings:
        talk.line(f"warning: {line}")
    return panel


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
