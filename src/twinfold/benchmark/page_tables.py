"""Tables of the results' page: a data set each, how often ours is better, the true dynamics."""

from __future__ import annotations

import math
from collections.abc import Sequence

from twinfold.benchmark.comparison import Entry
from twinfold.benchmark.methods.registry import get_method
from twinfold.benchmark.row_names import method_name
from twinfold.benchmark.statistics import Sample, probability_of_improvement
from twinfold.benchmark.suite_parts import Row
from twinfold.benchmark.tables import by_row
from twinfold.report.tables import Table, number


def data_tables(entries: Sequence[Entry]) -> list[Table]:
    """Return a table per data set and number of training agents: a line per method.

    Args:
        entries: of one task.
    """
    groups: dict[tuple[str, int | None], list[Entry]] = {}
    for entry in entries:
        if entry.row.dataset is not None:
            groups.setdefault((entry.row.dataset, entry.row.n_agents), []).append(entry)
    tables = []
    for (dataset, size), group in groups.items():
        caption = f"Data set {dataset}" + (f", {size} training agents" if size else "")
        tables.append(_table(group, caption))
    return tables


def reference_table(entries: Sequence[Entry]) -> Table | None:
    """Return what planning with the true dynamics earns, and the best possible; None if neither.

    Args:
        entries: of one task.
    """
    group = [entry for entry in entries if entry.row.dataset is None]
    best = {e.agent: e.best_possible for e in entries if e.best_possible is not None}
    if not group and not best:
        return None
    table = _table(group or entries, "Without data")
    rows = table.rows if group else ()
    if best:
        agents = dict.fromkeys(entry.agent for entry in group or entries)
        rows += (("best possible", *(number(best.get(agent)) for agent in agents)),)
    return Table(table.columns, rows, table.caption)


def _table(entries: Sequence[Entry], caption: str) -> Table:
    agents = dict.fromkeys((entry.agent, entry.label) for entry in entries)
    rows: list[tuple[str, ...]] = []
    marked: set[tuple[int, int]] = set()
    lines = by_row(entries)
    best = {agent: best_of([e for e in entries if e.agent == agent]) for agent, _ in agents}
    for row, cells in lines.items():
        rows.append((_title(row), *(_shown(entry) for entry in cells)))
        marked |= {
            (len(rows) - 1, place)
            for place, entry in enumerate(cells, start=1)
            if best[entry.agent] is entry
        }
        if any(entry.paper is not None for entry in cells):
            rows.append(("   in the paper", *(_paper(entry) for entry in cells)))
    columns = ("method", *(f"{agent} ({label})" for agent, label in agents))
    return Table(columns, tuple(rows), caption, bold=frozenset(marked))


def best_of(entries: Sequence[Entry]) -> Entry | None:
    """Return the entry that is better than every other and whose interval overlaps none.

    What knows the truth does not compete, and what was not measured does not either.

    Args:
        entries: of several methods, on the same data and for the same agent.
    """
    rivals = [
        e for e in entries if e.ours is not None and get_method(e.row.method).role != "reference"
    ]
    finite = [entry for entry in rivals if math.isfinite(entry.ours or 0.0)]
    if len(rivals) < 2 or not finite:
        return None
    sign = 1.0 if finite[0].lower_is_better else -1.0
    first = min(finite, key=lambda entry: sign * (entry.ours or 0.0))
    others = [entry for entry in finite if entry is not first]
    return first if all(first.interval.apart(other.interval) for other in others) else None


def _title(row: Row) -> str:
    # The caption has the number of training agents.
    return method_name(row._replace(n_agents=None))


def _shown(entry: Entry) -> str:
    if entry.ours is None:
        return entry.status
    if not math.isfinite(entry.ours):
        return "; ".join(["diverged", *entry.before])
    text = number(entry.ours)
    if entry.low is not None and entry.high is not None:
        # On a line of its own, so that five agents fit a page.
        text += f"\n[{number(entry.low)}, {number(entry.high)}]"
    if entry.repeats < entry.wanted:
        text += f" ({entry.repeats} of {entry.wanted} fits)"
    return text


def _paper(entry: Entry) -> str:
    spread = "" if entry.paper_spread is None else f" ± {number(entry.paper_spread)}"
    return number(entry.paper) + spread


def improvement_table(entries: Sequence[Entry]) -> Table | None:
    """Return how often ours does better than each other method; None if no values are there.

    Args:
        entries: of one task.
    """
    rows = []
    ours = {_place(e): e for e in entries if get_method(e.row.method).role == "ours"}
    others: dict[str, list[Entry]] = {}
    for entry in entries:
        if get_method(entry.row.method).role in ("baseline", "control"):
            others.setdefault(method_name(entry.row._replace(n_agents=None)), []).append(entry)
    for title, theirs in others.items():
        pairs: list[tuple[Sample, Sample]] = []
        for entry in theirs:
            mine = ours.get(_place(entry))
            if mine is not None and mine.values is not None and entry.values is not None:
                pairs.append((mine.values, entry.values))
        if pairs:
            first, second = zip(*pairs, strict=True)
            found = probability_of_improvement(first, second, entries[0].lower_is_better)
            shown = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
            rows.append((title, shown, str(len(pairs))))
    if not rows:
        return None
    caption = (
        "Probability that PerSim does better than another method, in an episode or trajectory of "
        "each, over data sets and agents (Mann-Whitney U over the number of pairs)"
    )
    return Table(("method", "probability", "data sets and agents"), tuple(rows), caption)


def _place(entry: Entry) -> tuple[str | None, int | None, int]:
    return entry.row.dataset, entry.row.n_agents, entry.agent
