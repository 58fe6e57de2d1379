"""Answers to what-if questions: a single one, or a table of them.

- ``simulator``: one agent's simulator.
- ``inputs``: states and actions that are asked about, and what is out of range.
- ``query_table``: tables of questions, read and checked.
- ``what_if``: answers to a table of questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.simulation.simulator import Rollout, Simulator
    from twinfold.simulation.what_if import answer

_HOME = {
    "Rollout": "twinfold.simulation.simulator",
    "Simulator": "twinfold.simulation.simulator",
    "answer": "twinfold.simulation.what_if",
}

__all__ = [
    "Rollout",
    "Simulator",
    "answer",
]

__getattr__ = lazy_exports(__name__, _HOME)
