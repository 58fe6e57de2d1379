"""What every flag of every command takes."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import pytest
from cyclopts import App, CoercionError, Token
from pydantic import Field

from twinfold.cli import make_app
from twinfold.cli.values import Seed, Values
from twinfold.config import FitConfig
from twinfold.utils.seeds import LARGEST_SEED

HOSTILE = [
    "nan",
    "inf",
    "-inf",
    "-1",
    "1.5",
    "1e12",
    str(2**63),
    "9" * 400,
    "1_0",
    "１",
    "",
    "64,",
    "[/x]",
]


class Taken(NamedTuple):
    """A flag of a command, and how its value is read; None for names and switches."""

    command: tuple[str, ...]
    name: str
    hint: Any
    convert: Any


def _commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    for name in (name for name in app if not name.startswith("-")):
        yield from list(_commands(app[name], (*path, name))) or [((*path, name), app[name])]


@functools.cache
def every_flag() -> list[Taken]:
    return [
        Taken(path, part.name, part.hint, part.parameter.converter)
        for path, command in _commands(make_app())
        for part in command.assemble_argument_collection()
        if not part.children
    ]


def kinds(hint: Any) -> set[Any]:
    """Return the plain types in a hint such as ``list[int] | None``."""
    parts = get_args(hint)
    return {kind for part in parts for kind in kinds(part)} if parts else {hint}


def test_numbers_and_paths_are_typed() -> None:
    assert len({flag.command for flag in every_flag()}) >= 17
    assert len(every_flag()) > 200
    for flag in every_flag():
        assert flag.convert or not kinds(flag.hint) & {int, float, Path}, flag


@pytest.mark.parametrize("value", HOSTILE)
def test_no_flag_takes_what_is_out_of_its_range(value: str) -> None:
    taken = []
    for flag in every_flag():
        if flag.convert is None or (Path in kinds(flag.hint) and value):
            continue
        with suppress(CoercionError):
            taken.append((flag.name, flag.convert(flag.hint, [Token(value=value)])))
    # Prices may be more than 1.
    assert [pair for pair in taken if pair[1] not in (1.5, (1.5,))] == []
    assert value == "1.5" or not taken


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("fit t.csv --out r --seed 1.5", "'1.5' is not a whole number from 0 to 4294967295"),
        ("fit t.csv --out r --state-net 64,", "'' is not a whole number from 1 to 4096"),
        ("fit t.csv --out r --shrinkages=-1", "'-1' is not a number from 0 to 1000000"),
        ("fit t.csv --out r --rank ten", "'ten' is not auto or a whole number from 0 to 512"),
        ("data collect --task cart_pole --out t.csv --agents 1000000000000", "from 1 to 100000"),
        ("value r --task cart_pole --policy pure --starts 100000000000", "from 1 to 10000"),
        ("simulate r --agent a --state 1 --actions 1 --min-support -inf", "a number from 0 to 1"),
        ("bench run table1 --agent 1,,2", "--agent: '' is not a whole number from 0"),
        ("demo --seed -1", "--seed: '-1' is not a whole number"),
    ],
)  # fmt: skip
def test_the_message_names_flag_value_and_range(twinfold: Any, words: str, said: str) -> None:
    done = twinfold(*words.split(" "))
    assert (done.code, done.out) == (2, "")
    first, *rest = done.err.splitlines()
    assert re.fullmatch(r"error: Invalid value for --[\w-]+: .*", first)
    assert said in first
    assert len(rest) == 1  # where the help is


def test_an_empty_path_is_no_folder(twinfold: Any) -> None:
    done = twinfold("bench", "run", "table1", "--work", "")
    assert (done.code, done.out) == (2, "")
    assert "--work: '' is not a path" in done.err


@pytest.mark.parametrize(
    ("annotation", "text", "read"),
    [
        (Annotated[int, Field(ge=1, le=9)], "7", 7),
        (Annotated[float, Field(gt=0, lt=1)], "0.5", 0.5),
        (Annotated[int, Field(ge=0)] | Literal["auto"], "auto", "auto"),
        (Literal["none"] | Literal["own drift", "pooled"], "own drift", "own drift"),
        (int | None, "-3", -3),
    ],
)
def test_a_field_says_what_its_flag_takes(annotation: Any, text: str, read: Any) -> None:
    assert Values.of(annotation).read(text) == read


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (Values(int, ge=1, le=9), "a whole number from 1 to 9"),
        (Values(float, gt=0, le=1e6), "a number above 0 and at most 1000000"),
        (Values(float, gt=0, lt=0.5), "a number above 0 and below 0.5"),
        (Values(float, ge=1e-6), "a number from 1e-06"),
        (Values(words=("a", "b")), "one of a, b"),
        (Values(int, ge=0, words=("auto",)), "auto or a whole number from 0"),
    ],
)
def test_a_range_in_words(values: Values, said: str) -> None:
    assert str(values) == said


def test_several_numbers() -> None:
    widths = Values.of(tuple[Annotated[int, Field(ge=1)], ...])
    assert widths.read_several(["64, 32", "8"]) == (64, 32, 8)
    assert widths.read_several(["0"]) == ()
    for texts in (["64,"], [""], ["0,1"], ["8", "0"]):
        with pytest.raises(ValueError, match=r"is not a whole number from 1 .*or 0 for none"):
            widths.read_several(texts)
    some = Values.of(tuple[float, ...], [Field(min_length=1).metadata[0]])
    assert not some.none


def test_the_seeds_of_flags_and_settings_are_the_same() -> None:
    field = FitConfig.model_fields["seed"]
    assert Values.of(field.annotation, field.metadata) == Values(int, ge=0, le=LARGEST_SEED)
    assert get_args(Seed)[0] is int
