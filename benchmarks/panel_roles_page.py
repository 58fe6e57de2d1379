"""The section of the page on panels in roles that fit them, made from its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from panel_page import KINDS, WORSE, cell, geometric, markdown
from panel_roles import AHEAD_MINUTES, KNOWN_MINUTES, LINEAR, NEW_PATIENTS
from panel_roles_data import READ

Record = dict[str, Any]

GOAL = 0.224
"""Error of remifentanil's new patients to reach: 1.3 times .172, by two compartments elsewhere."""
FACTOR = 1.5
"""Of a model of the field, that the answer on half of the infusion is to be within."""

INTRO = """\
## The same panels in roles that fit them

Above, everything beside a state poses as an action. Here five tables are read as they are
(`benchmarks/panel_roles.py`), and the same values at the same times are predicted: the ends of the
same known and new agents, by the same errors.

```sh
python benchmarks/panel_roles.py   # then panels.py table
```
"""


def section(own: Sequence[Record], old: Sequence[Record]) -> str:
    """Return the section in Markdown.

    Args:
        own: records of ``panel_roles.py``.
        old: records of ``panels.py``.
    """
    if not own:
        return ""
    found = _Records(own, old)
    parts = [INTRO, _how(), _errors(found), _losses(found), _clinic(found), _halved(found)]
    return "\n".join(part for part in parts if part)


class _Records:
    """Records by panel and seed."""

    def __init__(self, own: Sequence[Record], old: Sequence[Record]) -> None:
        def of(model: str, rows: Sequence[Record]) -> dict[tuple[str, int], Record]:
            return {
                (row["panel"], row["seed"]): row
                for row in rows
                if row["model"] == model and not row.get("settings")
            }

        every = [*own, *old]
        self.own, self.clinic = of("own roles", every), of("clinic", every)
        self.old, self.controls = of("twinfold", every), of("controls", every)

    def keys(self, panel: str) -> list[tuple[str, int]]:
        """Return panel and seed of what has all records."""
        return [
            key
            for key in sorted(self.own)
            if key[0] == panel and key in self.old and key in self.controls
        ]

    def ratios(self, panel: str, kind: str, against: str) -> list[float]:
        """Return the errors in own roles over others: old roles, or a simple model."""
        return [
            self.own[key][kind]["error"] / self.error(key, kind, against)
            for key in self.keys(panel)
        ]

    def error(self, key: tuple[str, int], kind: str, model: str) -> float:
        """Return an error: of own roles, old roles, or a simple model."""
        if model in ("own roles", "old roles"):
            return (self.own if model == "own roles" else self.old)[key][kind]["error"]
        return self.controls[key][kind]["errors"][model]


def _how() -> str:
    head = ["panel", "read as it is"]
    rows = [[name, read.about] for name, read in READ.items()]
    others = [
        read.panel for read in READ.values() if read.own_time and read.panel.name != "Remifentanil"
    ]
    told = " ".join(
        f"{panel.name} in the old roles (`{panel.source}`): {panel.about}" for panel in others
    )
    return markdown(head, rows) + f"\n{told}\n"


def _errors(found: _Records) -> str:
    head = ["panel", "seeds"]
    for words in KINDS.values():
        head += [f"{words}: no change, sd", *LINEAR, "old roles", "own roles", "own over old"]
    rows = []
    for name in READ:
        keys = found.keys(name)
        if not keys:
            continue
        row = [name, str(len(keys))]
        for kind in KINDS:
            none = [found.error(key, kind, "persistence") for key in keys]
            row.append(cell(float(np.mean(none))))
            for model in (*LINEAR, "old roles", "own roles"):
                values = [found.error(key, kind, model) for key in keys]
                row.append(cell(geometric(np.array(values) / none)))
            row.append(cell(geometric(found.ratios(name, kind, "old roles"))))
        rows.append(row)
    text = "Errors over that of no change, as above (geometric means over seeds):\n\n"
    return text + markdown(head, rows)


def _losses(found: _Records) -> str:
    lines = []
    for against, words in (
        ("old roles", "in the old roles"),
        ("persistence", "no change"),
        *((name, name) for name in LINEAR),
    ):
        for kind, agents in KINDS.items():
            lost = {
                name: geometric(found.ratios(name, kind, against)) or 0.0
                for name in READ
                if found.keys(name)
            }
            told = [f"{name} ({value:.2f})" for name, value in lost.items() if value > WORSE]
            lines.append(f"- worse than {words} for {agents}: {', '.join(told) or 'nowhere'}")
    percent = round(100 * (WORSE - 1))
    return f"Where own roles lose, by more than {percent} %:\n\n" + "\n".join(lines) + "\n"


def _clinic(found: _Records) -> str:
    if not found.clinic:
        return ""
    models = ("persistence", *LINEAR, "old roles", "own roles", "two compartments")
    head = ["seed", "values", "no change", *models[1:], "rows read", "own over two compartments"]
    rows = []
    for (_, seed), record in sorted(found.clinic.items()):
        errors = record["errors"]
        row = [str(seed), str(record["values"]), *(cell(errors[m], 3) for m in models)]
        ratio = errors["own roles"] / errors["two compartments"]
        rows.append([*row, str(record["history"]), cell(ratio)])
    errors = [record["errors"]["own roles"] for record in found.clinic.values()]
    reached = sum(value <= GOAL for value in errors)
    text = (
        f"**Remifentanil as a clinic would ask.** {NEW_PATIENTS} new patients, drawn by seed, "
        f"known by {KNOWN_MINUTES:.0f} minutes, {AHEAD_MINUTES:.0f} minutes ahead under the "
        "infusion that was given; the RMSE of all values, in standard deviations of the log "
        "concentration. *Two compartments* is a population model that knows the pharmacology "
        "(`benchmarks/panel_infusion.py`), fitted to the same other patients. The goal was "
        f"{GOAL}; it is reached in {reached} of {len(errors)} draws.\n\n"
    )
    return text + markdown(head, rows)


def _halved(found: _Records) -> str:
    told = {key: record["halved"] for key, record in found.clinic.items() if "halved" in record}
    if not told:
        return ""
    middle: Callable[[str, Record], float] = lambda name, one: float(np.median(one[name]))  # noqa: E731
    rows = []
    for (_, seed), one in sorted(told.items()):
        ours, theirs = middle("effects", one), middle("domain", one)
        ratio = np.array(one["effects"]) / np.array(one["domain"])
        within = (ratio >= 1 / FACTOR) & (ratio <= FACTOR)
        either = within | (np.array(one["basis"]) == "unsupported") if "basis" in one else None
        rows.append(
            [
                str(seed),
                str(len(one["effects"])),
                cell(theirs),
                cell(ours),
                cell(ours / theirs),
                f"{100 * within.mean():.0f} %",
                "–" if either is None else f"{100 * either.mean():.0f} %",
            ]
        )
    head = [
        "seed",
        "patients",
        "Minto's model",
        "own roles",
        "ours over Minto's",
        f"patients within a factor of {FACTOR}",
        "or said to be unsupported",
    ]
    text = (
        "**Half of the infusion**, from a known patient's third sample on (as under *Effects of "
        "changed actions*, where the old roles are): median effect on the log concentration after "
        "up to six samples.\n\n"
    )
    return text + markdown(head, rows)
