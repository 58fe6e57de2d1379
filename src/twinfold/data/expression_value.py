"""What an expression over columns is worth: names checked against a panel's columns, and values.

Numbers and conditions mix as in a spreadsheet: a condition is 1 or 0, and a number counts as true
unless it is 0. The same tree gives values in NumPy, over a whole table, and in JAX, inside compiled
code.

A row, as an expression reads it, is its state and, if the expression reads any of them, what goes
beside it: the agent's static columns and then its exogenous ones, both coded (``data.coding``).

Axes: D state columns, A continuous action columns, C static and E exogenous columns as coded.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from twinfold.data.actions import ActionCode
from twinfold.data.expression import (
    PLAIN_NAME,
    Call,
    Name,
    Node,
    Number,
    Text,
    names_in,
    parse,
    quoted,
)
from twinfold.data.ids import did_you_mean
from twinfold.data.levels import Levels, coded_places
from twinfold.data.roles import Roles
from twinfold.errors import UsageError
from twinfold.utils.text import clipped, listed

Purpose = Literal["reward", "terminated", "forbidden"]
_OPERATION = re.compile(r"[-+*/^<>=(]|\b(?:and|or|not)\b")  # tells an expression from a name
_ORDER: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """An expression that fits the columns of a panel or model.

    Equal texts over equal columns are equal, so that compiled code is shared.

    Attributes:
        text: as the user wrote it.
        code: of the actions.
        node: its tree, with levels in words replaced by their numbers.
        levels: of the static and exogenous columns that are words, with their names.
    """

    text: str
    code: ActionCode
    node: Node
    levels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __call__(self, state: Any, level: Any, amount: Any, next_state: Any, xp: Any = np) -> Any:
        """Return the value, ``(...)``.

        Args:
            state: ``(..., D)`` raw units; ``(..., D + C + E)`` if it ``reads_beside``.
            level: ``(...)``, index of the action's level; None without discrete columns.
            amount: ``(..., A)``, its continuous columns, raw units; None without any.
            next_state: likewise.
            xp: NumPy or ``jax.numpy``.
        """

        def column(name: Name) -> Any:
            roles = self.code.roles
            row = next_state if name.after else state
            if name.column in roles.state:
                return row[..., roles.state.index(name.column)]
            if name.column in (*roles.static, *roles.exogenous):
                return self._beside(name.column, row, xp)
            i, (discrete, continuous) = roles.action.index(name.column), self.code.places
            if i in continuous:
                return amount[..., continuous.index(i)]
            return xp.asarray(level_values(self.code, discrete.index(i)), xp.float32)[level]

        return _value(self.node, column, xp)

    def _beside(self, column: str, row: Any, xp: Any) -> Any:
        """Return the value of a static or exogenous column; of words the number of the level."""
        roles, levels = self.code.roles, dict(self.levels)
        place = dict(coded_places((*roles.static, *roles.exogenous), levels))[column]
        first = len(roles.state)
        own = row[..., first + place.start : first + place.stop]
        if column not in levels:
            return own[..., 0]
        # A word that was never seen is none of the levels.
        return xp.where(own.max(axis=-1) > 0.5, own.argmax(axis=-1), -1)

    @property
    def reads_beside(self) -> bool:
        """Whether it reads static or exogenous columns."""
        roles = self.code.roles
        return bool(reads(self) & {*roles.static, *roles.exogenous})


def bind(
    text: str,
    code: ActionCode,
    what: str = "expression",
    purpose: Purpose = "reward",
    levels: Levels | None = None,
) -> Expression:
    """Return an expression whose names are columns.

    Args:
        text: the expression.
        code: of the actions; its roles name the columns.
        what: what it is, as the beginning of a message: ``--reward``.
        purpose: ``"reward"`` of a step; ``"terminated"``, of the state that a step leads to;
            ``"forbidden"``, of an action.
        levels: of the static and exogenous columns that are words.

    Raises:
        UsageError: it cannot be read, or a name is no column; one line with the place.
    """
    own = tuple((name, tuple(words)) for name, words in (levels or {}).items())
    try:
        node = _Binder(code, what, purpose, own).bound(parse(text, what))
    except UsageError as error:
        words = [word for i in range(len(code.places[0])) for word in _words(code, i)]
        names = [*code.roles.columns, *words, *(word for _, words in own for word in words)]
        raise UsageError(f"{error}{_quotes_missing(text, names)}") from None
    return Expression(text, code, node, own)


def _quotes_missing(text: str, names: Iterable[str]) -> str:
    """Return the end of a message on an expression in which a name lacks its quotes, or nothing."""
    rest = re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'", " ", text)
    for name in sorted(names, key=len, reverse=True):
        if name.strip() in rest and name.strip() and not PLAIN_NAME.fullmatch(name):
            return f" (a name that is no plain word goes in quotes: {clipped(quoted(name))})"
    return ""


def level_values(code: ActionCode, place: int) -> tuple[float, ...]:
    """Return the number of every level's value of a discrete column: its own, or that of a word."""
    values = [level[place] for level in code.levels]
    words = _words(code, place)
    return tuple(float(words.index(v)) if isinstance(v, str) else float(v) for v in values)


def _words(code: ActionCode, place: int) -> list[str]:
    """Return the distinct words of a discrete column, in the order of their numbers."""
    values = (level[place] for level in code.levels)
    return list(dict.fromkeys(value for value in values if isinstance(value, str)))


@dataclass(frozen=True)
class _Binder:
    """Checks names and words of a tree."""

    code: ActionCode
    what: str
    purpose: Purpose
    levels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def refuse(self, place: int, why: str) -> UsageError:
        return UsageError(f"{self.what}, character {place}: {why}")

    def bound(self, node: Node) -> Node:
        """Return the tree with levels in words replaced by their numbers."""
        if isinstance(node, Text):
            raise self.refuse(
                node.place,
                f"the text {clipped(node.value)} can only be compared (== or !=) with a column of "
                "words",
            )
        if isinstance(node, Name):
            self.check(node)
            if self.words(node):
                raise self.refuse(
                    node.place,
                    f"column {node.column!r} holds words; compare it, as in "
                    f"{quoted(node.column)} == '{self.words(node)[0]}'",
                )
        if not isinstance(node, Call):
            return node
        operators = node.name.split()
        if set(operators) <= {"==", "!="} and len(node.arguments) == 2:
            column = next((a for a in node.arguments if self.words(a)), None)
            if column is not None:
                both = tuple(self.of_words(part, column) for part in node.arguments)
                return Call(node.name, both, node.place)
        return Call(node.name, tuple(map(self.bound, node.arguments)), node.place)

    def words(self, node: Node) -> list[str]:
        """Return the words of a column; none if it is another or holds numbers."""
        action = self.code.roles.action
        if isinstance(node, Name) and node.column in dict(self.levels):
            return list(dict(self.levels)[node.column])
        if not isinstance(node, Name) or node.column not in action:
            return []
        discrete = self.code.places[0]
        place = action.index(node.column)
        return _words(self.code, discrete.index(place)) if place in discrete else []

    def of_words(self, node: Node, column: Node) -> Node:
        """Return one side of a comparison of words as a number, or the column itself."""
        assert isinstance(column, Name)
        known = self.words(column)
        if isinstance(node, Name) and self.words(node):
            self.check(node)
            if self.words(node) != known:
                raise self.refuse(node.place, f"{node.column!r} has other words")
            return node
        word = node.value if isinstance(node, Text) else None
        place = node.place if isinstance(node, Text | Name | Call) else column.place
        if isinstance(node, Name) and (node.quoted or node.column in known):
            word = node.column
        if word not in known:
            told = f"{clipped(word)} is none of them" if word is not None else "give one of them"
            raise self.refuse(
                place, f"column {column.column!r} holds words, {told}: {listed(known)}"
            )
        return Number(float(known.index(word)))

    def check(self, name: Name) -> None:
        """Refuse a name that is no column, or not one for this purpose."""
        roles = self.code.roles
        beside = (*roles.exogenous, *roles.static)
        own = {"reward": (*roles.state, *roles.action), "terminated": roles.state}
        known = (*own.get(self.purpose, roles.action), *beside)
        if name.after and name.column in (*roles.action, *roles.static):
            part = "an action" if name.column in roles.action else "static"
            raise self.refuse(
                name.place,
                f"{name.column!r} is {part}: only states and exogenous columns have a next value",
            )
        if name.after and self.purpose == "forbidden" and name.column in roles.exogenous:
            raise self.refuse(
                name.place, f"an action is forbidden by the row that it is taken in: {name.column}"
            )
        if name.column in known:
            return
        if name.column in roles.action:
            raise self.refuse(
                name.place,
                f"{name.column!r} is an action: whether an episode ends depends on the state; "
                f"columns that count here: {listed(list(known))}",
            )
        if name.column in roles.state:
            reason = (
                f"{name.column!r} is a state: an action is forbidden by its own columns and by "
                "what is known beforehand"
            )
        elif name.column in roles.columns:
            part = next(role for column, role in roles.items() if column == name.column)
            reason = f"{name.column!r} is the {part} column, which a simulator does not predict"
        else:
            reason = f"there is no column {clipped(name.column)}"
        hint = did_you_mean(name.column, known, "columns that count here")
        raise self.refuse(name.place, f"{reason}.{hint}")


def with_expressions(roles: Roles, columns: Iterable[Any]) -> Roles:
    """Return roles in which a reward or end that is no column, but an expression, is one.

    Args:
        roles: the user's.
        columns: names of the table's columns.

    Raises:
        UsageError: a text in place of a column can be read as neither.
    """
    there = {str(column) for column in columns}
    changes: dict[str, Any] = {}
    for role in ("reward", "terminated"):
        text = getattr(roles, role)
        if text is None or text in there or not _OPERATION.search(text):
            continue
        try:
            node = parse(text, role)
        except UsageError as error:
            raise UsageError(f"{error}{_quotes_missing(text, there)}") from None
        if isinstance(node, Call):
            changes |= {role: None, f"{role}_expression": text}
    return roles.model_copy(update=changes) if changes else roles


def expression_problems(code: ActionCode, levels: Levels) -> Iterator[str]:
    """Yield a line for each expression of the roles that cannot be read.

    Args:
        code: of the actions.
        levels: of the static and exogenous columns that are words.
    """
    for purpose in ("reward", "terminated"):
        text = getattr(code.roles, f"{purpose}_expression")
        try:
            if text is not None:
                bind(text, code, f"the {purpose} of the roles", purpose, levels)
        except UsageError as error:
            yield str(error)


def reads(expression: Expression) -> set[str]:
    """Return the columns that an expression reads."""
    return {name.column for name in names_in(expression.node)}


def _value(node: Node, column: Callable[[Name], Any], xp: Any) -> Any:
    """Return the value of a tree."""
    if isinstance(node, Number):
        return node.value
    if isinstance(node, Name):
        return column(node)
    assert isinstance(node, Call), "texts are numbers by now"
    given = [_value(part, column, xp) for part in node.arguments]
    names = node.name.split()
    if names[0] in _CHAINS:
        return _chain(names, given, xp)
    return _CALLS[node.name](xp, *given)


_CHAINS = {"+", "-", "*", "/", "and", "or", *_ORDER}


def _chain(names: list[str], given: list[Any], xp: Any) -> Any:
    """Return operations of one rank, from the left; comparisons in a chain all have to hold."""
    if names[0] in _ORDER:
        pairs = zip(names, given, given[1:], strict=False)
        return functools.reduce(xp.logical_and, [_ORDER[n](a, b) for n, a, b in pairs])
    total = _number(given[0], xp) if names[0] not in ("and", "or") else given[0]
    for name, value in zip(names, given[1:], strict=True):
        match name:
            case "and":
                total = xp.logical_and(_condition(total), _condition(value))
            case "or":
                total = xp.logical_or(_condition(total), _condition(value))
            case "+":
                total = total + _number(value, xp)
            case "-":
                total = total - _number(value, xp)
            case "*":
                total = total * _number(value, xp)
            case _:
                total = total / _number(value, xp)
    return total


def _condition(value: Any) -> Any:
    return value != 0


def _number(value: Any, xp: Any) -> Any:
    """Return a condition as 1 or 0, and a number as an array: 1 / 0 is infinite then."""
    return xp.asarray(value) * 1.0


_CALLS: dict[str, Callable[..., Any]] = {
    "neg": lambda xp, x: -_number(x, xp),
    "not": lambda xp, x: xp.logical_not(_condition(x)),
    "^": lambda xp, x, y: _power(_number(x, xp), y, xp),
    "min": lambda xp, *xs: functools.reduce(xp.minimum, [_number(x, xp) for x in xs]),
    "max": lambda xp, *xs: functools.reduce(xp.maximum, [_number(x, xp) for x in xs]),
    "abs": lambda xp, x: xp.abs(_number(x, xp)),
    "exp": lambda xp, x: xp.exp(_number(x, xp)),
    "log": lambda xp, x: xp.log(_number(x, xp)),
    "where": lambda xp, c, x, y: xp.where(_condition(c), _number(x, xp), _number(y, xp)),
    "clip": lambda xp, x, low, high: xp.minimum(xp.maximum(_number(x, xp), low), high),
}


def _power(base: Any, exponent: Any, xp: Any) -> Any:
    """Return a power; a small whole exponent is multiplied out, exact for a negative base."""
    if isinstance(exponent, float) and exponent in (1.0, 2.0, 3.0, 4.0):
        return functools.reduce(operator.mul, [base] * int(exponent))
    return xp.power(base, _number(exponent, xp))
