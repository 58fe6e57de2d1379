"""A table of questions: every answer against the model in NumPy."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from twinfold import FittedModel, InvalidDataError, Simulator
from twinfold.data import read_table, write_table
from twinfold.models.calibration import Calibration
from twinfold.models.posterior import POSTERIOR, factor_draws
from twinfold.simulation.inputs import STRAYS
from twinfold.simulation.what_if import QUERY, answer
from twinfold.tasks import get_task

STATES = list(get_task("cart_pole").state_names)
BERLIN = "Europe/Berlin"
CartQueries = Callable[..., pd.DataFrame]


def doubt(line: str) -> None:
    raise AssertionError(f"unexpected doubt: {line}")


def assert_near(got: Any, expected: Any, model: FittedModel, tolerance: float = 1e-3) -> None:
    """Equal to a share of each state's standard deviation: float32 against float64."""
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_array_less(
        np.abs(np.asarray(got) - expected) / model.normalizer.state_scale, tolerance
    )


def test_discrete_answers_are_the_formula(
    small_cart_pole: FittedModel, carts: pd.DataFrame, reference: Any
) -> None:
    answers = answer(small_cart_pole, carts, doubt)
    bands = [f"{name}_{end}" for name in STATES for end in ("lower", "upper")]
    assert list(answers.columns) == [QUERY, "agent_id", "t", *STATES, *bands, "support", "basis"]
    assert answers[QUERY].tolist() == carts[QUERY].tolist()
    assert answers["agent_id"].tolist() == carts["agent_id"].tolist()
    assert answers["t"].tolist() == (carts["t"] + 1).tolist()
    assert small_cart_pole.posterior is not None
    for name, rows in carts.groupby(QUERY):
        start, actions = rows[STATES].to_numpy()[0], rows["action"].to_numpy()
        question = (small_cart_pole, int(rows["agent_id"].iloc[0]), start, actions)
        paths = reference.member_paths(*question)
        draws = factor_draws(small_cart_pole.posterior, np.array([question[1]]), POSTERIOR.draws)[
            :, 0
        ]
        unknown = reference.unknown(*question, draws)
        lower, upper = reference.band(small_cart_pole, paths, 1.6448536269514722, unknown)
        own = answers[answers[QUERY] == name]
        assert_near(own[STATES], reference.robust_centre(paths), small_cart_pole)
        assert_near(own[bands[::2]], lower, small_cart_pole)
        assert_near(own[bands[1::2]], upper, small_cart_pole)


def test_continuous_answers_are_the_formula(
    small_continuous: FittedModel, tanks: pd.DataFrame, reference: Any
) -> None:
    answers = answer(small_continuous, tanks, doubt)
    assert answers[QUERY].tolist() == [20, 20, 20, 3, 3]  # the null action asks nothing
    assert answers["when"].tolist() == [
        *pd.date_range("2026-03-29 01:00", periods=3, freq="h", tz=BERLIN),
        *pd.date_range("2026-07-01 09:00", periods=2, freq="h", tz=BERLIN),
    ]
    for query, index in ((20, 4), (3, 1)):
        rows: Any = tanks[(tanks[QUERY] == query) & tanks["in flow"].notna()]
        paths = reference.member_paths(
            small_continuous,
            index,
            rows[["level", "Temp (°C)"]].to_numpy()[0],
            rows[["in flow", "heat;kW"]].to_numpy(),
        )
        got = answers.loc[answers[QUERY] == query, ["level", "Temp (°C)"]]
        assert_near(got, reference.robust_centre(paths), small_continuous)


def test_the_table_agrees_with_the_simulator_whatever_the_lengths(
    small_cart_pole: FittedModel, cart_queries: CartQueries
) -> None:
    lengths = [1, 2, 3, 8, 9, 17, 24, 33, 40, 4, 1]
    queries = cart_queries(lengths, seed=1)
    heard: list[str] = []  # the longest of them leave the training data
    answers = answer(small_cart_pole, queries, heard.append)
    assert [line for line in heard if not line.endswith(STRAYS)] == []
    assert len(answers) == sum(lengths)
    for name, rows in queries.groupby(QUERY):
        simulator = Simulator(small_cart_pole, rows["agent_id"].iloc[0])
        rollout = simulator.rollout(rows[STATES].iloc[0], rows["action"])
        own = answers[answers[QUERY] == name]
        # A pole falls ever faster, so rounding grows with the horizon.
        few = slice(0, 12)
        assert_near(own[STATES][few], rollout.centre[few], small_cart_pole)
        upper = own[[f"{state}_upper" for state in STATES]]
        assert_near(upper[few], rollout.upper[few], small_cart_pole, 1e-2)


def test_each_question_gets_the_calibrated_band_of_its_length(
    small_cart_pole: FittedModel, cart_queries: CartQueries
) -> None:
    scores = np.sort(np.random.default_rng(0).uniform(1, 4, (30, 9)), axis=1)
    kept = Calibration(scores, np.zeros((len(scores), 7)), np.zeros(len(scores), np.int32))
    model = dataclasses.replace(small_cart_pole, calibration=kept)
    lengths = [2, 9, 3, 12, 1]
    queries = cart_queries(lengths, seed=1)
    answers, plain = (answer(m, queries, lambda line: None) for m in (model, small_cart_pole))
    bands = [f"{state}_upper" for state in STATES]
    for (name, rows), length in zip(queries.groupby(QUERY), lengths, strict=True):
        rollout = Simulator(model, rows["agent_id"].iloc[0]).rollout(
            rows[STATES].iloc[0], rows["action"], lambda line: None
        )
        own, same = answers[answers[QUERY] == name], plain[plain[QUERY] == name]
        assert_near(own[bands], rollout.upper, model, 1e-2)
        widths = [np.asarray(x[bands]) - np.asarray(x[STATES]) for x in (own, same)]
        factor = sorted(scores[:, min(length, 9) - 1])[27]  # the 28th of 30, as 0.9 x 31 = 27.9
        np.testing.assert_allclose(widths[0] / widths[1], factor, rtol=1e-6)
        assert rollout.simultaneous == (length <= 9)


def test_each_question_alone_gets_the_same_answer(
    small_continuous: FittedModel, tanks: pd.DataFrame
) -> None:
    together = answer(small_continuous, tanks)
    alone = [answer(small_continuous, tanks.iloc[rows]) for rows in (slice(0, 4), slice(4, 6))]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), together, rtol=1e-5)


def test_the_order_of_rows_does_not_matter(
    small_cart_pole: FittedModel, carts: pd.DataFrame
) -> None:
    plain = answer(small_cart_pole, carts)
    shuffled = carts.sample(frac=1, random_state=1)
    assert shuffled[QUERY].iloc[0] != "q0"
    other = answer(small_cart_pole, shuffled)
    assert other[QUERY].unique().tolist() == shuffled[QUERY].unique().tolist()
    key = [QUERY, "t"]
    pd.testing.assert_frame_equal(
        other.sort_values(key, ignore_index=True), plain.sort_values(key, ignore_index=True),
        rtol=1e-5,
    )  # fmt: skip


def test_only_the_first_state_counts(small_cart_pole: FittedModel, carts: pd.DataFrame) -> None:
    plain = answer(small_cart_pole, carts)
    full = carts.copy()
    full[STATES] = full[STATES].fillna(99.0)
    pd.testing.assert_frame_equal(answer(small_cart_pole, full, doubt), plain)
    text = carts.astype(dict.fromkeys(STATES, object))
    text.loc[1, STATES] = "unknown"
    pd.testing.assert_frame_equal(answer(small_cart_pole, text, doubt), plain)


def test_agents_of_one_batch_are_not_mixed_up(
    small_cart_pole: FittedModel, cart_queries: CartQueries
) -> None:
    queries = pd.concat(
        [cart_queries([4]).assign(**{QUERY: n, "agent_id": n}) for n in (5, 9, 5)][:2],
        ignore_index=True,
    )
    answers = answer(small_cart_pole, queries)
    five, nine = (answers.loc[answers[QUERY] == n, STATES].to_numpy() for n in (5, 9))
    assert not np.allclose(five, nine)
    queries["agent_id"] = 14 - queries["agent_id"]
    swapped = answer(small_cart_pole, queries)
    np.testing.assert_allclose(
        swapped.loc[swapped[QUERY] == 5, STATES].to_numpy(), nine, rtol=1e-4, atol=1e-6
    )


INTEGERS: list[Any] = ["int64", "int32", "uint16", "Int64", "float32", "float64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_types_of_ids_and_times_are_kept(
    small_cart_pole: FittedModel, dtype: Any, cart_queries: CartQueries
) -> None:
    queries = cart_queries([3, 2])
    queries["t"] = (queries["t"] + 10).astype(dtype)
    queries["agent_id"] = queries["agent_id"].astype("int16")
    queries[QUERY] = queries[QUERY].astype("category")
    answers = answer(small_cart_pole, queries)
    for name in (QUERY, "agent_id", "t"):
        assert answers[name].dtype == queries[name].dtype
    assert answers["t"].tolist() == (queries["t"] + 1).tolist()


def test_a_time_that_its_type_cannot_hold_gets_a_wider_one(
    small_cart_pole: FittedModel, cart_queries: CartQueries
) -> None:
    queries = cart_queries([2])
    queries["t"] = np.array([254, 255], np.uint8)
    assert answer(small_cart_pole, queries)["t"].tolist() == [255, 256]
    queries["t"] = np.array([2**24 - 1, 2**24], np.float32)
    assert answer(small_cart_pole, queries)["t"].tolist() == [2**24, 2**24 + 1]
    half = dataclasses.replace(small_cart_pole, time_step=0.5)
    queries = cart_queries([1]).assign(t=3)
    assert answer(half, queries)["t"].tolist() == [3.5]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_units_and_zones_of_dates_are_kept(
    small_continuous: FittedModel, tanks: pd.DataFrame, unit: str
) -> None:
    for dtype in (f"datetime64[{unit}, {BERLIN}]", f"datetime64[{unit}, UTC]"):
        tanks["when"] = tanks["when"].astype(dtype)
        answers = answer(small_continuous, tanks)
        assert answers["when"].dtype == dtype
    naive = tanks.assign(when=tanks["when"].dt.tz_localize(None))
    assert answer(small_continuous, naive)["when"].dtype == f"datetime64[{unit}]"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2026-01-01 08:00", "2026-01-01 09:00"], ["2026-01-01 09:00", "2026-01-01 10:00"]),
        (["2026-01-01T08:00:00", "2026-01-01T09:00:00"],
         ["2026-01-01T09:00:00", "2026-01-01T10:00:00"]),
        (["2026-01-01T08:00:00+0200", "2026-01-01T09:00:00+0200"],
         ["2026-01-01T09:00:00+0200", "2026-01-01T10:00:00+0200"]),
        (["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"],
         ["2026-10-25T02:00:00+01:00", "2026-10-25T03:00:00+01:00"]),
        (["2026-01-01T08:00Z", "2026-01-01T11:00+02:00"],
         ["2026-01-01T11:00+02:00", "2026-01-01T12:00+02:00"]),
        (["2026-01-01 08:00 +02:00", "2026-01-01 09:00 +02:00"],
         ["2026-01-01 09:00 +02:00", "2026-01-01 10:00 +02:00"]),
    ],
)  # fmt: skip
def test_dates_written_as_text_are_written_so(
    small_continuous: FittedModel, tanks: pd.DataFrame, texts: list[str], expected: list[str]
) -> None:
    queries = tanks.iloc[4:].assign(when=texts)
    assert answer(small_continuous, queries)["when"].tolist() == expected


def test_text_dates_that_cannot_be_written_so_become_dates(
    small_continuous: FittedModel, tanks: pd.DataFrame
) -> None:
    days = dataclasses.replace(small_continuous, time_step=pd.Timedelta("1D"))
    queries = tanks.iloc[4:].assign(when=["2026-01-31", "2026-02-01"])
    assert answer(days, queries)["when"].tolist() == ["2026-02-01", "2026-02-02"]
    objects = queries.assign(when=[datetime.date(2026, 1, 31), datetime.date(2026, 2, 1)])
    assert answer(days, objects)["when"].tolist() == [
        datetime.date(2026, 2, 1), datetime.date(2026, 2, 2)
    ]  # fmt: skip
    half = dataclasses.replace(small_continuous, time_step=pd.Timedelta("20h"))
    last = answer(half, queries)["when"].tolist()[-1]
    assert last == pd.Timestamp("2026-02-01 20:00")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_files_there_and_back(
    small_cart_pole: FittedModel, carts: pd.DataFrame, tmp_path: Path, suffix: str
) -> None:
    carts = carts.replace({QUERY: {"q0": "007", "q1": "08", "q2": "1e5"}})
    write_table(carts, tmp_path / f"q{suffix}")
    read = read_table(tmp_path / f"q{suffix}", ids=[QUERY, "agent_id"])
    answers = answer(small_cart_pole, read, doubt)
    write_table(answers, tmp_path / f"p{suffix}")
    back = read_table(tmp_path / f"p{suffix}", ids=[QUERY, "agent_id"])
    pd.testing.assert_frame_equal(back, answer(small_cart_pole, carts), check_dtype=False)
    assert back[QUERY].unique().tolist() == ["007", "08", "1e5"]


def test_questions_out_of_range_are_answered_and_told_once(
    small_continuous: FittedModel, tanks: pd.DataFrame
) -> None:
    usual = answer(small_continuous, tanks, doubt)
    tanks.loc[1, "in flow"] = 8.0
    tanks.loc[5, "in flow"] = -3.0
    tanks.loc[4, "Temp (°C)"] = 90.0
    heard: list[str] = []
    answers = answer(small_continuous, tanks, heard.append)
    assert list(answers.columns) == list(usual.columns)
    assert answers.notna().to_numpy().all()
    (line,) = [line for line in heard if "outside the range" in line]
    assert line.startswith(
        "1 first state and 2 actions of 2 queries lie outside the range of the data (the "
        "worst, query 20, row 1: 'in flow' is 8, the data has 0"
    )
    assert np.all(answers["support"].to_numpy() <= usual["support"].to_numpy() + 1e-9)
    assert set(answers["basis"][1:]) == {"unsupported"}
    with pytest.raises(InvalidDataError) as error:
        answer(small_continuous, tanks, doubt, strict=True)
    first, second = sorted(error.value.problems)
    assert first.startswith(
        "query 20, row 1 (and 1 more query): the action 'in flow' is out of range: 8; the training"
    )
    assert second.startswith("query 3, row 4: the first state 'Temp (°C)' is out of range: 90; the")


def test_doubts_name_the_query(small_cart_pole: FittedModel, carts: pd.DataFrame) -> None:
    carts.loc[[5, 6], "x"] = [50.0, -60.0]
    heard: list[str] = []
    answers = answer(dataclasses.replace(small_cart_pole, band=None), carts, heard.append)
    assert heard[0].startswith(
        "2 first states of 2 queries lie outside the range of the data (the worst, query 'q2', "
        "row 6: 'x' is -60, the data has "
    )
    assert heard[1].startswith("nothing was held out when the model was fitted")
    assert len(heard) == 2
    assert len(answers) == 9
    with pytest.warns(UserWarning, match="outside the range of the data"):
        answer(small_cart_pole, carts)


def test_predictions_that_diverge_are_told(
    small_cart_pole: FittedModel, carts: pd.DataFrame
) -> None:
    huge = jax.tree.map(lambda leaf: leaf * 1e25, small_cart_pole.members)
    heard: list[str] = []
    broken = answer(dataclasses.replace(small_cart_pole, members=huge), carts, heard.append)
    assert heard == ["query 'q0' and 2 more: the predictions diverge"]
    assert len(broken) == 9
