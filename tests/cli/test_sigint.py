"""Ctrl-C in every long command: exit code 130, and nothing half-written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from twinfold import load_run

LONG = """
linear = "none"
rank = 4
members = 2
steps = 3000
schedules = [1.0]
shrinkages = [0.001]
validation_members = 1
"""


def wait_for(process: Any, text: str) -> None:
    """Read a process's standard error up to a line that holds ``text``."""
    seen = ""
    while line := process.stderr.readline():
        seen += line
        if text in line:
            return
    raise AssertionError(f"the command ended without saying {text!r}:\n{seen}")


def interrupt(process: Any) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_an_interrupted_fit_is_kept_and_goes_on(
    start: Any, twinfold: Any, tmp_path: Path, cart_table: Path
) -> None:
    config = tmp_path / "long.toml"
    config.write_text(LONG)
    out, partial = tmp_path / "run", tmp_path / "run.partial"
    command = ["fit", cart_table, "--out", out, "--config", config]
    process = start(*command)
    wait_for(process, "training 2 members")  # one stage is done and kept
    code, said, err = interrupt(process)
    assert code == 130, err
    assert said == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("interrupted: the same command goes on")
    assert str(partial) in err.splitlines()[-1]
    assert not out.exists()
    assert list(partial.glob("state-*.safetensors"))
    done = twinfold("simulate", out, "--agent", 0, "--state", "0,0,0,0", "--actions", "1")
    assert done.code == 1
    assert "did not finish; the same `twinfold fit` command goes on" in done.err

    done = twinfold(*command)
    assert done.code == 0
    assert "going on with the interrupted fit" in done.err
    assert not partial.exists()
    assert load_run(out).n_members == 2
    assert sorted(tmp_path.iterdir()) == [config, out]


def test_an_interrupted_evaluation_says_nothing_false(start: Any, cart_run: Path) -> None:
    process = start(
        *("evaluate", "return", cart_run, "--task", "cart_pole", "--episodes", 400),
        *("--candidates", 4000, "--horizon", 50, "--json"),
    )
    wait_for(process, "begun")
    time.sleep(4)
    begun = time.monotonic()
    code, out, err = interrupt(process)
    assert (code, out) == (130, "")
    assert err == "interrupted\n"
    assert time.monotonic() - begun < 20  # it does not wait for the episodes to end


def test_an_interrupted_demo_leaves_whole_files(start: Any, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    process = start("demo", "--out", out)
    wait_for(process, "held out")
    code, said, err = interrupt(process)
    assert (code, said) == (130, "")
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted: the same command starts afresh"
    left = {path.name for path in out.iterdir()}
    assert left <= {"demo.json", "cohort.parquet", "cohort.manifest.json", "run.partial"}
    json.loads((out / "cohort.manifest.json").read_text())


SCRIPT = """
import gc, os, signal, sys, time
from twinfold.cli.sigint import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)


def press():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)  # the handler runs at the latest here


def collected(phase, info):
    if phase == "stop":
        press()


def ignored():
    gc.callbacks.append(collected)
    gc.collect()
    gc.callbacks.remove(collected)


def importing():
    import pressing
    assert pressing.whole


def plain():
    press()


at_the_end = ignored
case = sys.argv[1]
try:
    with interrupts():
        globals()[case]()
        os.write(1, b"went on\\n")  # in one piece, whenever the interrupt comes
        if case != "at_the_end":
            time.sleep(20)
except KeyboardInterrupt:
    print("ended", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


@pytest.mark.parametrize(
    ("case", "lines"),
    [
        ("ignored", ["went on", "ended True"]),
        ("importing", ["went on", "ended True"]),
        ("at_the_end", ["went on", "ended True"]),  # before it is raised again, the work is done
        ("plain", ["ended True"]),
    ],
)
@pytest.mark.parametrize("imported", [False, True])
def test_an_interrupt_at_a_bad_moment_is_kept_for_a_good_one(
    case: str, lines: list[str], imported: bool, tmp_path: Path
) -> None:
    """As an exception, it is lost in a callback of the collector and breaks an import.

    The command itself may be run by a module's import: that does not make it deaf.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "pressing.py").write_text(
        "import sys\nsys.modules.get('script', sys.modules['__main__']).press()\nwhole = True\n"
    )
    words = ["-c", "import script"] if imported else ["script.py"]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *words, case], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")
    assert time.monotonic() - begun < 10


def test_a_background_job_does_not_listen_to_the_terminal() -> None:
    code = (
        "import os, signal; from twinfold.cli.sigint import interrupts\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with interrupts():\n os.kill(os.getpid(), signal.SIGINT)\n print('goes on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "goes on\n"


@pytest.mark.parametrize("seconds", [0, 0.3, 1])
def test_an_interrupt_while_the_command_starts(start: Any, cart_run: Path, seconds: float) -> None:
    process = start("evaluate", "return", cart_run, "--task", "cart_pole", "--episodes", 400)
    wait_for(process, "begun")
    time.sleep(seconds)
    assert interrupt(process) == (130, "", "interrupted\n")
