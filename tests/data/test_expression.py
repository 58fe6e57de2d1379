"""Expressions over columns: what they are worth, and what is said of those that cannot be read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from twinfold.data.actions import ActionCode
from twinfold.data.expression import EXPRESSION, names_in, parse, quoted
from twinfold.data.expression_value import Expression, bind, with_expressions
from twinfold.data.roles import Roles
from twinfold.errors import UsageError

ROLES = Roles(
    agent="id",
    time="t",
    state=("x", "heart rate"),
    action=("mode", "u", "valve"),
    action_type=("discrete", "continuous", "discrete"),
    reward="r",
    levels=(("fill", 0), ("drain", 1), ("fill", 1)),
)
CODE = ActionCode(ROLES, ROLES.levels)
STATE, NEXT = np.array([[1.5, -2.0], [0.5, 3.0]]), np.array([[2.5, -1.0], [0.25, 8.0]])
LEVEL, AMOUNT = np.array([0, 1]), np.array([[0.1], [4.0]])


def value(text: str, **options: Any) -> np.ndarray:
    return np.asarray(bind(text, CODE, **options)(STATE, LEVEL, AMOUNT, NEXT))


def python(text: str) -> list[float]:
    """The same by Python itself, a row at a time: an independent reading of the grammar."""
    rows = []
    for k in range(2):
        names = {
            "x": STATE[k, 0],
            "y": STATE[k, 1],
            "u": AMOUNT[k, 0],
            "nx": NEXT[k, 0],
            "where": lambda c, a, b: a if c else b,
            "clip": lambda v, low, high: min(max(v, low), high),
            "exp": math.exp,
            "log": math.log,
        }
        rows.append(float(eval(text.replace("^", "**"), {}, names)))
    return rows


LEAVES = st.sampled_from(["x", "y", "u", "nx", "2", "0.5", "3e0"])


def grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(parts, parts)
    return st.one_of(
        st.builds("{0[0]} {1} {0[1]}".format, pairs, st.sampled_from(["+", "-", "*"])),
        st.builds("({0[0]} {1} {0[1]})".format, pairs, st.sampled_from(["<", "<=", ">", "=="])),
        st.builds("({0[0]} {1} {0[1]})".format, pairs, st.sampled_from(["+", "-", "*"])),
        st.builds("-{0}".format, parts),
        st.builds("({0})^2".format, parts),
        st.builds("({0}) / 7".format, parts),
        st.builds("{1}({0[0]}, {0[1]})".format, pairs, st.sampled_from(["min", "max"])),
        st.builds("abs({0})".format, parts),
        st.builds("where({0[0]} < {0[1]}, {0[1]}, 1)".format, pairs),
        st.builds("clip({0}, -1, 2)".format, parts),
    )


@given(st.recursive(LEAVES, grown, max_leaves=8))
def test_arithmetic_is_that_of_python(text: str) -> None:
    ours = text.replace("nx", "next.x").replace("y", "`heart rate`")
    np.testing.assert_allclose(value(ours), python(text), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-x^2", [-2.25, -0.25]),
        ("2^3^2", [512, 512]),
        ("2^-1 * 4", [2, 2]),
        ("8 / 4 / 2 - 1 - 1", [-1, -1]),
        ('"heart rate" + next."heart rate"', [-3, 11]),
        ("mode == 'fill'", [1, 0]),
        ("'fill' != mode", [0, 1]),
        ('mode == "drain" or valve', [0, 1]),
        ("mode == fill", [1, 0]),
        ("not (x > 1) and true", [0, 1]),
        ("0 < x < 1", [0, 1]),
        ("x > 1 or x < 1 and x < 0", [1, 0]),
        ("exp(log(x))", [1.5, 0.5]),
        ("3 * (u > 1)", [0, 3]),
        ("max(1, valve, u)", [1, 4]),
        ("x ** 2", [2.25, 0.25]),
    ],
)
def test_what_an_expression_is_worth(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(np.broadcast_to(value(text), 2), expected, rtol=1e-6)


def test_jax_agrees_with_numpy() -> None:
    import jax
    import jax.numpy as jnp

    text = "where(mode == 'fill', x * u, -next.x ^ 2) + 0.1 * valve - (x >= next.x)"
    expression = bind(text, CODE)

    @jax.jit
    def one(s: Any, k: Any, a: Any, n: Any) -> Any:
        return expression(s, k, a, n, jnp)

    found = jax.vmap(one)(STATE, LEVEL, AMOUNT, NEXT)
    np.testing.assert_allclose(found, value(text), rtol=1e-6)
    assert hash(expression) == hash(bind(text, CODE))
    assert expression == bind(text, CODE)


def test_an_end_reads_the_state_that_is_reached() -> None:
    ends: Expression = bind("x > 1", CODE, purpose="terminated")
    assert ends(NEXT, None, None, NEXT).tolist() == [True, False]


BESIDE = ROLES.model_copy(update={"exogenous": ("price", "day"), "static": ("size", "site")})
LEVELS = {"day": ("Mon", "Tue"), "site": ("north", "south")}


def test_what_goes_beside_the_state_can_be_read() -> None:
    """Rows as an expression reads them: state, static columns, exogenous ones, words coded."""
    here = np.array([[1.5, -2.0, 7.0, 0, 1, 3.0, 1, 0], [0.5, 3.0, 8.0, 1, 0, 4.0, 0, 0]])
    after = np.array([[2.5, -1.0, 7.0, 0, 1, 5.0, 0, 1], [0.25, 8.0, 8.0, 1, 0, 6.0, 1, 0]])
    code = ActionCode(BESIDE, BESIDE.levels)

    def worth(text: str, purpose: Any = "reward") -> Any:
        expression = bind(text, code, purpose=purpose, levels=LEVELS)
        assert expression.reads_beside
        assert hash(expression) == hash(bind(text, code, purpose=purpose, levels=LEVELS))
        return np.asarray(expression(here, LEVEL, AMOUNT, after)).tolist()

    assert worth("price * u") == pytest.approx([0.3, 16.0])
    assert worth("next.price - price + size") == [9, 10]
    assert worth("site == 'south'") == [True, False]
    assert worth("day == 'Mon'") == [True, False]
    assert worth("next.day == 'Tue'") == [True, False]
    assert worth("day == 'Mon' or day == 'Tue'") == [True, False]  # of the second not known
    assert worth("price > 3 and mode == 'fill'", "forbidden") == [False, False]
    assert not bind("x", code, levels=LEVELS).reads_beside
    wrong: list[tuple[str, Any, str]] = [
        ("next.size", "reward", "character 6: 'size' is static: only states and exogenous"),
        ("next.price > 1", "forbidden", "character 6: an action is forbidden by the row"),
        ("site + 1", "reward", "column 'site' holds words; compare it, as in site == 'north'"),
        ("day == 'Wed'", "terminated", "'Wed' is none of them: Mon, Tue"),
    ]
    for text, purpose, words in wrong:
        with pytest.raises(UsageError) as caught:
            bind(text, code, "--reward", purpose, LEVELS)
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "purpose", "words"),
    [
        ("glucose", "reward", "character 1: there is no column 'glucose'. The columns"),
        ("2 * X", "reward", "character 5: there is no column 'X'. Did you mean 'x'?"),
        ("id + 1", "reward", "'id' is the agent column, which a simulator does not predict"),
        ("r", "reward", "'r' is the reward column"),
        ("next.u", "reward", "character 6: 'u' is an action: only states and exog"),
        ("u > 1", "terminated", "'u' is an action: whether an episode ends depends on the state"),
        ("x > 1", "forbidden", "'x' is a state: an action is forbidden by its own columns"),
        ("mode + 1", "reward", "column 'mode' holds words; compare it, as in mode == 'fill'"),
        ("mode == 'full'", "reward", "'full' is none of them: fill, drain"),
        ("mode == 1", "reward", "give one of them"),
        ("x == 'fill'", "reward", "the text 'fill' can only be compared"),
        ("sin(x)", "reward", "character 1: there is no function 'sin'; valid: min, max"),
        ("__import__('os')", "reward", "there is no function '__import__'"),
        ("import os", "reward", "character 8: 'os' does not go on"),
        ("x.real", "reward", "character 2: '.' does not go on"),
        ("x[0]", "reward", "character 2: '[' means nothing here"),
        ("x = 1", "reward", "character 3: '=' means nothing; write '=='"),
        ("(x", "reward", "character 3: ')' is missing at the end of the bracket, not the end"),
        ("", "reward", "character 1: the expression is empty"),
        ("x +", "reward", "character 4: a number, a column or a bracket is missing, not the end"),
        ("clip(x)", "reward", "character 1: clip takes 3 values, not 1"),
        ("next.(x)", "reward", "'next.' goes before the name of a state column"),
        ("1e999", "reward", "'1e999' is too large"),
        ("(" * 60 + "x" + ")" * 60, "reward", "more than 50 brackets in each other"),
        ("-" * 300 + "x", "reward", "more than 50 signs in each other"),
        ("x+" * 1500 + "x", "reward", "has 3001 characters; 2000 are the most"),
        ("λ ± x", "reward", "character 3: '±' means nothing here"),
        ("x \u2212 1", "reward", "character 3: '\u2212' means nothing here; write -"),
        ("x \u2264 1", "reward", "character 3: '\u2264' means nothing here; write <="),
        ("\u201cx\u201d", "reward", "means nothing here; write \""),
        ("heart rate > 5", "reward", "plain word goes in quotes: '\"heart rate\"')"),
        ("next.heart rate", "terminated", "plain word goes in quotes: '\"heart rate\"')"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_place(
    text: str, purpose: Any, words: str
) -> None:
    with pytest.raises(UsageError) as error:
        bind(text, CODE, "--reward", purpose)
    message = str(error.value)
    assert message.startswith("--reward")
    assert "\n" not in message
    assert words in message


def test_a_name_in_a_message_can_be_pasted_back() -> None:
    for name in ("x", "heart rate", "and", "next", "true", 'a"b', "2nd", "e\u0301"):
        tree = parse(f"1 + {quoted(name)}")
        assert [found.column for found in names_in(tree)] == [name]
    roles = Roles.parse({**ROLES.model_dump(), "action": ["my mode", "u", "valve"]})
    with pytest.raises(UsageError, match="as in \"my mode\" == 'fill'"):
        bind('"my mode"', ActionCode(roles, roles.levels))


def test_of_a_name_in_quotes_nothing_is_said() -> None:
    with pytest.raises(UsageError) as error:
        bind("`heart rate` +", CODE)
    assert "quotes" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expression"), [("not x", True), ("x and y", True), ("x < 1", True), ("ended", False)]
)
def test_an_end_that_is_no_column_is_an_expression(text: str, expression: bool) -> None:
    given = {"agent": "id", "time": "t", "state": ["x", "y"], "terminated": text}
    roles = with_expressions(Roles.parse(given), ["id", "t", "x", "y"])
    assert roles.terminated_expression == (text if expression else None)
    assert roles.terminated == (None if expression else text)
    assert with_expressions(Roles.parse(given), ["id", "t", "x", "y", text]).terminated == text


def test_a_name_without_its_quotes_is_told_of_roles_too() -> None:
    roles = Roles.parse(
        {"agent": "id", "time": "t", "state": ["heart rate"], "reward": "heart rate*2"}
    )
    with pytest.raises(UsageError, match=r"character 7.*goes in quotes: '\"heart rate\"'"):
        with_expressions(roles, ["id", "t", "heart rate"])


@given(st.text(max_size=40) | st.text("()+-*/^<>=!.,x12'\"`next andor", max_size=60))
def test_any_text_is_an_expression_or_a_clear_refusal(text: str) -> None:
    try:
        parse(text)
    except UsageError as error:
        message = str(error)
    else:
        message = "expression"
    assert message.startswith("expression")


def test_a_long_sum_is_flat() -> None:
    text = "+".join(["x"] * (EXPRESSION.characters // 2))
    np.testing.assert_allclose(value(text), STATE[:, 0] * EXPRESSION.characters / 2)
