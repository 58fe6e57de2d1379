"""Which column of a stranger's table plays which part, told from names and values.

The pair of agent and time is the one that tells all rows apart, by names and order where there are
several. An action is told by its name, or by being empty in last or first rows. What is left is a
state if it changes within agents, and static if it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from twinfold.data.action_kinds import guess_kind
from twinfold.data.angles import wrap
from twinfold.data.coding import as_words, holds_words
from twinfold.data.columns import as_numbers
from twinfold.data.guess_episode import guess_episode
from twinfold.data.times import as_times
from twinfold.utils.text import clipped

Columns = Mapping[str, pd.Series]

_AGENTS = (
    "account agent animal customer device engine firm household machine member participant pat "
    "patient person plant pump room sensor site store subj subject unit user vehicle"
)
_TIMES = (
    "age cycle date datetime day days hour hours index minute minutes month period quarter second "
    "seconds step t tick time timestamp timestep visit week year"
)
_ACTIONS = (
    "a act action amount amt command control cooling dosage dose heating infusion input insulin "
    "mode rate setpoint steering throttle torque treatment u valve"
)


def _any(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


_NAMES = {
    "agent": rf"{_any(_AGENTS)}s?(?:[ _.-]?(?:id|nr|no|name))?|(?:.*[ _.-])?id|[pu]id|usubjid",
    "time": rf"{_any(_TIMES)}|.*[ _.-](?:time|date|day|hour)",
    "episode": rf"{_any('episode run segment sequence session traj trajectory trial')}(?:_?id)?",
    "reward": "payoff|r|rew|rewards?|utility",
    "terminated": "dead|died|dones?|terminals?|terminated",
    "truncated": "timeouts?|truncated|truncations?",
    "action": rf"{_any(_ACTIONS)}s?(?:[ _.-]?[0-9]+|[ _.-].*)?|.*[ _.-](?:action|dose|rate)",
    "kind of row": "evid|mdv",  # whether a dose or a sample stands there
    "of doses": "cmt|ss|addl|ii",  # beside such a column
    "angle": ".*(?:angle|bearing|direction|heading|phi|pitch|roll|theta|yaw).*",
}
_COLUMNS = ("agent", "time", "state", "action", "episode", "reward", "terminated", "truncated",
            "angle", "static", "exogenous")  # fmt: skip
_PATTERNS = {role: re.compile(pattern, re.IGNORECASE) for role, pattern in _NAMES.items()}


@dataclass(frozen=True)
class RoleGuessSettings:
    """Numbers that decide what a column is taken for.

    Attributes:
        words: distinct words of a column of words, at most.
        named: points of a name for agent or time.
        apart: points of a pair that tells all rows apart; of one that tells most, as many less.
        ordered: points of a pair whose times go up within agents as rows stand.
        several: points of an agent with as many rows as others have, two at the least.
        turn: change between rows, in radians, that is a wrap of an angle.
        tried: columns that are tried as the agent, and as the time; each with each takes long.
    """

    words: int = 50
    named: float = 2.0
    apart: float = 4.0
    ordered: float = 1.0
    several: float = 1.0
    turn: float = 5.0
    tried: int = 100


ROLE_GUESS = RoleGuessSettings()
"""Those of every table."""


class RoleGuesses:
    """What columns are taken for, while it is found out.

    Attributes:
        roles: by role, in the form of a manifest; a role that could not be told is not there.
        why: by column, its role (empty if it has none) and the reason.
        empty: by column of the action, where alone it is empty: ``"first"`` or ``"last"`` rows.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        """Begin with the roles that the user has named."""
        self.given = given
        self.empty: dict[str, str] = {}
        self.roles: dict[str, Any] = dict(given)
        self.why = {
            name: (role, "as given")
            for role, value in given.items()
            if role in _COLUMNS
            for name in ([value] if isinstance(value, str) else value)
        }  # a reward may be an expression: it is no column then

    def take(self, role: str, name: str, reason: str) -> None:
        """Give a column a role, unless the user has named its columns."""
        if role in self.given:
            self.why[name] = ("", f"not among the columns given for {role}")
            return
        self.why[name] = (role, reason)
        if role in ("state", "action", "static", "exogenous"):
            self.roles[role] = [*self.roles.get(role, []), name]
        else:
            self.roles[role] = name

    def open(self, columns: Columns) -> list[str]:
        """Return the columns of which nothing is said yet."""
        return [name for name in columns if name not in self.why]


def guess_roles(columns: Columns, given: Mapping[str, Any]) -> RoleGuesses:
    """Return roles for the columns of a table.

    Args:
        columns: by name, their values read by the format of the table.
        given: roles that the user has named; they are kept.
    """
    found = RoleGuesses(given)
    found.why = {name: why for name, why in found.why.items() if name in columns}
    of_doses = any(_PATTERNS["kind of row"].fullmatch(name) for name in columns)
    for name in found.open(columns):
        if name.startswith("Unnamed") or name in ("", "rownames"):
            found.why[name] = ("", "numbers of rows")
        elif _PATTERNS["kind of row"].fullmatch(name):
            found.why[name] = ("", "says whether a dose or a sample stands in a row")
        elif _PATTERNS["of doses"].fullmatch(name) and of_doses:
            more = name.lower() in ("addl", "ss") and (as_numbers(columns[name]).values > 0).any()
            found.why[name] = ("", "doses that it adds need rows of their own" if more
                               else "says more of the doses")  # fmt: skip
    for role in ("reward", "terminated", "truncated", "episode"):
        names = (n for n in found.open(columns) if _PATTERNS[role].fullmatch(n))
        if role not in given and (name := next(names, None)) is not None:
            found.take(role, name, "by its name")
    _agent_and_time(found, columns)
    if not {"agent", "time"} <= set(found.roles):
        return found
    if "episode" not in found.roles:
        agent, time = found.roles["agent"], found.roles["time"]
        names = [n for n in found.open(columns) if not _PATTERNS["action"].fullmatch(n)]
        if (name := guess_episode(columns, names, agent, time)) is not None:
            why = f"times of {agent!r} come back without it; if it is part of the id, join the two"
            found.take("episode", name, why)
    rows = _Sorted(columns, found.roles)
    for name in found.open(columns):
        if (reason := _of_no_use(name, columns[name])) is not None:
            found.why[name] = ("", reason)
    for role, name in (("state", "DV"), ("action", "AMT")) if of_doses else ():
        if role not in given and name in found.open(columns):
            found.take(role, name, "by its name, in a table of doses and samples")
    if "action" not in given and not found.roles.get("action"):
        stated = bool(found.roles.get("state"))
        for name, reason in list(_actions(found.open(columns), columns, rows, stated)):
            found.take("action", name, reason)
    for name in found.open(columns):
        values = rows.of(columns[name])
        if rows.constant(values):
            found.take("static", name, "the same in all rows of an agent")
        elif rows.common(values):
            found.take("exogenous", name, "the same for all agents at a time")
        elif holds_words(columns[name]):
            found.why[name] = ("", "words that change within agents: an action, or exogenous?")
        else:
            found.take("state", name, "a number that changes within agents")
    _settings(found, columns, rows)
    return found


class _Sorted:
    """The rows sorted by agent, episode and time.

    Attributes:
        order: ``(R,)``.
        agent: ``(R,)``, sorted codes.
        time: ``(R,)``, sorted.
        same: ``(R - 1,)``, whether the next row is of the same trajectory.
    """

    def __init__(self, columns: Columns, roles: Mapping[str, Any]) -> None:
        agent = pd.factorize(columns[roles["agent"]])[0].astype(np.int64)
        whose = agent
        if roles.get("episode"):
            episode = pd.factorize(columns[roles["episode"]])[0]
            whose = agent * (episode.max() + 2) + episode
        time = as_times(columns[roles["time"]]).ticks
        self.order = np.lexsort((time, whose))
        self.agent, self.time = agent[self.order], time[self.order]
        self.same = np.diff(whose[self.order]) == 0

    def of(self, series: pd.Series) -> Any:
        """A column's numbers, sorted; of words their codes."""
        if holds_words(series):
            code = as_words(series).code.astype(np.float64)
            return np.where(code < 0, np.nan, code)[self.order]
        return as_numbers(series).values[self.order]

    def constant(self, values: Any) -> bool:
        """Whether values are the same in all rows of each agent, where there are any."""
        groups = pd.Series(values).groupby(self.agent)
        low, high, count = (np.asarray(x) for x in (groups.min(), groups.max(), groups.count()))
        return bool(np.all((low == high) | (count == 0)))

    def common(self, values: Any) -> bool:
        """Whether values are the same for all agents at each time, and several have the same."""
        frame = pd.DataFrame({"time": self.time, "value": values}).dropna()
        groups = frame.groupby("time")["value"]
        shared = groups.size().max() > 1 if len(frame) else False
        return bool(shared) and bool(np.all(np.asarray(groups.max()) == np.asarray(groups.min())))

    def empty_at(self, values: Any) -> str | None:
        """Return ``"last"`` or ``"first"`` if a column is empty there in trajectories, only."""
        null = np.isnan(values)
        last, first = np.r_[~self.same, True], np.r_[True, ~self.same]
        for name, ends in (("last", last), ("first", first)):
            if np.array_equal(null, ends):
                return name
        return None


def _agent_and_time(found: RoleGuesses, columns: Columns) -> None:
    """Take the pair of columns that is the likeliest."""
    agents = [found.roles["agent"]] if "agent" in found.roles else found.open(columns)
    times = [found.roles["time"]] if "time" in found.roles else found.open(columns)
    spans = {name: as_times(columns[name]) for name in times}
    unread = [name for name in times if (spans[name].bad | spans[name].null).any()]
    times = [name for name in times if name not in unread]
    codes = {name: pd.factorize(columns[name])[0].astype(np.int64) for name in agents}
    no_agents = _usual("time", unread)
    agents = [name for name in agents if _may_be_agent(name, columns[name], codes[name])]
    agents = [name for name in agents if name not in no_agents or "agent" in found.roles]
    agents, times = _likeliest("agent", agents), _likeliest("time", times)
    best: tuple[float, str, str, str] | None = None
    episode = found.roles.get("episode")
    extra = np.zeros(len(next(iter(columns.values()))), np.int64)
    if episode:
        extra = pd.factorize(columns[episode])[0].astype(np.int64)
    for agent, time in product(agents, times):
        if agent == time:
            continue
        score, reasons, may_be = _pair(agent, time, codes[agent], extra, spans[time].ticks)
        if (may_be or "time" in found.roles) and (best is None or score > best[0]):
            best = score, agent, time, reasons
    if best is not None:
        _, agent, time, reasons = best
        if "agent" not in found.roles:
            found.take("agent", agent, reasons)
        if "time" not in found.roles:
            found.take("time", time, f"with {agent!r}")
        return
    # A part alone may be told by its name: the other one is asked for, or times cannot be read.
    usual = _usual("agent", agents), _usual("time", times) or no_agents
    for role, names in zip(("agent", "time"), usual, strict=True):
        if role not in found.roles and names:
            found.take(role, names[0], "by its name")


def _usual(role: str, names: list[str]) -> list[str]:
    """Return the columns that have a usual name for a role."""
    return [name for name in names if _PATTERNS[role].fullmatch(name)]


def _likeliest(role: str, names: list[str]) -> list[str]:
    """Return the columns, or of very many those with a usual name and the first others."""
    first = sorted(names, key=lambda name: _PATTERNS[role].fullmatch(name) is None)
    return names if len(names) <= ROLE_GUESS.tried else first[: ROLE_GUESS.tried]


def _may_be_agent(name: str, series: pd.Series, codes: Any) -> bool:
    """Whether a column may hold ids: text or whole numbers, several rows for each."""
    if (codes < 0).any() or codes.max() + 1 > len(codes) / 2:
        return False
    numbers = as_numbers(series)
    if numbers.bad.any():
        return True
    whole = bool(np.all(numbers.values == np.floor(numbers.values)))
    return whole and (codes.max() > 0 or bool(_PATTERNS["agent"].fullmatch(name)))


def _pair(agent: str, time: str, codes: Any, episode: Any, ticks: Any) -> tuple[float, str, bool]:
    """Return points for a pair of columns, what they are for, and whether the time may be one.

    One without a usual name tells all rows apart, and goes up within agents or is no amount.
    """
    score, reasons = 0.0, []
    whose = codes * (episode.max() + 2) + episode
    order = np.lexsort((ticks, whose))
    same = np.diff(whose[order]) == 0
    twice = np.mean(same & (np.diff(ticks[order]) == 0)) if same.any() else 1.0
    score += ROLE_GUESS.apart * float(1 - twice)
    if twice == 0:
        reasons.append("together they tell all rows apart")
    kept = np.argsort(whose, kind="stable")
    ordered = bool((np.diff(ticks[kept])[np.diff(whose[kept]) == 0] > 0).all())
    if ordered:
        score += ROLE_GUESS.ordered
        reasons.append("times go up within each")
    for role, name in (("agent", agent), ("time", time)):
        if _PATTERNS[role].fullmatch(name):
            score += ROLE_GUESS.named
            reasons.append(f"{name!r} is a usual name")
    counts = np.bincount(codes)
    score += ROLE_GUESS.several * float(counts.min() / counts.max())
    told_apart = twice == 0 and (ordered or bool(np.all(ticks == np.floor(ticks))))
    may_be = bool(_usual("time", [time])) or (told_apart and not _usual("agent", [time]))
    return score, ", ".join(reasons) or "none fits better", may_be


def _of_no_use(name: str, series: pd.Series) -> str | None:
    """Return why a column has no part, if it has none."""
    numbers = as_numbers(series)
    if numbers.null.all():
        return "it is empty"
    if holds_words(series):
        levels = as_words(series).levels
        count = len(levels)
        if count == 1:
            return f"constant ({levels[0]})"
        return None if 1 < count <= ROLE_GUESS.words else f"{count} different words"
    if numbers.bad.any():
        value = series.iloc[int(np.argmax(numbers.bad))]
        return f"text among numbers, such as {clipped(value)}"
    values = numbers.values[~numbers.null]
    given_or_not = numbers.null.any() and _PATTERNS["action"].fullmatch(name)  # one dose, or none
    if values.min() == values.max() and not given_or_not:
        return f"constant ({values[0]:g})"
    if len(values) == len(series) and np.all(np.diff(numbers.values) == 1):
        return "numbers of rows"
    return None


def _actions(
    names: list[str], columns: Columns, rows: _Sorted, stated: bool
) -> Iterator[tuple[str, str]]:
    """Yield the columns of the action: those that are empty at ends, else by name.

    Args:
        names: of the columns that may be.
        columns: by name.
        rows: sorted.
        stated: whether there is a state already.
    """
    empty = {name: rows.empty_at(rows.of(columns[name])) for name in names}
    at_ends = {name: where for name, where in empty.items() if where is not None}
    if at_ends:
        yield from ((n, f"empty in the {w} row of each trajectory") for n, w in at_ends.items())
        return
    by_name, others = [], False
    for name in names:
        values = rows.of(columns[name])  # one dose in some rows, none in others, is no constant
        there_or_not, constant = bool(np.isnan(values).any()), rows.constant(values)
        if _PATTERNS["action"].fullmatch(name) and (there_or_not or not constant):
            by_name.append(name)
        elif not (constant or rows.common(values) or holds_words(columns[name])):
            others = True
    if others or stated:  # a column alone that changes is what there is to predict
        yield from ((name, "by its name") for name in by_name)


def _settings(found: RoleGuesses, columns: Columns, rows: _Sorted) -> None:
    """Add what is told of states and actions: the action's type, and angles."""
    roles, given = found.roles, found.given
    actions = [roles["action"]] if isinstance(roles.get("action"), str) else roles.get("action", [])
    states = [roles["state"]] if isinstance(roles.get("state"), str) else roles.get("state", [])
    if actions and "action_type" not in given:
        kinds = [guess_kind(columns[name]) for name in actions]
        roles["action_type"] = kinds[0] if len(set(kinds)) == 1 else kinds
    for name in actions:
        if name in columns and (where := rows.empty_at(rows.of(columns[name]))) is not None:
            found.empty[name] = where
    if "angle" not in given:
        angles = [name for name in states if _is_angle(name, rows.of(columns[name]), rows)]
        if angles:
            roles["angle"] = angles


def _is_angle(name: str, values: Any, rows: _Sorted) -> bool:
    """Whether a column is named like an angle and wraps around within one turn."""
    if not _PATTERNS["angle"].fullmatch(name):
        return False
    change = np.diff(values)[rows.same]
    jumps = np.abs(change) > ROLE_GUESS.turn
    return bool(jumps.any() and np.all(np.abs(wrap(change[jumps])) < ROLE_GUESS.turn / 2))
