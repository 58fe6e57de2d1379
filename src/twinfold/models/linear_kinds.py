"""Kinds of linear models of a panel, and how much agents may differ in each.

A linear model (``linear``) has one variance for agents' own levels, one for their slopes of the
state, one for their effects of the action: in units of the noise's variance, and tried.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple, get_args

from twinfold.config import Kind

KINDS: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if kind != "average")
"""From the simplest to the richest.

no change: the state stays as it is.
drift: it changes by the same amount in every step, for all agents.
own drift: every agent has an amount of its own.
pooled: a linear model of state and action, the same for all agents.
levels: the same with a level of each agent's own.
additive: a sum of functions of single columns, straight pieces that are constant beyond the data
    (``ramps``), the same for all agents.
slopes: a linear model in which every agent has coefficients of its own.
additive slopes: those functions, and an agent's own linear deviations from them.

An average of those is the kind "average" (``fit_average``).
"""

WORDS: dict[Kind, str] = {
    "no change": "no change at all",
    "drift": "the same change in every step",
    "own drift": "a constant change of each agent's own",
    "pooled": "one linear model for all agents",
    "levels": "a linear model with levels of the agents' own",
    "additive": "one additive model for all agents",
    "slopes": "a linear model with levels and slopes of the agents' own",
    "additive slopes": "an additive model with levels and slopes of the agents' own",
    "average": "an average of simple models",
}
"""The kinds as a sentence names them."""


@dataclass(frozen=True)
class LinearSettings:
    """Numbers that decide how much agents may differ in a linear model.

    Attributes:
        own: variances of own levels and state slopes that are tried.
        own_action: variances of own effects of the action that are tried.
        apart: times the variance of the levels, that slopes may have.
        wide: variances of levels and state slopes that are tried besides, beyond those of ``own``.
        wide_action: the same of effects of the action.
        further: times the largest of these, tried next where the largest are the best.
        widest: variance at which that ends.
        free: ridge of the intercept.
        folds: of agents, left out in turn.
        most_own: own coefficients of an agent, beyond which it has none but levels.
        most_static: coefficients of static columns, beyond which these move levels alone; columns,
            beyond which they are not read.
        floor: smallest noise, in standard deviations of the target; smallest spread of a ramp.
        ramps: straight pieces of an additive model's function of a column.
        beyond: share of the training rows beyond the outermost piece, at either end.
        any_size: variances of all own coefficients that are tried where it is only asked how much
            noise there is.
        known_rows: transitions of which all that a model reads is known, odd ones and even ones
            each, below which all count alike, whatever is not known of them.
    """

    own: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    own_action: tuple[float, ...] = (0.0, 0.03, 0.3)
    apart: float = 30.0
    wide: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0)
    wide_action: tuple[float, ...] = (0.0, 0.3, 3.0, 30.0)
    further: float = 10.0
    widest: float = 1e9
    free: float = 1e-6
    folds: int = 5
    most_own: int = 48
    most_static: int = 256
    floor: float = 1e-6
    ramps: int = 3
    beyond: float = 0.01
    any_size: tuple[float, ...] = (0.3, 3.0, 30.0, 300.0, 3e3, 3e4, 3e5)
    known_rows: int = 20


LINEAR = LinearSettings()
"""Those of every fit."""


class Ratio(NamedTuple):
    """Differences of agents: variances of own coefficients, in units of the noise's."""

    level: float = 0.0
    state: float = 0.0
    action: float = 0.0
    memory: float = 0.0


ALIKE = Ratio()
"""Agents that do not differ."""


class Part(NamedTuple):
    """One of the models of an average.

    Attributes:
        weight: share of the average; all of them sum to 1.
        kind: of the model.
        ratio: how much agents differ in it.
        memory: whether it reads the steps before the state.
        static: whether it reads static columns.
    """

    weight: float
    kind: Kind
    ratio: Ratio
    memory: bool = False
    static: bool = False


WITH_MEMORY: tuple[Kind, ...] = ("pooled", "levels", "slopes")
"""The kinds that may read the steps before the state as well."""

READS_STATIC: tuple[Kind, ...] = ("levels", "slopes", "additive slopes")
"""The kinds that static columns may move the agents' own coefficients of."""

ADDITIVE: tuple[Kind, ...] = ("additive", "additive slopes")
"""The kinds that are made of ramps."""

OWN_SLOPES: tuple[Kind, ...] = ("slopes", "additive slopes")
"""The kinds in which agents have slopes of their own."""


def ratios(kind: Kind, coarse: bool = False, memory: bool = False) -> list[Ratio]:
    """Return what may be tried for a kind, those that make agents most alike first.

    Args:
        kind: of the linear model.
        coarse: whether a few will do, as where there is much data.
        memory: whether the model reads the steps before the state: what agents make of these
            then differs as much as what they make of the state.
    """
    own = LINEAR.own[1::2] if coarse else LINEAR.own
    if kind in ("own drift", "levels"):
        return [Ratio(level) for level in own]
    if kind in OWN_SLOPES:
        action = LINEAR.own_action[::2] if coarse else LINEAR.own_action
        every = itertools.product(own, own, action)
        found = [Ratio(*each) for each in every if max(each[1:]) <= LINEAR.apart * each[0]]
        found = [each._replace(memory=each.state if memory else 0.0) for each in found]
        return sorted(found, key=sum)
    return [ALIKE]


def wide_ratios(kind: Kind, memory: bool = False) -> list[Ratio]:
    """Return what may be tried where agents differ by more than ``ratios`` says.

    Args:
        kind: of the linear model.
        memory: whether the model reads the steps before the state.
    """
    own = LINEAR.wide
    if kind in ("own drift", "levels"):
        return [Ratio(level) for level in own if level > LINEAR.own[-1]]
    if kind not in OWN_SLOPES:
        return []
    every = [Ratio(*each) for each in itertools.product(own, own, LINEAR.wide_action)]
    ends = LINEAR.own[-1], LINEAR.own[-1], LINEAR.own_action[-1]
    found = [each for each in every if any(v > end for v, end in zip(each, ends, strict=False))]
    found = [each for each in found if max(each[1:]) <= LINEAR.apart * each[0]]
    found = [each._replace(memory=each.state if memory else 0.0) for each in found]
    return sorted(found, key=sum)


def at_the_end(ratio: Ratio) -> bool:
    """Return whether one of the variances is the largest that ``ratios`` has."""
    return (
        ratio.level >= LINEAR.own[-1]
        or ratio.state >= LINEAR.own[-1]
        or ratio.action >= LINEAR.own_action[-1]
    )


def wider(ratio: Ratio) -> list[Ratio]:
    """Return what may be tried where variances are the largest of ``wide_ratios``: larger ones.

    They are raised one by one and all together, what makes agents most alike first. Where there is
    next to no noise, agents differ by any number of times the noise.

    Args:
        ratio: what was the best so far.
    """
    ends = Ratio(LINEAR.wide[-1], LINEAR.wide[-1], LINEAR.wide_action[-1])
    largest = [
        name
        for name in ("level", "state", "action")
        if getattr(ends, name) <= getattr(ratio, name) < LINEAR.widest
    ]
    found = set()
    for names in [*([name] for name in largest), largest]:
        raised = {name: LINEAR.further * getattr(ratio, name) for name in names}
        each = ratio._replace(**raised)
        level = max(each.level, max(each.state, each.action) / LINEAR.apart)
        found.add(each._replace(level=level, memory=each.state if ratio.memory else 0.0))
    return sorted(found - {ratio}, key=sum)
