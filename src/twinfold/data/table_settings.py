"""Numbers that decide how a table is read: what is one step, one level, one value."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TableSettings:
    """Numbers from which on a table is told what may be wrong with it.

    Attributes:
        common_step: share of the differences in time that the most common one must make up to be
            the time step; below, it is their median.
        step_digits: digits to which differences in time are the same.
        joined_from: time steps between consecutive rows of a trajectory, more than this.
        joined_to: time steps between consecutive rows of a trajectory, less than this.
        uneven_from: share of the steps that are no usual one from which on times are uneven.
        fewest_uneven: such steps, at the least, beside a common one.
        fewest_irregular: likewise, where there is no common one, or where they are many.
        mostly_uneven: share of steps that are no usual one, from which on a few of them will do.
        many_uneven: share of the steps from which on they are many.
        longest: usual steps, or median ones if these are longer, between two rows of one
            trajectory, at the most, where times are uneven.
        largest: size of the largest number that single precision holds, with a margin.
        smallest: difference within a column from which on single precision holds it.
        same_static: share of a static value by which the same value may differ.
        missing_actions: share of the transitions without an action, from which on that is a
            problem: blanks that stand for none taken are no rare exceptions.
        many_levels: distinct discrete actions, beyond which they may be amounts.
        most_words: levels of a column of words, at the most.
        most_levels: of levels in words, or of several columns, beyond which they are refused.
        fewest_actions: transitions below which nothing is said of levels taken once.
        single_levels: levels taken once, of which it is said; where there are more, they are
            amounts or labels.
        far_angle: size that no angle in radians has that wraps around within one turn.
        turn_from: smallest difference within one step, in degrees, that is a wrap: a full turn less
            a move of 60 degrees.
        turn_to: largest one.
        rounding: of an answer's times, in time steps, that the user's own type of column may cost.
        copies: of a table in memory while it is checked, at the least; a larger one is refused.
        read_at_once: bytes of a Parquet file that are read before it is looked at whether they,
            and what was read before, are too many.
        carried_runs: runs of equal values below which nothing is said of a column carried forward.
        carried_length: rows of the usual run of equal values, from which on a column seems carried
            forward.
        carried_share: share of its rows that repeat the row before, at the least.
        carried_distinct: share of the runs whose values are distinct, at the least; of levels that
            come back it is small.
        head: bytes of a text file that are read where the names of its columns are wanted only.
    """

    common_step: float = 0.2
    step_digits: int = 5
    joined_from: float = 0.5
    joined_to: float = 1.5
    uneven_from: float = 0.1
    fewest_uneven: int = 20
    fewest_irregular: int = 5
    mostly_uneven: float = 0.5
    many_uneven: float = 0.25
    longest: float = 30.0
    largest: float = 1e30
    smallest: float = 1e-30
    same_static: float = 1e-6
    missing_actions: float = 0.5
    many_levels: int = 100
    most_words: int = 64
    most_levels: int = 500
    fewest_actions: int = 10
    single_levels: int = 10
    far_angle: float = 4 * math.pi
    turn_from: float = 300.0
    turn_to: float = 360.0
    rounding: float = 1e-3
    copies: int = 4
    read_at_once: int = 2**27
    carried_runs: int = 10
    carried_length: float = 3.0
    carried_share: float = 0.6
    carried_distinct: float = 0.5
    head: int = 2**20


TABLE = TableSettings()
"""Those of every table."""
