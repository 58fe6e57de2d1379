"""Words and records for the choice of a model, of trials made up by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twinfold.config import FitConfig
from twinfold.data.windows import Windows
from twinfold.models.factor_model import Structure
from twinfold.models.linear_kinds import ALIKE, Part
from twinfold.training.folds import Fold
from twinfold.training.selection_record import (
    chosen_lines,
    described,
    held_out_counts,
    held_out_line,
    validation_record,
)
from twinfold.training.trials import Candidate, Trial

NETS = Structure(joint=True, rank=4)
CONFIG = FitConfig(band=0.9)


def fold_of(agent: list[int], length: int = 3) -> Fold:
    count = len(agent)
    held = Windows(
        agent=np.array(agent, np.int32),
        state=np.zeros((count, 2)),
        action=np.zeros((count, length), np.int32),
        next_state=np.zeros((count, length, 2)),
        mask=np.ones((count, length), bool),
    )
    normalizer: Any = SimpleNamespace(state_scale=np.ones(2))
    return Fold(np.zeros(0, np.int32), normalizer, held)


FOLDS = [fold_of([0, 1, 4]), fold_of([1, 4], 2)]


def trial_of(candidate: Candidate, error: float, config: FitConfig = CONFIG) -> Trial:
    paths = [np.full(fold.held.next_state.shape, error) for fold in FOLDS]
    errors = [fold.rmse(own) for fold, own in zip(FOLDS, paths, strict=True)]
    return Trial(candidate, config, paths, errors, np.ones(2))


IDLE = trial_of(Candidate("no change"), 0.5)


def test_what_is_held_out_is_counted_and_said() -> None:
    counts = held_out_counts(FOLDS)
    assert list(counts.values()) == [13, 3, 3, 5, 2]
    assert held_out_line(counts) == (
        "the last 13 transitions of 3 agents are held out, over 2 cuts together, "
        "predicted up to 3 steps ahead"
    )
    assert "places" not in held_out_line(held_out_counts(FOLDS[:1]))
    whole = held_out_counts([FOLDS[0], FOLDS[1]._replace(whole_agents=True)])
    assert held_out_line(whole).startswith(
        "13 transitions of 3 agents are held out, over 2 cuts together, mos"
    )


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (Candidate("drift"), "the same change in every step, no nets"),
        (Candidate(None, NETS, 90, 0.25), "nets with joint features of rank 4, 90 steps, "),
        (Candidate("drift", NETS, 90, 0.25), "the same change in every step, and nets with "),
        (
            Candidate("average", parts=(Part(0.25, "drift", ALIKE), Part(0.75, "pooled", ALIKE))),
            "an average of simple models (one linear model for all agents 75 %; the same change in "
            "every step 25 %), no nets",
        ),
    ],
)
def test_a_candidate_in_words(candidate: Candidate, words: str) -> None:
    assert described(candidate).startswith(words)


def test_few_windows_and_errors_above_no_change_are_warned_of() -> None:
    counts = held_out_counts(FOLDS)
    chosen = trial_of(Candidate(None, NETS, 90, 0.25), 0.7)
    first, tried, few, worse = chosen_lines(chosen, IDLE, 3, counts)
    assert "chosen: nets with joint features" in first
    assert "no change has a mean of 0.5; nets are compared by geometric means)" in first
    assert "3 models, 2 folds" in tried
    assert few.startswith("warning: only 5 held-out windows")
    assert few.endswith("too few for a 90 % band")
    assert worse.startswith("warning: held-out predictions are worse")
    (line,) = chosen_lines(trial_of(Candidate("drift"), 0.1), IDLE, 0, {**counts, "windows": 99})
    assert "chosen: the same change" in line


def test_the_record_holds_the_choice_as_plain_values() -> None:
    short, long = (trial_of(Candidate(None, NETS, steps, 0.25), 9 / steps) for steps in (30, 90))
    # The same nets trained another way are no other length of the chosen ones.
    other = trial_of(Candidate(None, NETS, 50, 0.25), 0.2, FitConfig(band=0.9, batch_size=7))
    tried = [IDLE, short, long, other]
    record = validation_record(FOLDS, held_out_counts(FOLDS), long, IDLE, tried, [])
    assert json.loads(json.dumps(record)) == record
    assert record["by_steps"] == {"30": 0.3, "90": 0.1}
    assert record["rmse"] == 0.1
    assert record["persistence_rmse"] == 0.5
    assert record["rmse_by_horizon"] == [0.1, 0.1, 0.1]
    assert [trial["mean"] for trial in record["trials"]] == [0.5, 0.3, 0.1, 0.2]
    assert [trial["features"] for trial in record["trials"]] == [None, "joint", "joint", "joint"]
