"""The page of a validation: verdict first, then every check, then pictures. From the record alone.

The record is what ``twinfold validate --out`` writes as ``validation.json``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from twinfold.errors import UsageError
from twinfold.report import validation_figures as figures
from twinfold.report.html import Fact, Section, page
from twinfold.report.tables import Table, number
from twinfold.utils.text import listed

Record = Mapping[str, Any]

_ORDER = ("fail", "warn", "unknown", "pass")
_REASONS = 3  # that the summary gives
_VERDICTS = {
    "not usable": (
        "Do not act on what this run predicts here before the cause is known: its band does not "
        "show this kind of error. Begin with the first check that failed."
    ),
    "cannot tell": (
        "Nothing here says that the run is wrong, and too little that it is right. What could not "
        "be told is no pass: do not act on its predictions before there is more data."
    ),
    "usable for prediction": (
        "Use it to predict what follows from actions like those of the data, and not to choose "
        "actions: that takes evidence that it reacts to them rightly, and a band that holds."
    ),
    "usable for planning within support": (
        "Use it for predictions and for plans where the data supports them: ask for the support "
        "of a prediction (--min-support) and plan with caution where it is low."
    ),
}
_LIMITS = (
    "No check can prove a run right. Nothing here is about actions or states that the data does "
    "not hold, nor about causes: what was not recorded and drove both actions and states is mixed "
    "into every prediction."
)


def write_validation(path: str | os.PathLike[str], record: Record) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where; folders are made.
        record: of ``twinfold.validation.validate``.

    Raises:
        UsageError: it is no such record, or the file cannot be written.
    """
    from twinfold.utils.files import atomic_write_text

    atomic_write_text(path, validation_page(record))


def validation_page(record: Record) -> str:
    """Return the HTML of ``write_validation``.

    Raises:
        UsageError: it is no record of a validation, or of a later version.
    """
    if record.get("format") != "twinfold-validation" or record.get("version") != 2:
        raise UsageError(
            f"no record of a validation that this version reads: format {record.get('format')!r}, "
            f"version {record.get('version')!r}"
        )
    sections = [
        _checks(record),
        _errors(record),
        _controls(record),
        *_band(record),
        *_worst(record),
        _support(record),
        _agents(record),
        *_statistics(record),
    ]
    named = [str(record[key]) for key in ("run", "data") if record.get(key)]
    footer = " · ".join([f"twinfold {record['twinfold']}", record["created"], *named])
    return page(_title(record), _summary(record), sections, _facts(record), footer)


def _title(record: Record) -> str:
    return f"Validation: {record['verdict']}"


def _summary(record: Record) -> list[str]:
    checks, verdict = record["checks"], record["verdict"]
    failed = [check["name"] for check in checks if check["status"] == "fail"]
    doubts = sum(check["status"] == "warn" for check in checks)
    unknown = sum(check["status"] == "unknown" for check in checks)
    tried = (
        f"The run was tried on fresh data of {_count(record['agents'], 'agent')}."
        if record["fresh"]
        else f"The run was tried on {record['agents']} of its agents, whom the nets have not seen, "
        "each known by what came before the end that was predicted."
    )
    found = (
        f"{_count(len(failed), 'check')} failed: {', '.join(failed)}."
        if failed
        else f"None of {_count(len(checks) - unknown, 'check')} could prove it wrong."
    )
    if unknown:
        found += f" {_count(unknown, 'check')} could not be made."
    if doubts:
        found += f" {_count(doubts, 'warning')}: see below."
    told = [str(row["advice"]) for row in record["reasons"]][:_REASONS]
    told += [str(record["would_do"]["text"])] if record["would_do"] else []
    why = f"Why not better: {' '.join(told)}" if told else ""
    return [f"{tried} {found}", _VERDICTS.get(verdict, ""), why, _LIMITS]


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


def _find(record: Record, name: str) -> Record:
    """Return a check by its name; an empty one if it was not made."""
    found = (check for check in record["checks"] if check["name"] == name)
    return next(found, {"values": {}, "agents": [], "figure": "", "expected": ""})


def _facts(record: Record) -> list[Fact]:
    facts = []
    error = _find(record, "against persistence")["values"]
    if error.get("median_ratio") is not None:
        facts.append(
            Fact(
                "median error",
                f"{number(error['median_ratio'], 2)} ×",
                f"that of predicting no change; better for {error['better']} of "
                f"{_count(error['agents'], 'agent')}",
            )
        )
    band = _find(record, "band")
    others = _find(record, "band of known agents")
    if (
        others["values"].get("agents", 0)
        > band["values"].get("agents", 0)
        < record["criteria"]["fewest"]
    ):
        band = others  # of a few new agents nothing can be said
    values = band["values"]
    if values.get("coverage") is not None:
        promised = "promised" if values.get("promised", True) else "meant, not promised: known"
        note = f"{values['nominal']:.0%} {promised}; {_count(values['agents'], 'agent')}"
        note += f", {_count(values['horizon'], 'step')}"
        facts.append(Fact("whole trajectories in the band", f"{values['coverage']:.0%}", note))
    elif values.get("factor") is not None:
        note = f"calibrated on {_count(values['agents'], 'agent')}; only fresh data tests it"
        facts.append(Fact("band", f"{values['nominal']:.0%}", note))
    else:
        facts.append(Fact("band", "no promise", band["figure"]))
    name = "agents that fit badly" if record["fresh"] else "agents whose own data does not fit"
    bad = _find(record, name)
    count = len(bad["agents"])
    facts.append(Fact("agents that fit badly", str(count), listed(bad["agents"], 3) or "none"))
    reach = _find(record, "break-even horizon")["values"]
    if reach:
        none = reach["step"] is None
        simple = reach.get("control", "persistence")
        simple = "no change" if simple == "persistence" else simple
        facts.append(
            Fact(
                "break-even horizon",
                "none" if none else f"step {reach['step']}",
                f"within {reach['reach']} steps: better than the best simple control, {simple}"
                if none
                else f"of {reach['reach']}; from there on {simple} does as well",
            )
        )
    return facts


def _checks(record: Record) -> Section:
    checks: Sequence[Record] = record["checks"]
    rows = tuple(
        (
            str(check["name"]),
            str(check["status"]),
            str(check["figure"]),
            str(check["expected"]),
            "" if check["status"] == "pass" else str(check["advice"]),
        )
        for check in sorted(checks, key=lambda check: _ORDER.index(check["status"]))
    )
    columns = ("check", "outcome", "figure", "expected", "what it means")
    parts = [Table(columns, rows, prose=(0, 2, 3, 4), status=1)]
    named = [check for check in checks if check["agents"] and check["status"] != "pass"]
    if named:
        concerned = tuple((str(check["name"]), listed(_alike(check))) for check in named)
        parts.append(
            Table(("check", "agents, the worst first"), concerned, "Agents to look at", prose=(1,))
        )
    found = Counter(check["status"] for check in checks)
    counts = [
        f"{found['pass']} passed",
        _count(found["warn"], "warning"),
        f"{found['fail']} failed",
        f"{found['unknown']} could not be made",
    ]
    return Section(
        "Checks",
        ", ".join(counts) + ". A check that fails is evidence against the run. For a better "
        "verdict the checks of it must have passed; that one could not be made is no pass.",
        parts,
        f"Tests are made at the level {record['criteria']['level']:g}, corrected for their number.",
    )


def _alike(check: Record) -> list[str]:
    """Return the ids of a check's agents, and whose simulator explains them if that was found."""
    other = check["values"].get("looks_like")
    if other is None:
        return [str(agent) for agent in check["agents"]]
    return [f"{a} (fits {b})" for a, b in zip(check["agents"], other, strict=False)]


def _errors(record: Record) -> Section:
    return Section(
        "Error by steps ahead",
        "The ends of trajectories, predicted open loop from their recorded actions: the median "
        "over agents. The agent's own simulator must stay below every other line.",
        [figures.error_by_horizon(record["pictures"]["by_horizon"], record["best_control"])],
        "No change repeats the first state. The average agent and another agent have the same nets "
        "with other factors. The linear models are fitted to what comes before the ends: one for "
        "all, and one with deviations of each agent, as large as the data bears out. Fewer agents "
        "reach far.",
    )


def _controls(record: Record) -> Section:
    """Return the section of the run's errors over those of every control."""
    best = record["best_control"]
    rows = tuple(
        (
            f"{name} (the best simple one)" if name == best else str(name),
            number(row["median_ratio"], 2),
            number(row["overall_ratio"], 2),
            f"{row['better']} of {row['agents']}",
        )
        for name, row in record["controls"].items()
    )
    columns = ("control", "median ratio", "ratio over all", "better for")
    return Section(
        "Beside what is simpler",
        "The run's error over that of each control: of the median agent, and of the errors of all "
        "agents together. Below 1 the run is better.",
        [Table(columns, rows, prose=(0,))],
        "Means and drifts are each agent's own as far as its rows tell them apart from the others'."
        " The last three are the run itself without the agent, or without its actions.",
    )


def _band(record: Record) -> list[Section]:
    calibration = record["pictures"]["calibration"]
    if calibration is None or not record["fresh"]:
        return []
    return [
        Section(
            "Does the band hold?",
            f"Share of {calibration.get('agents', 'the')} agents whose whole trajectory of "
            f"{calibration['horizon']} steps, in all columns, lies within the band, for bands of "
            "other coverages too. Below the diagonal the band is too narrow, above it wider than "
            "need be.",
            [figures.calibration_curve(calibration, record.get("nominal"))],
            "With few agents the curve strays from the diagonal by chance; the check of the band "
            "counts with that.",
        )
    ]


def _worst(record: Record) -> list[Section]:
    worst = record["pictures"]["worst"]
    if not worst:
        return []
    columns = len(worst[0]["columns"])
    more = f"Those of {columns} columns that leave the band furthest. " if columns > 4 else ""
    return [
        Section(
            "The worst agents",
            "Truth, prediction and band of the agents whose errors are largest in units of the "
            "band before calibration (in parentheses).",
            [figures.worst_panels(worst)],
            more + "The worst of many agents look bad even where all is well.",
        )
    ]


def _support(record: Record) -> Section:
    return Section(
        "What predictions rest on",
        "By steps ahead: the agent's own data, other agents' data (borrowed), or nothing "
        "(unsupported): states and actions like these were hardly seen, or the members of the "
        "model contradict each other.",
        [figures.support_map(record["pictures"]["support"])],
        "Shares of the agents that reach so far, along their recorded actions.",
    )


def _agents(record: Record) -> Section:
    bad = [
        agent
        for check in record["checks"]
        if check["status"] == "fail" or check["name"] == "agents whose own data does not fit"
        for agent in check["agents"]
    ]
    plane = record["pictures"]["factor_map"]
    return Section(
        "The agents",
        "Each point is an agent of the run, placed by the changes its simulator predicts at common "
        "states and actions: agents close to each other are alike.",
        [figures.agent_plane(plane, bad)],
        f"{len(plane['ids'])} of the run's agents. The axes have no meaning of their own.",
    )


def _statistics(record: Record) -> list[Section]:
    statistics = record["pictures"]["statistics"]
    if not record["fresh"] or not any(row["reference"] for row in statistics.values()):
        return []
    return [
        Section(
            "Reference shift",
            "What is measured of each agent, beside the same of the agents that were reserved when "
            "the model was fitted. The larger, the worse; most of these agents above most of the "
            "reserved ones is a change.",
            [figures.statistics_panels(statistics)],
            "residual scale: size of one-step errors. trajectory error: the largest error in units "
            "of the band. residual autocorrelation: one-step errors that follow each other. "
            "residual trend: with time. residual growth: within the trajectory. action "
            "sensitivity: error over that under random actions. personalisation gain: over that of "
            "the average agent. Sizes and ratios are logarithms.",
        )
    ]
