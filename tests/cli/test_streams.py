"""What is printed: hidden characters are seen, and a stream that fails is a line."""

from __future__ import annotations

import dataclasses
import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinfold import FittedModel, save_run
from twinfold.cli.streams import Output, printable_streams
from twinfold.errors import TwinfoldError
from twinfold.utils.text import printable

HOSTILE = ("\x1b[31mred\x1b[0m", "a\rb", "\u202eabc", "x\x9b2J\x7f\u2028y")


class Broken(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        raise self.error


def test_own_layout_and_own_escapes_stay() -> None:
    stream = io.StringIO()
    out = Output(stream, "standard output")
    assert out.write("a\tb\n\x1b[0m") == 8
    assert out.verbatim().write("\x1b[1m") == 4
    assert stream.getvalue() == "a\tb\n\\x1b[0m\x1b[1m"
    assert not out.isatty()


def test_results_that_cannot_be_written_are_a_failure_and_messages_are_lost() -> None:
    full = Broken(OSError(28, "No space left on device"))
    with pytest.raises(TwinfoldError, match="standard output: No space left on device"):
        Output(full, "standard output").write("x")
    with pytest.raises(TwinfoldError, match="standard output: it is closed"):
        Output(io.TextIOBase(), "standard output").write("x")
    with pytest.raises(BrokenPipeError):
        Output(Broken(BrokenPipeError()), "standard output").write("x")
    assert Output(full, None).write("x") == 1
    assert Output(Broken(BrokenPipeError()), None).write("x") == 1


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with printable_streams():
        assert isinstance(sys.stdout, Output)
        with printable_streams():  # as under a bar of progress
            assert isinstance(sys.stderr, Output)
    assert (sys.stdout, sys.stderr) == before


@pytest.fixture(scope="module")
def hostile_run(small_continuous: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose agents and columns have names that a terminal would obey."""
    names = (*HOSTILE, *(str(n) for n in range(len(HOSTILE), 8)))
    roles = small_continuous.roles.model_copy(
        update={"agent": "a\x1b[2J", "state": ("s\u202e1", "s\r2"), "action": ("u\x071", "u\x1b2")}
    )
    path = tmp_path_factory.mktemp("runs") / "hostile"
    save_run(dataclasses.replace(small_continuous, agent_ids=names, roles=roles), path)
    return path


@pytest.fixture(scope="module")
def hostile_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "t\x1b[5m.csv"
    rows = [
        f'"{name}",{t},{t / 2 + k * t},{t * 7 % 3 if t < 5 else ""}'
        for k, name in enumerate(HOSTILE)
        for t in range(6)
    ]
    path.write_text(
        "\n".join(["a\x1b[2J,t,s\u202e1,u", *rows]) + "\n", encoding="utf-8", newline=""
    )
    return path


ROLES = ["--agent=a\x1b[2J", "--time=t", "--state=s\u202e1", "--action=u"]
SHOWN = {
    "simulate": r"s\u202e1",
    "simulate nobody": r"nobody\x1b",
    "simulate far": r"s\u202e1",
    "forget": r"out\x1b",
    "describe": r"s\u202e1",
    "data validate": r"t\x1b[5m.csv: valid",
    "no such column": r"a\x1b[2J",
    "no such table": r"none\x9b",
    "no such flag": r"--fl\x1bag",
}


@pytest.mark.parametrize("case", SHOWN)
def test_hidden_characters_never_reach_a_terminal(
    twinfold: Any, hostile_run: Path, hostile_table: Path, tmp_path: Path, case: str
) -> None:
    question = ["--state", "0.5,22", "--actions", "0.5,1"]
    words = {
        "simulate": ["simulate", hostile_run, "--agent", HOSTILE[0], *question],
        "simulate nobody": ["simulate", hostile_run, "--agent", "nobody\x1b", *question],
        "simulate far": ["simulate", hostile_run, "--agent=a\rb", "--state=9e9,2", *question[2:]],
        "forget": ["forget", hostile_run, "--agent", HOSTILE[2], "--out", tmp_path / "out\x1b"],
        "describe": ["data", "describe", hostile_table, *ROLES, "--action-type=discrete"],
        "data validate": ["data", "validate", hostile_table, *ROLES, "--action-type=discrete"],
        "no such column": ["data", "validate", hostile_table, *ROLES[:3], "--action=no",
                           "--action-type=discrete"],
        "no such table": ["data", "describe", tmp_path / "none\x9b.csv"],
        "no such flag": ["data", "describe", hostile_table, "--fl\x1bag"],
    }[case]  # fmt: skip
    done = twinfold(*words)
    said = done.out + done.err
    assert printable(said) == said
    assert SHOWN[case] in said


def test_json_has_its_own_escapes(twinfold: Any, hostile_run: Path) -> None:
    words = ["--agent", HOSTILE[3], "--state", "0.5,22", "--actions", "0.5,1", "--json"]
    done = twinfold("simulate", hostile_run, *words)
    assert printable(done.out) == done.out
    record = json.loads(done.out)
    assert record["agent"] == HOSTILE[3]
    assert "s\u202e1" in record["prediction"]


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        ("--version >&-", 1, "", "error: cannot write to standard output: it is closed\n"),
        ("--version >/dev/full", 1, "",
         "error: cannot write to standard output: No space left on device\n"),
        ("fti 2>&-", 2, "", ""),
        ("--version <&- 2>/dev/full", 0, "0.1.0\n", ""),
    ],
)  # fmt: skip
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_closed_or_full_stream_is_no_traceback(words: str, code: int, out: str, err: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m twinfold {words}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)
