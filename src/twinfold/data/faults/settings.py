"""Numbers that decide what is told of a table as probably wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultSettings:
    """Numbers from which on a fault is named.

    Attributes:
        fewest_rows: rows of three that follow each other, below which nothing is said of
            alignment.
        rows_per_column: rows for every column of a regression, at the least.
        most_rows: rows that a regression is made of; of more, so many are drawn.
        ridge: of a regression on standardised columns, as a share of the rows.
        noise: share of its variance below which the rest of a column is rounding.
        gain: by how much the logarithm of the error, summed over columns, must be less with
            actions moved than as they stand.
        far_gain: the same of moves by more than a row and of single columns: slow inputs gain
            something anywhere.
        certain: the same times half the rows, a likelihood ratio.
        worked: the likelihood ratio of late actions having been at work in the present state.
        own: share of an action's variance that the present state must leave open.
        neighbours: rows among which nearest neighbours are looked for.
        apart: rows of a trajectory within which none is a neighbour of another.
        follows: share of an action's variance between neighbours, below which it is a function of
            the state.
        other_gain: share of that gain that may be had by moving them the other way, or less far.
        most_shift: rows that actions or rewards may be late or early by; at most three.
        steady: share of the gain in one half of the rows that there must be in the other, of
            actions moved by more than a row.
        reward_left: share of a reward's error that is left when it is moved, at most.
        reward_known: share of its variance that is then explained, at the least.
        levels: of a discrete action that have an effect of their own in a regression.
        sentinel_times: occurrences of a number that stands for no value, at the least.
        sentinel_gap: its distance from all others, in ranges of these: of one known to be used so.
        sentinel_once: the same of one that is there once.
        sentinel_beside: different values beside one that is there once, at the least.
        most_sentinels: of a column, that are named.
        nine: a level that stands for none recorded, above a few that count from 0 or 1.
        constant_gap: the same of any other number.
        zero_gap: the same of 0, in a state.
        zero_tail: share of the other values that may be on the smaller side of a 0 amid them.
        constant_beside: different values beside one, at the least.
        constant_share: share of the rows that one may make up.
        repeated: occurrences of a number within the range of a column that otherwise has few twice.
        repeated_share: share of the rows that they make up at the least.
        at_limit: how near to an end of the column's range a number is the end, in ranges.
        distinct_share: share of the other rows that must be unlike each other.
        scattered: their distance from each other, as a share of what it is if they are anywhere.
        in_runs: share of the zeros far from all else that follow another after the same number of
            rows, from which on they are a state of its own and not a value that is missing.
        rhythm: that number of rows, at most: a week.
        same_gap: gaps over the same days of the week, or from the same time of the day to that of
            the next, from which on they are said to be such.
        same_gap_share: share of the gaps that they make up at the least.
        handful: rows on which the variation of an action rests.
        handful_of: rows that there must be for that to be said.
        handful_share: share of the squared deviations that they make up.
    """

    fewest_rows: int = 60
    rows_per_column: int = 8
    most_rows: int = 50_000
    ridge: float = 1e-6
    noise: float = 1e-9
    gain: float = 0.02
    far_gain: float = 0.3
    certain: float = 12.0
    worked: float = 8.0
    own: float = 0.02
    neighbours: int = 1000
    apart: int = 5
    follows: float = 0.2
    other_gain: float = 0.5
    most_shift: int = 3
    steady: float = 0.2
    reward_left: float = 0.5
    reward_known: float = 0.5
    levels: int = 20
    sentinel_times: int = 2
    sentinel_gap: float = 0.5
    sentinel_once: float = 10.0
    sentinel_beside: int = 5
    most_sentinels: int = 3
    nine: float = 9.0
    constant_gap: float = 1.0
    zero_gap: float = 0.4
    zero_tail: float = 0.05
    constant_beside: int = 10
    constant_share: float = 0.4
    repeated: int = 5
    repeated_share: float = 0.02
    at_limit: float = 1e-4
    distinct_share: float = 0.9
    scattered: float = 0.2
    in_runs: float = 0.5
    rhythm: int = 7
    same_gap: int = 3
    same_gap_share: float = 0.5
    handful: int = 5
    handful_of: int = 50
    handful_share: float = 0.95


FAULTS = FaultSettings()
"""Those of every table."""
