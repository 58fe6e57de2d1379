"""Expressions over columns, such as ``-(glucose - 110)^2 / 1000 - 0.1*insulin``: text to a tree.

    or          e or e            not         not e
    comparison  < <= > >= == !=, also in a chain (0 < x < 1)
    sum, term   + - * /           power       ^ or **, from the right, before a sign
    call        min max abs exp log where clip
    column      glucose, or `heart rate` or "heart rate" where a name is no identifier
    next.column the value of a state column after the step
    text        'fill', a level of a column of words

The text is parsed here, by recursive descent, and is never evaluated as code. Which columns there
are and what the tree is worth is said in :mod:`twinfold.data.expression_value`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from twinfold.data.table_settings import TABLE
from twinfold.errors import UsageError, one_of
from twinfold.utils.text import clipped


@dataclass(frozen=True)
class ExpressionSettings:
    """Numbers that decide how large an expression may be.

    Attributes:
        characters: the longest text.
        depth: the most brackets, calls and signs in each other.
    """

    characters: int = 2000
    depth: int = 50


EXPRESSION = ExpressionSettings()
"""Those of every expression."""

FUNCTIONS = {"min": (2, 20), "max": (2, 20), "abs": (1, 1), "exp": (1, 1), "log": (1, 1)} | {
    "where": (3, 3),
    "clip": (3, 3),
}
"""The functions, with the least and the most arguments of each."""

CONSTANTS = {"true": 1.0, "false": 0.0}
# What is printed, and pasted, for a mark that is typed.
_TYPED = dict(zip("\u2212\u2013\u00d7\u00b7\u00f7", "--**/", strict=True))
_TYPED |= {"\u2264": "<=", "\u2265": ">=", "\u2260": "!="}
_TYPED |= dict.fromkeys("\u201c\u201d\u201e", '"') | dict.fromkeys("\u2018\u2019", "'")
_COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
_WORDS = ("and", "or", "not", "next")
PLAIN_NAME = re.compile(r"[^\W\d]\w*")
"""Names of columns that need no quotes."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r'|(?P<quoted>`[^`]*`|"[^"]*")'
    r"|(?P<text>'[^']*')"
    r"|(?P<mark>\*\*|<=|>=|==|!=|[-+*/^<>(),.=&|!]))"
)


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True)
class Text:
    """A level of a column of words."""

    value: str
    place: int


@dataclass(frozen=True)
class Name:
    """The value of a column: now, or after the step if ``after``; ``place`` counts from 1."""

    column: str
    after: bool
    place: int
    quoted: bool = False


@dataclass(frozen=True)
class Call:
    """An operation on its arguments: a function, ``+ - * / ^``, a comparison, and, or, not, neg."""

    name: str
    arguments: tuple[Node, ...]
    place: int


Node = Number | Text | Name | Call


def parse(text: str, what: str = "expression") -> Node:
    """Return the tree of an expression.

    Args:
        text: the expression.
        what: what it is, as the beginning of a message: ``--reward``.

    Raises:
        UsageError: it is none; one line with the place, counted from 1.
    """
    return _Parser(text, what).whole()


def quoted(name: str) -> str:
    """Return a name as an expression has it: in quotes if it is no plain word."""
    if PLAIN_NAME.fullmatch(name) and name not in (*_WORDS, *CONSTANTS):
        return name
    mark = "`" if '"' in name else '"'
    return f"{mark}{name}{mark}"


def names_in(node: Node) -> list[Name]:
    """Return the columns that an expression reads, in the order of the text."""
    if isinstance(node, Name):
        return [node]
    parts = node.arguments if isinstance(node, Call) else ()
    return [name for part in parts for name in names_in(part)]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Reads tokens from the left; each method is a rule of the grammar and returns its tree."""

    def __init__(self, text: str, what: str) -> None:
        self.text, self.what, self.depth, self.at = text, what, 0, 0
        if len(text) > EXPRESSION.characters:
            raise UsageError(
                f"{what}: the expression has {len(text)} characters; "
                f"{EXPRESSION.characters} are the most"
            )
        self.tokens = self._tokens()

    def _tokens(self) -> list[_Token]:
        found, place, end = [], 0, len(self.text.rstrip())
        while place < end:
            match = _TOKEN.match(self.text, place)
            if match is None:
                place += len(self.text[place:]) - len(self.text[place:].lstrip())
                mark = self.text[place]
                advice = f"; write {_TYPED[mark]}" if mark in _TYPED else ""
                self.refuse(place + 1, f"{clipped(mark)} means nothing here{advice}")
            kind = str(match.lastgroup)
            found.append(_Token(kind, match[kind], match.start(kind) + 1))
            place = match.end()
        return [*found, _Token("end", "", end + 1)]

    def refuse(self, place: int, why: str) -> NoReturn:
        """Raise the one line of an expression that cannot be read."""
        raise UsageError(f"{self.what}, character {place}: {why}")

    @property
    def next(self) -> _Token:
        return self.tokens[self.at]

    def take(self, *texts: str) -> _Token | None:
        """Return the next token and go on, if it is one of these marks or words."""
        token = self.next
        if token.kind not in ("mark", "name") or token.text not in texts:
            return None
        self.at += 1
        return token

    def expect(self, text: str, where: str) -> None:
        if self.take(text) is None:
            self.refuse(self.next.place, f"{text!r} is missing {where}, not {self.shown()}")

    def shown(self) -> str:
        return clipped(self.next.text) if self.next.kind != "end" else "the end"

    def whole(self) -> Node:
        if self.next.kind == "end":
            self.refuse(1, "the expression is empty")
        node = self.any_of()
        token = self.next
        if token.kind == "end":
            return node
        if token.text in ("=", "&", "|", "!"):
            use = {"=": "==", "&": "and", "|": "or", "!": "not"}[token.text]
            self.refuse(token.place, f"{token.text!r} means nothing; write {use!r}")
        self.refuse(token.place, f"{self.shown()} does not go on from what is before it")

    def any_of(self) -> Node:
        self.depth += 1
        if self.depth > EXPRESSION.depth:
            self.refuse(self.next.place, f"more than {EXPRESSION.depth} brackets in each other")
        node = self.chain(self.all_of, "or")
        self.depth -= 1
        return node

    def chain(self, part: Callable[[], Node], *marks: str) -> Node:
        """Return operations of one rank, from the left; a long chain is one flat call."""
        nodes, first, others = [part()], None, []
        while (token := self.take(*marks)) is not None:
            first = first or token
            others.append(token.text)
            nodes.append(part())
        if first is None:
            return nodes[0]
        return Call(" ".join(others), tuple(nodes), first.place)

    def all_of(self) -> Node:
        return self.chain(self.negation, "and")

    def negation(self) -> Node:
        token = self.take("not")
        if token is None:
            return self.comparison()
        return Call("not", (self.deeper(self.negation),), token.place)

    def deeper(self, part: Callable[[], Node]) -> Node:
        """Return a part that can hold itself."""
        self.depth += 1
        if self.depth > EXPRESSION.depth:
            self.refuse(self.next.place, f"more than {EXPRESSION.depth} signs in each other")
        node = part()
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        return self.chain(self.sum, *_COMPARISONS)

    def sum(self) -> Node:
        return self.chain(self.term, "+", "-")

    def term(self) -> Node:
        return self.chain(self.signed, "*", "/")

    def signed(self) -> Node:
        token = self.take("+", "-")
        if token is None:
            return self.power()
        node = self.deeper(self.signed)
        return node if token.text == "+" else Call("neg", (node,), token.place)

    def power(self) -> Node:
        base = self.atom()
        token = self.take("^", "**")
        if token is None:
            return base
        return Call("^", (base, self.deeper(self.signed)), token.place)

    def atom(self) -> Node:
        token = self.next
        self.at += 1
        match token.kind:
            case "number":
                return self.number(token)
            case "quoted":
                return Name(token.text[1:-1], False, token.place, quoted=True)
            case "text":
                return Text(token.text[1:-1], token.place)
            case "name":
                return self.name(token)
        if token.text == "(":
            node = self.any_of()
            self.expect(")", "at the end of the bracket")
            return node
        self.at -= 1
        self.refuse(token.place, f"a number, a column or a bracket is missing, not {self.shown()}")

    def number(self, token: _Token) -> Number:
        value = float(token.text)
        if value > TABLE.largest:  # or infinite: the nets count in single precision
            most = f"{TABLE.largest:g} is the most"
            self.refuse(token.place, f"{clipped(token.text)} is too large; {most}")
        return Number(value)

    def name(self, token: _Token) -> Node:
        if self.next.text == "(" and self.next.kind == "mark" and token.text not in _WORDS:
            return self.call(token)
        if token.text == "next" and self.take("."):
            column = self.next
            self.at += 1
            if column.kind == "quoted":
                return Name(column.text[1:-1], True, column.place, quoted=True)
            if column.kind == "name":
                return Name(column.text, True, column.place)
            self.refuse(column.place, "'next.' goes before the name of a state column")
        if token.text in ("and", "or", "not"):
            self.refuse(token.place, f"{token.text!r} stands where a value is missing")
        if token.text in CONSTANTS:
            return Number(CONSTANTS[token.text])
        return Name(token.text, False, token.place)

    def call(self, token: _Token) -> Call:
        if token.text not in FUNCTIONS:
            self.refuse(
                token.place, f"there is no function {clipped(token.text)}; {one_of(FUNCTIONS)}"
            )
        self.at += 1
        arguments = [self.any_of()]
        while self.take(","):
            arguments.append(self.any_of())
        self.expect(")", f"at the end of {token.text}(...)")
        least, most = FUNCTIONS[token.text]
        if not least <= len(arguments) <= most:
            count = str(least) if least == most else f"{least} or more"
            self.refuse(
                token.place,
                f"{token.text} takes {count} value{'s' if count != '1' else ''}, "
                f"not {len(arguments)}",
            )
        return Call(token.text, tuple(arguments), token.place)
