"""``twinfold validate``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twinfold.cli.console import console, print_json, set_up_jax, talking, warn
from twinfold.cli.flags import Flag, RoleFlags, table_roles
from twinfold.errors import UsageError

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
_STYLES = {"pass": "green", "warn": "yellow", "fail": "bold red", "unknown": "dim"}
_COUNTS = (
    ("pass", "passed"),
    ("warn", "warnings"),
    ("fail", "failed"),
    ("unknown", "could not be made"),
)


def validate(
    run: Path,
    data: Path | None = None,
    /,
    *,
    out: Path | None = None,
    gate: Gate | None = None,
    columns: RoleFlags | None = None,
    group: str | None = None,
    seed: int = 0,
    quiet: Flag = False,
    json: Flag = False,
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
        out: Folder for validation.html, a page to look at, and validation.json, its record.
        gate: Exit with code 1 unless the run is usable for prediction, or for planning; that it
            cannot be told counts as not.
        columns: Which column is what, if not as in the fit.
        group: Column that sorts the agents into groups, such as a site or a model: how many courses
            the band holds is then told by group; if left out, by how much is known of an agent.
        seed: Of the random controls.
        quiet: Print the verdict alone, and no warnings.
        json: Print the record instead of tables.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; give a folder")
    set_up_jax()
    from twinfold.data.io import load_panel
    from twinfold.training.run_directory import load_run
    from twinfold.validation.data_overlap import made_from
    from twinfold.validation.validate import validate as examine_run

    model = load_run(run)
    if data is None:
        table = _fitted_table(model)
        roles = (columns or RoleFlags()).roles() or model.roles  # whatever a manifest says
    else:
        table, roles = data, table_roles(data, columns, model.roles)
    with talking(quiet or json) as talk:
        panel = load_panel(table, roles)
        for line in panel.warnings:
            talk.line(f"warning: {line}")
        seen = made_from(model, panel)
        if data is None and not seen:
            raise UsageError(
                f"{table} is not the table that the run was made from any more: its values have "
                "changed. Give fresh data as a second argument, or the table as it was"
            )
        groups = None if group is None else _groups(table, panel, group)
    said = (lambda line: None) if quiet or json else warn
    found = examine_run(model, panel, seen=seen, groups=groups, seed=seed, warn=said)
    record = {**found.record, "run": str(run), "data": str(table)}
    if json:
        print_json(record)
    else:
        show_validation(console(), found, brief=quiet)
    if out is not None:
        _write(out, record)
        if not json and not quiet:
            print(f"page: {out / 'validation.html'}")
    return _judged(found, gate)


def _groups(table: Path, panel: PanelDataset, column: str) -> dict[Any, str]:
    """Return the group of each agent of a table.

    Raises:
        UsageError: there is no such column, or an agent is in two groups.
    """
    from twinfold.data.ids import canonical_ids, did_you_mean
    from twinfold.data.io import read_table

    frame = read_table(table, [panel.roles.agent])
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
    if not Path(kept).is_file():
        raise UsageError(
            f"the table that the run was made from, {kept}, is not there any more; give it, or "
            "fresh data: twinfold validate RUN DATA"
        )
    return Path(kept)


def show_validation(out: Console, found: Validation, *, brief: bool = False) -> None:
    """Show verdict, checks, and what to do about those that did not pass."""
    from rich.table import Table
    from rich.text import Text

    counts = [
        f"{sum(check.status == status for check in found.checks)} {word}"
        for status, word in _COUNTS
    ]
    style = {
        "not usable": "bold red",
        "cannot tell": "bold magenta",
        "usable for prediction": "bold yellow",
    }
    what = f"{found.record['agents']} " + (
        "agents of fresh data" if found.record["fresh"] else "agents that the nets have not seen"
    )
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
    atomic_write_text(folder / "validation.json", text + "\n")
    write_validation(folder / "validation.html", record)


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
