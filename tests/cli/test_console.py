"""Progress in a log, JSON for any reader, and JAX as the environment asks for it."""

from __future__ import annotations

import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import pytest

from twinfold.cli import console
from twinfold.errors import UsageError


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
    def devices() -> None:
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "moon")
    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(UsageError, match=r"JAX_PLATFORMS is 'moon', .* here: [^\n]*; unset it"):
        console.set_up_jax()


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
