"""What is said of actions that never or hardly ever vary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold.data.validate import check

ROLES = {"agent": "id", "time": "t", "state": ["x"], "action": ["dose"]}


def warnings_of(actions: Any, kind: str = "continuous", n_agents: int = 3) -> tuple[str, ...]:
    """Of a table of ``n_agents`` agents whose transitions have these actions, one after another."""
    rows = np.reshape(np.asarray(actions, float), (n_agents, -1))
    length = rows.shape[1] + 1
    frame = pd.DataFrame(
        {
            "id": np.repeat([f"A{n}" for n in range(n_agents)], length),
            "t": np.tile(np.arange(length), n_agents),
            "x": np.random.default_rng(0).normal(size=n_agents * length),
            "dose": np.column_stack([rows, np.full(n_agents, np.nan)]).ravel(),
        }
    )
    report = check(frame, {**ROLES, "action_type": kind})
    assert report.ok
    return report.warnings


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_an_action_that_never_varies(kind: str) -> None:
    assert warnings_of([2] * 12, kind) == (
        "column 'dose' (action) is constant (2): the data cannot say what actions do",
    )


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_an_action_that_never_varies_within_an_agent(kind: str) -> None:
    assert warnings_of([1] * 4 + [5] * 4 + [9] * 4, kind) == (
        "column 'dose' (action) never changes within an agent: what it does cannot be told from "
        "how agents differ",
    )
    assert warnings_of([1] * 4 + [5] * 4 + [9, 9, 1, 1], kind) == ()


def test_agents_of_a_single_transition_cannot_vary() -> None:
    """A table of tomorrow's first steps says nothing of what actions do, and is not told so."""
    frame = pd.DataFrame(
        {
            "id": np.repeat([f"A{n}" for n in range(6)], 2),
            "t": np.tile([0, 1], 6),
            "x": np.arange(12.0),
            "dose": np.column_stack([np.arange(6.0), np.full(6, np.nan)]).ravel(),
        }
    )
    assert not check(frame, {**ROLES, "action_type": "continuous"}).warnings


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_an_action_taken_once(kind: str) -> None:
    assert warnings_of([0] * 6 + [1] + [0] * 5, kind) == (
        "column 'dose' (action) is 0 in all rows but one, 1 at row 7, agent 'A1': that row carries "
        "all that is known of the action",
    )


def test_a_level_taken_once() -> None:
    actions = [0, 1, 0, 1, 2, 0, 1, 0, 1, 0, 0, 7]
    assert warnings_of(actions, "discrete") == (
        "column 'dose' (action): level 2 (and 1 more) occurs in one row only, row 5, agent 'A1': "
        "that row carries all that is known of it",
    )
    assert warnings_of(actions, "continuous") == ()  # 2 lies between other amounts


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_of_a_handful_of_rows_nothing_is_said(kind: str) -> None:
    assert warnings_of([1, 1, 2], kind, n_agents=1) == ()


def test_amounts_that_vary_are_fine() -> None:
    assert warnings_of(np.random.default_rng(0).normal(size=30)) == ()
    assert warnings_of([0, 0, 0, 5] * 3) == ()
