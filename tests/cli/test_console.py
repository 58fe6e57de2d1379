"""Progress in a log, JSON for any reader, and JAX as the environment asks for it."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest

from twinfold.cli import console
from twinfold.errors import UsageError
from twinfold.training.run_writer import save_run


def test_a_log_has_at_most_a_line_of_progress_in_ten_seconds(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    talk, said = console.Talk(quiet=False), []
    say = console.paced(said.append)
    for second in range(36):
        now[0] = float(second)
        talk.progress("training", second, 100)
        say(f"step {second}")
    assert said == ["step 0", "step 10", "step 20", "step 30"]
    assert capsys.readouterr().err.splitlines() == [
        "  training: 10 %, 90 s left",
        "  training: 20 %, 80 s left",
        "  training: 30 %, 70 s left",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("name", ["é 漢", "a\x1b\x7f\x9b", "\u202eabc", "plain"])
def test_json_is_read_back_from_any_stream(
    encoding: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", stream)
    console.print_json({name: float("nan")})
    stream.flush()
    assert json.loads(written.getvalue().decode(encoding)) == {name: None}


@pytest.mark.parametrize(
    "error", [RuntimeError("Backend 'moon' is unknown\nmore"), AssertionError()]
)
def test_a_platform_that_is_not_there_is_named(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(value: float) -> None:
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "moon")
    monkeypatch.setattr(jax, "device_put", put)
    with pytest.raises(UsageError, match=r"JAX_PLATFORMS is 'moon', .* here: [^\n]*; unset it"):
        console.set_up_jax()


Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ask(small_cart_pole: Any, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """A process that asks a run a question, with variables of its own."""
    folder = tmp_path_factory.mktemp("asked")
    save_run(small_cart_pole, folder / "run")
    question = ["--agent=0", "--state=0,0,0,0", "--actions=0,1", "--json"]

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "twinfold", "simulate", "run", *question]
        env = os.environ | variables
        return subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="module")
def plain_answer(ask: Ask) -> str:
    """What it is told without any."""
    done = ask()
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("JAX_DEBUG_NANS", "maybe", "error: JAX does not start: .*'JAX_DEBUG_NANS'; unset"),
        ("JAX_NUM_CPU_DEVICES", "0", "error: the variable JAX_NUM_CPU_DEVICES is '0', .*unset it"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "strict", None),
        ("JAX_TRANSFER_GUARD", "disallow", None),
        ("JAX_DEFAULT_PRNG_IMPL", "rbg", None),
    ],
)
def test_a_variable_of_jax_is_refused_in_a_line_or_changes_nothing(
    name: str, value: str, words: str | None, ask: Ask, plain_answer: str
) -> None:
    done = ask(**{name: value})
    if words is None:
        assert done.stdout == plain_answer
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert re.match(words, done.stderr), done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("home", ["relative/x", ""])
def test_programs_are_kept_in_a_folder_of_the_user(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    before = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    try:
        console.set_up_jax()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert [path.name for path in tmp_path.iterdir()] == ["me"]


def test_commands_compute_in_single_precision() -> None:
    jax.config.update("jax_enable_x64", True)
    try:
        console.set_up_jax()
        assert jax.numpy.asarray(0.5).dtype == "float32"
    finally:
        jax.config.update("jax_enable_x64", False)


def test_damaged_programs_are_thrown_away_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    console.empty_when_damaged(tmp_path)
    (tmp_path / "jit_f-cache").write_bytes(b"cut o")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("something else", stacklevel=1)
        assert (tmp_path / "jit_f-cache").exists()
        warnings.warn(
            "Error reading persistent compilation cache entry for 'jit_f': cut off", stacklevel=1
        )
    assert shown == ["something else"]
    assert not list(tmp_path.iterdir())
