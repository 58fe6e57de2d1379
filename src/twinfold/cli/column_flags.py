"""Flags that say which column of a table is what, and how its values are written."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields as dataclass_fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from twinfold.cli.flags import Flag, Names, Words, names, shown
from twinfold.cli.values import Values, reader
from twinfold.errors import UsageError

if TYPE_CHECKING:
    from twinfold.cli.console import Talk
    from twinfold.data.panel import PanelDataset
    from twinfold.data.roles import Roles
    from twinfold.models.fitted_model import FittedModel

Alignment = Literal["next", "same-row"]
Calendar = Literal["month", "day", "quarter", "week", "business", "none"]
TimeStep = Annotated[str | None, Parameter(show_default=lambda _: "the manifest's, or auto")]
_KINDS = Values(words=("discrete", "continuous"))
ActionTypes = Annotated[
    str | None,
    reader(lambda words: ",".join(_KINDS.read(x.strip()) for w in words for x in w.split(","))),
]


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
        action_type: discrete (choices: integers, words or flags) or continuous (quantities); or one
            of them for each action column, separated by commas. Told from the values if not given.
        no_action: Nobody acts: the run predicts and nothing else. Also where no action is named.
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
    no_action: Flag = False
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
        change; so are those that leave out what kind of action it is, which the values then tell.

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
        if given.get("action_type") not in (None, "none"):
            needed += ["action"]
        missing = ["--" + name.replace("_", "-") for name in needed if name not in given]
        if missing:
            raise UsageError(
                f"{', '.join(missing)} missing: say which column is the agent, time, state and "
                "action, or none of these and a manifest beside the table"
            )
        from twinfold.data.action_kinds import without_kinds

        if without_kinds(given):
            return given
        from twinfold.data.roles import Roles

        return Roles.parse(given)

    def known(self, table: Path) -> dict[str, Any]:
        """Return the roles that were given, however few."""
        held = {entry.name: getattr(self, entry.name) for entry in dataclass_fields(self)}
        given = {n: x for n, x in held.items() if x is not None and n not in ("form", "no_action")}
        if self.no_action:
            if self.action or self.action_type:
                raise UsageError("--no-action says that nobody acts, --action who does: give one")
            given |= {"action": [], "action_type": "none"}
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
