"""``twinfold validate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cyclopts import Parameter

from twinfold.cli.column_flags import RoleFlags, fitted_format, load_told, run_table
from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, Words, all_or_none, check_outputs
from twinfold.cli.values import Place, Seed
from twinfold.errors import UsageError
from twinfold.utils.text import counted

if TYPE_CHECKING:
    from rich.console import Console

    from twinfold.data.panel import PanelDataset
    from twinfold.models.fitted_model import FittedModel
    from twinfold.validation.validate import Validation, Verdict

Gate = Literal["prediction", "planning"]
_GATES: dict[Gate, Verdict] = {
    "prediction": "usable for prediction",
    "planning": "usable for planning within support",
}
_PAGE = "validation.html"
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "unknown": "dim"}
_COUNTS = (
    ("pass", "passed"),
    ("warn", "warnings"),
    ("fail", "failed"),
    ("unknown", "could not be made"),
)


@Parameter(name="*")
@dataclass(frozen=True)
class ValidateFlags:
    """Settings of an examination, and the places where its verdict goes.

    Attributes:
        out: Folder for validation.html, a page to look at, and validation.json, its record.
        gate: Exit with code 1 unless the run is usable for prediction, or for planning; that it
            cannot be told counts as not.
        group: Column that sorts the agents into groups, such as a site or a model: how many
            trajectories the band holds is then told by group; if left out, by how much is known
            of an agent.
        seed: Of the random controls.
        quiet: Print the verdict alone, and no warnings.
        json: Print the record instead of tables.
    """

    out: Place | None = None
    gate: Gate | None = None
    group: Words = None
    seed: Seed = 0
    quiet: Flag = False
    json: Flag = False


def validate(
    run: Place,
    data: Place | None = None,
    /,
    *,
    how: ValidateFlags = ValidateFlags(),
    columns: RoleFlags = RoleFlags(),
) -> int:
    """Try to prove a run wrong, and say what it may be used for.

    Trajectories of agents that the run knows are predicted; of new agents,
    the second half. Beside it stands what is simpler: no change at all, means,
    drifts, linear models, the average agent, other actions. The model itself
    is examined too. A check ends in
    pass, warn, fail, or unknown if it could not be made. The verdict is what
    the evidence bears out:

      not usable                          there is evidence against it
      cannot tell                         too little data; it says how much would do
      usable for prediction               clearly better than no change and means,
                                          and as good as the best linear model
      usable for planning within support  besides, it reacts to the actions, and
                                          the band holds

    That something could not be checked is never a pass.

    Without a table, the agents that `twinfold fit --reserve` kept from the nets
    are examined. That says whether the fit went well:

      twinfold validate run --out report

    With a table of fresh trajectories, of agents old or new, it also says
    whether the run still holds: drifted sensors, swapped ids, another regime,
    more noise. In a pipeline --gate makes it the exit code:

      twinfold validate run this-week.csv --gate prediction

    The columns are those of the fit; give them by flags or a manifest if the
    table calls them otherwise.

    Args:
        run: Run directory of a fit.
        data: Fresh data, .csv, .tsv or .parquet; the table that was fitted if left out.
        how: How to examine it.
        columns: Which column is what, if not as in the fit.
    """
    if how.out is not None:
        check_outputs({"out": ()}, out=how.out / _PAGE)
    set_up_jax()
    from twinfold.training.run_directory import load_run

    model = load_run(run)
    table = _fitted_table(model) if data is None else data
    found, doubts = _examine(model, table, how, columns, fitted=data is None)
    beside = {"run": str(run), "data": str(table), "data_warnings": list(doubts)}
    _report(found, {**found.record, **beside}, how)
    return _judged(found, how.gate)


def _examine(
    model: FittedModel, table: Path, how: ValidateFlags, columns: RoleFlags, fitted: bool
) -> tuple[Validation, tuple[str, ...]]:
    """Return what comes out on a table, fitted or other, and what is doubtful about the table."""
    from twinfold.validation.data_overlap import made_from
    from twinfold.validation.validate import validate as examine_run

    roles, form = run_table(table, columns, model)
    if fitted:  # whatever a manifest says
        given = columns.roles(table, run=True) or {}
        roles = model.roles.model_copy(update=given) if isinstance(given, dict) else given
        form = {**fitted_format(model), **columns.form.given()}
    silent = how.quiet or how.json
    with talking(silent) as talk:
        panel = load_told(table, roles, form, talk, model=model)
        seen = made_from(model, panel)
        if fitted and not seen:
            raise UsageError(
                f"{table} is not the table that the run was made from any more: its values have "
                "changed. Give fresh data as a second argument, or the table as it was"
            )
        groups = None if how.group is None else _groups(table, panel, how.group, form)
    said = (lambda line: None) if silent else warn
    found = examine_run(model, panel, seen=seen, groups=groups, seed=how.seed, warn=said)
    return found, panel.warnings


def _report(found: Validation, record: dict[str, Any], how: ValidateFlags) -> None:
    if how.json:
        print_json(record)
    else:
        show_validation(console(), found, brief=how.quiet)
    if how.out is not None:
        _write(how.out, record)
        if not how.json and not how.quiet:
            print(f"page: {how.out / _PAGE}")


def _groups(table: Path, panel: PanelDataset, column: str, form: Any) -> dict[Any, str]:
    """Return the group of each agent of a table.

    Raises:
        UsageError: there is no such column, or an agent is in two groups.
    """
    from twinfold.data.ids import canonical_ids, did_you_mean
    from twinfold.data.io import read_table, told_format
    from twinfold.data.manifest import read_manifest

    frame = read_table(table, [panel.roles.agent], form=told_format(read_manifest(table), form))
    names = [str(name) for name in frame.columns]
    if column not in names:
        raise UsageError(
            f"--group: no column {column!r} in {table}.{did_you_mean(column, names, 'columns')}"
        )
    own = dict(zip(map(str, panel.agent_ids), panel.agent_ids, strict=True))
    groups: dict[Any, str] = {}
    labels = frame.iloc[:, names.index(column)]
    agents = canonical_ids(frame.iloc[:, names.index(panel.roles.agent)])
    for agent, label in dict.fromkeys(zip(agents, map(str, labels), strict=True)):
        name = own.get(str(agent), agent)
        if groups.setdefault(name, label) != label:
            raise UsageError(
                f"--group {column}: agent {name!r} is in two groups, {groups[name]!r} and "
                f"{label!r}; an agent belongs to one"
            )
    return groups


def _fitted_table(model: FittedModel) -> Path:
    """Return the table that a run was made from.

    Raises:
        UsageError: the run does not say, or it is not there any more.
    """
    kept = model.info.source.get("table")
    if not isinstance(kept, str):
        raise UsageError(
            "the run does not say which table it was made from; give data: "
            "twinfold validate RUN DATA"
        )
    if not Path(kept).exists():
        raise UsageError(
            f"the table that the run was made from, {kept}, is not there any more; give it, or "
            "fresh data: twinfold validate RUN DATA"
        )
    return Path(kept)


def show_validation(out: Console, found: Validation, *, brief: bool = False) -> None:
    """Show verdict, checks, and what to do about those that did not pass."""
    from rich.table import Table
    from rich.text import Text

    numbers = {
        status: sum(check.status == status for check in found.checks) for status, _ in _COUNTS
    }
    counts = [
        counted(numbers[status], "warning") if status == "warn" else f"{numbers[status]} {word}"
        for status, word in _COUNTS
    ]
    style = {
        "not usable": "bold red",
        "cannot tell": "bold magenta",
        "usable for prediction": "bold yellow",
    }
    what = counted(found.record["agents"], "agent")
    what += " of fresh data" if found.record["fresh"] else " that the nets have not seen"
    out.print(
        Text.assemble(
            (found.verdict, style.get(found.verdict, "bold green")),
            f": {what}; {', '.join(counts)}",
        ),
        soft_wrap=True,
    )
    if brief:
        return
    if found.record["would_do"]:
        out.print(Text(found.record["would_do"]["text"]), soft_wrap=True)
    table = Table("", "check", "figure", "expected")
    for check in found.checks:
        mark = Text(check.status, style=_STYLES[check.status])
        table.add_row(mark, check.name, check.figure, check.expected)
    out.print(table)
    for check in found.checks:
        if check.status == "pass":
            continue
        words = check.advice
        if len(check.agents) > 1:
            words += f" Agents: {_listed(check.agents)}."
        mark = (check.status, _STYLES[check.status])
        out.print(Text.assemble(mark, f" {check.name}: {words}"), soft_wrap=True)


def _listed(names: Sequence[object], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(str(name) for name in names[:most]) + more


def _write(folder: Path, record: dict[str, Any]) -> None:
    import json

    from twinfold.report.validation_page import write_validation
    from twinfold.utils.files import atomic_write_text

    text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
    page, kept = folder / _PAGE, folder / "validation.json"
    with all_or_none(page, kept) as drafts:
        atomic_write_text(drafts[kept], text + "\n")
        write_validation(drafts[page], record)


def _judged(found: Validation, gate: Gate | None) -> int:
    """Return the exit code; why it is not 0 goes to standard error."""
    from twinfold.validation.validate import VERDICTS

    if gate is None or VERDICTS.index(found.verdict) >= VERDICTS.index(_GATES[gate]):
        return 0
    against = found.record["reasons"]
    failed = [row["check"] for row in against if row["status"] == "fail"]
    lacking = [row["check"] for row in against if row["status"] != "fail"]
    why = [f"failed: {', '.join(failed)}"] if failed else []
    why += [f"not shown: {', '.join(lacking)}"] if lacking else []
    why += [found.record["would_do"]["text"]] if found.record["would_do"] else []
    print(
        f"gate {gate}: the verdict is {found.verdict!r}, not {_GATES[gate]!r}; " + "; ".join(why),
        file=sys.stderr,
    )
    return 1
