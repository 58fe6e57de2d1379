"""A table of questions: every mistake is named, and what to do about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, InvalidDataError, UsageError
from twinfold.data import read_table, write_table
from twinfold.simulation.what_if import QUERY, answer

Frame = pd.DataFrame


def put(name: str, row: int, value: Any) -> Callable[[Frame], Frame]:
    def change(df: Frame) -> Frame:
        values = df[name].astype(object).tolist()
        values[row] = value
        return df.assign(**{name: pd.Series(values, dtype=object)})

    return change


# The rows of `carts`: q0 0-4, q1 5, q2 6-8.
CART_CASES: list[tuple[str, Callable[[Frame], Frame], str]] = [
    ("no query_id", lambda df: df.drop(columns=QUERY),
     "no column 'query_id'. The columns: 'agent_id', 't', 'x',"),
    ("misspelt", lambda df: df.rename(columns={"theta": "thета"}), "no column 'theta' (state)."),
    ("case", lambda df: df.rename(columns={"action": "Action"}),
     "no column 'action' (action). Did you mean 'Action'?"),
    ("index", lambda df: df.set_index(QUERY), "column 'query_id' is the table's index; call reset"),
    ("empty", lambda df: df.iloc[:0], "the table is empty"),
    ("null query", put(QUERY, 3, None), "column 'query_id': no query at row 3; give"),
    ("null agent", put("agent_id", 3, None), "query 'q0', row 3: no agent in column 'agent_id'"),
    ("unknown agent", lambda df: df.assign(agent_id=df["agent_id"].replace(7, 77)),
     "query 'q1', row 5: unknown agent 77. Did you mean '7'? The agents: 0, 1, 2,"),
    ("two agents", put("agent_id", 7, 1),
     "query 'q2', row 7: several agents: 1 here, 14 in row 6; a query has one agent"),
    ("text state", put("theta", 6, "up"), "query 'q2', row 6: column 'theta' (state): 'up' is no"),
    ("infinite state", put("theta", 6, np.inf), "query 'q2', row 6: column 'theta' (state): infin"),
    ("null action", put("action", 2, None), "query 'q0', row 2: no action in column 'action'"),
    ("nothing asked", put("action", 5, None), "query 'q1', row 5: no action in column 'action'"),
    ("text action", put("action", 2, "left"),
     "query 'q0', row 2: column 'action' (action): 'left' is no number"),
    ("level", put("action", 7, 2),
     "query 'q2', row 7: unknown action 2 in column 'action'; the levels: 0, 1"),
    ("fraction", put("action", 7, 0.5), "query 'q2', row 7: unknown action 0.5"),
    ("null time", put("t", 7, None), "query 'q2', row 7: no time in column 't'"),
    ("text time", put("t", 7, "noon"), "query 'q2', row 7: column 't' (time): 'noon' is no time"),
    ("duplicate", lambda df: df.assign(t=[0, 1, 1, 2, 3, 0, 0, 1, 2]),
     "query 'q0', row 2: t 1 is also in row 1; keep one"),
    ("gap", lambda df: df.assign(t=[0, 1, 3, 4, 5, 0, 0, 1, 2]),
     "query 'q0', row 2: a time gap: t goes from 1 to 3, but a step is 1; give every step its row"),
    ("dates", lambda df: df.assign(t=pd.date_range("2026-01-01", periods=9)),
     "column 't' (time): the training data has numbers, the questions have Timestamp("),
    ("last time", lambda df: df[:5].assign(t=[2**63 - 5 + i for i in range(5)]),
     "query 'q0', row 4: t 9223372036854775807 is so large"),
    ("time beyond", put("t", 5, 2**63),
     "query 'q1', row 5: column 't' (time): 9223372036854775808 is no time"),
    ("comma", put("x", 5, "0,5"),
     "query 'q1', row 5: column 'x' (state): '0,5' is no number; a decimal comma?"),
    ("large state", put("x", 5, 1e40), "query 'q1', row 5: column 'x' (state): 1e+40 is too large"),
    ("float ids", lambda df: df.assign(agent_id=1e16),
     "query 'q0', row 0 (and 2 more queries): column 'agent_id': 1e+16 is no id"),
    ("several queries", lambda df: df.assign(action=5),
     "query 'q0', row 0 (and 2 more queries): unknown action 5"),
    ("lists", put(QUERY, 0, [1]), "column 'query_id': ids must be text or numbers, not lists"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"), [case[1:] for case in CART_CASES], ids=[case[0] for case in CART_CASES]
)
def test_one_mistake_is_one_line(
    small_cart_pole: FittedModel, carts: Frame, change: Callable[[Frame], Frame], words: str
) -> None:
    with pytest.raises(InvalidDataError) as error:
        answer(small_cart_pole, change(carts))
    problems = [line for line in error.value.problems if "a table of questions has" not in line]
    assert len(problems) == 1, problems
    assert problems[0].startswith(words)
    assert error.value.exit_code == 3


def test_the_form_is_explained_with_a_missing_column(
    small_continuous: FittedModel, tanks: Frame
) -> None:
    with pytest.raises(InvalidDataError) as error:
        answer(small_continuous, tanks.drop(columns=[QUERY, "level"]))
    assert len(error.value.problems) == 3
    assert error.value.problems[-1] == (
        "a table of questions has the columns 'query_id', 'tank no.' and 'when', 'level', "
        "'Temp (°C)' (the state, in the first row of each query) and 'in flow', 'heat;kW' (the "
        "action, in every row)"
    )


def test_all_mistakes_are_told_at_once(small_continuous: FittedModel, tanks: Frame) -> None:
    tanks.loc[1, "in flow"] = 8.0
    tanks.loc[2, "heat;kW"] = np.nan
    tanks.loc[4, "level"] = np.inf
    tanks.loc[5, "tank no."] = "T-1"
    with pytest.raises(InvalidDataError) as error:
        answer(small_continuous, tanks)
    lines = "\n".join(error.value.problems)
    assert "query 3, row 5: unknown agent 'T-1'. Did you mean 'T-001/é'?" in lines
    assert "query 3, row 4: column 'level' (state): infinity" in lines
    assert "query 20, row 2: no action in column 'heat;kW'" in lines
    assert "out of range" not in lines


def test_half_an_action_at_the_end_is_a_mistake(
    small_continuous: FittedModel, tanks: Frame
) -> None:
    tanks.loc[3, "in flow"] = 0.5
    with pytest.raises(InvalidDataError, match="query 20, row 3: no action in column 'heat;kW'"):
        answer(small_continuous, tanks)


def test_numbers_are_no_dates(small_continuous: FittedModel, tanks: Frame) -> None:
    with pytest.raises(InvalidDataError, match="the training data has dates or durations, the"):
        answer(small_continuous, tanks.assign(when=range(6)))


def test_lines_of_a_csv_are_named(
    small_cart_pole: FittedModel, carts: Frame, tmp_path: Path
) -> None:
    carts.loc[7, "action"] = 2
    write_table(carts, tmp_path / "q.csv")
    with pytest.raises(InvalidDataError, match=r"query 'q2', row 7 \(line 9\): unknown action 2"):
        answer(small_cart_pole, read_table(tmp_path / "q.csv", ids=[QUERY, "agent_id"]))


def test_what_is_no_table_of_questions_at_all(small_cart_pole: FittedModel, carts: Frame) -> None:
    with pytest.raises(UsageError, match=r"a data frame is needed .*, not a dict"):
        answer(small_cart_pole, carts.to_dict())  # pyright: ignore[reportArgumentType]
    roles = small_cart_pole.roles.model_copy(update={"agent": QUERY})
    with pytest.raises(UsageError, match="fitted with a column called 'query_id'"):
        answer(dataclasses.replace(small_cart_pole, roles=roles), carts)
