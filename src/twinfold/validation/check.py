"""The outcome of one check, in words, and the correction for making many of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from string import Formatter
from typing import Any, Literal, cast

import numpy as np

from twinfold.data.ids import AgentId
from twinfold.utils.text import counted
from twinfold.validation.sentences import OUTCOMES, SENTENCES, Status
from twinfold.validation.thresholds import ValidationThresholds

Needed = Literal["", "prediction", "planning"]


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: what was checked.
        status: pass, warn or fail; unknown if it could not be made.
        figure: the figure, as text.
        expected: what it is compared with, as text.
        advice: what it means, and what to do, in a sentence.
        planning: whether it is about planning only: prediction along recorded actions may be fine.
        needed: the verdict that needs it to pass, "prediction" or "planning"; empty for none.
        agents: ids of agents that are concerned, the worst first.
        values: plain numbers behind it.
    """

    name: str
    status: Status
    figure: str
    expected: str
    advice: str
    planning: bool = False
    needed: Needed = ""
    agents: tuple[AgentId, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "agents": list(self.agents)}


def said(
    kind: str,
    outcome: str,
    rules: ValidationThresholds,
    values: dict[str, Any] | None = None,
    *,
    name: str = "",
    status: Status | None = None,
    planning: bool = False,
    needed: Needed = "",
    concerned: tuple[AgentId, ...] = (),
    **words: Any,
) -> Check:
    """Return the check that an outcome makes, in the words of the table.

    Args:
        kind: row of ``SENTENCES``; the check's name too, unless that is given.
        outcome: a status, or one of ``OUTCOMES``.
        rules: the thresholds.
        values: plain numbers behind it, which templates may name.
        name: what was checked.
        status: of an outcome that has none by itself.
        planning: whether it is about planning only.
        needed: the verdict that needs it to pass.
        concerned: ids of agents, the worst first.
        **words: what else templates name.
    """
    named = {**(values or {}), **words, "rules": rules}
    figure, expected, advice = (worded(template, **named) for template in SENTENCES[kind][outcome])
    return Check(
        name or kind,
        status or cast("Status", OUTCOMES.get(outcome, outcome)),
        figure,
        expected,
        advice,
        planning=planning,
        needed=needed,
        agents=concerned,
        values=values or {},
    )


def worded(template: str, **words: Any) -> str:
    """Return a sentence of the table with its words.

    Args:
        template: of the table.
        **words: what it names.
    """
    return _Words().vformat(template, (), words)


_NOUNS = {
    "agents": "agent",
    "steps": "step",
    "members": "member",
    "transitions": "transition",
    "whole trajectories": "whole trajectory",
}


class _Words(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "pct":
            return f"{100 * value:z.0f} %"  # no -0
        if format_spec == "are":
            return "is" if value == 1 else "are"
        if format_spec in _NOUNS:
            return counted(value, _NOUNS[format_spec])
        if format_spec == "capital":
            return value.capitalize()
        return super().format_field(value, format_spec)


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Return which hypotheses are rejected at a level for all of them together (Holm 1979)."""
    order = np.argsort(p_values)
    rejected = [False] * len(p_values)
    for done, k in enumerate(order):
        if p_values[k] > level / (len(p_values) - done):
            break
        rejected[int(k)] = True
    return rejected
