"""Entry points, help, and what happens to words that no command knows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twinfold import FitConfig, __version__, cli

COMMANDS = [
    "",
    "data",
    "data collect",
    "data validate",
    "data describe",
    "fit",
    "validate",
    "adapt",
    "forget",
    "simulate",
    "plan",
    "evaluate",
    "evaluate prediction",
    "evaluate return",
    "demo",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(twinfold: Any, command: str) -> None:
    done = twinfold(*command.split(), "--help")
    assert done.code == 0
    assert done.err == ""
    assert f"Usage: twinfold {command}".rstrip() in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    # A box row that starts with a flag has words of explanation behind it.
    for row in re.findall(r"│ [* ] +(--.*?)│|│ (--.*?)│", done.out):
        assert re.search(r"[a-z]{2,}", re.sub(r"--[\w-]+ +[A-Z.]*", "", "".join(row))), row


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_list_of_commands_says_what_they_say(twinfold: Any, command: str) -> None:
    summary = cli.COMMANDS[command][1]
    assert f"\n\n{summary}\n" in "\n" + twinfold(command, "--help").out


def test_next_to_nothing_is_loaded_before_ctrl_c_is_heard() -> None:
    code = (
        "import sys; old = {*sys.modules}; import twinfold.__main__; print(*{*sys.modules} - old)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {*done.stdout.split()} == {"twinfold", "twinfold.__main__"}


@pytest.mark.parametrize("imported", ["twinfold.cli", "cyclopts"])
def test_an_interrupt_while_the_command_line_is_loaded(imported: str, tmp_path: Path) -> None:
    """The first before there is a handler, the second under it."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Pressed:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {imported!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "from twinfold.__main__ import main\n"
        "main()"
    )
    words = ("data", "collect", "--task", "cart_pole", "--agents", "100000", "--out", "t.csv")
    done = run(sys.executable, "-c", code, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_an_import_cannot_swallow_an_interrupt(tmp_path: Path) -> None:
    """One in a finaliser would be printed as ignored, and the command go on."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Pressed:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'cyclopts' or name == 'twinfold.cli': Pressed()\n"
        "sys.meta_path.insert(0, Pressed())\n"
        "from twinfold.__main__ import main\n"
        "main()"
    )
    done = run(sys.executable, "-c", code, "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_list_of_commands_loads_none_of_them() -> None:
    code = "import sys, twinfold.cli as c; c.main(['--help']); sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "command", ["data validate", "fit", "validate", "adapt", "forget", "simulate", "plan"]
)
def test_help_gives_an_example(twinfold: Any, command: str) -> None:
    assert f"\n  twinfold {command} " in twinfold(*command.split(), "--help").out


OF_TABLES = {"align", "decimal", "thousands", "encoding"}


def test_help_of_fit_tells_the_defaults(twinfold: Any) -> None:
    boxes = twinfold("fit", "--help").out
    text = re.sub(r"\s+", " ", boxes.replace("│", ""))
    flags = [part for part in text.split("Settings", 1)[1].split(" --")[1:] if "[default" in part]
    told = {part.split()[0]: re.findall(r"\[default: ([^]]+)\]", part)[0] for part in flags}
    settings = FitConfig().model_dump(mode="json")
    assert told.pop("reserve") == "auto"  # of the data, and no setting
    assert told.pop("time-step") == "the manifest's, or auto"
    told = {flag: value for flag, value in told.items() if flag not in OF_TABLES}
    assert len(told) == 15
    for flag, value in told.items():
        default = settings[flag.replace("-", "_")]
        expected = ",".join(map(str, default)) if isinstance(default, list) else str(default)
        assert value == expected, flag


def test_a_command_group_alone_shows_its_help(twinfold: Any) -> None:
    for words in ([], ["data"], ["evaluate"]):
        done = twinfold(*words)
        assert done.code == 0
        assert "Usage:" in done.out


@pytest.mark.parametrize(
    ("words", "hint", "command"),
    [
        (["simulat"], 'Did you mean "simulate"?', "twinfold"),
        (["data", "validat"], 'Did you mean "validate"?', "twinfold data"),
        (["fit", "t.csv", "--out", "r", "--step", "3"], "Did you mean --steps?", "twinfold fit"),
        (["fit", "t.csv", "--out", "r", "--steps", "many"], "'many' is not a", "twinfold fit"),
        (["fit", "--out", "r"], "TABLE", "twinfold fit"),
        (["evaluate", "return", "r"], "--task", "twinfold evaluate return"),
        (["data", "validate", "t.csv", "--action-type", "continous"], "continuous",
         "twinfold data validate"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_usage(twinfold: Any, words: list[str], hint: str, command: str) -> None:
    done = twinfold(*words)
    assert done.code == 2
    assert done.out == ""
    assert hint in done.err
    assert done.err.endswith(f"See `{command} --help`.\n")


def run(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "--html", "page.html"], "unexpected 'page.html' after '--html': it is no option"),
        (["run", "new.csv", "more.csv"], "unexpected 'more.csv': the command takes no further"),
    ],
)
def test_a_word_that_nothing_takes_is_named(twinfold: Any, words: list[str], told: str) -> None:
    done = twinfold("validate", *words)
    assert done.code == 2
    assert told in done.err


def test_the_console_script_and_the_module_are_the_command() -> None:
    script = Path(sys.executable).with_name("twinfold")
    for entry in ([str(script)], [sys.executable, "-m", "twinfold"]):
        done = run(*entry, "--version")
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, __version__, "")
        done = run(*entry, "data", "validate", "no such.csv", "--agent", "a")
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith("error: --time, --state missing")


def test_a_reader_that_goes_away_is_no_traceback(cart_table: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "twinfold", "data", "describe", str(cart_table)],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_terminal_that_cannot_show_a_name(tmp_path: Path) -> None:
    """Nor has it a home or a display; a picture is drawn all the same, and nothing is said."""
    table, home = tmp_path / "t.csv", tmp_path / "home"
    table.write_text("é,t,漢,u\na,0,1,0\na,1,2,1\na,2,4,\n", encoding="utf-8")
    home.write_text("")  # a file, where no directory can be made
    flags = ["--agent=é", "--time=t", "--state=漢", "--action=u", "--action-type=discrete"]
    odd = {"PYTHONIOENCODING": "ascii", "MPLBACKEND": "none such", "HOME": str(home)}
    done = run(
        *(sys.executable, "-m", "twinfold", "data", "describe", str(table), *flags),
        *("--plot", str(tmp_path / "t.svg")),
        env={**os.environ, **odd},
        cwd="/",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u6f22" in done.stdout


def test_help_is_there_without_docstrings() -> None:
    done = run(sys.executable, "-OO", "-m", "twinfold", "fit", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert cli.COMMANDS["fit"][1] in done.stdout


def test_a_full_disk_is_a_plain_failure(
    twinfold: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twinfold.data.io.save_panel", full)
    out = tmp_path / "t.csv"
    done = twinfold("data", "collect", "--task", "cart_pole", "--agents", 3, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), True),
        (ImportError("lib.so: failed to map segment from shared object"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), True),
        (ImportError("no module"), False),
        (RuntimeError("a fault of ours"), False),
    ],
)
def test_no_memory_left_is_said_in_a_line_and_nothing_else_is(
    error: Exception, told: bool, twinfold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(cli, "make_app", lambda name: fails)
    if told:
        done = twinfold("policies", "list")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("error: out of memory; ")
        assert len(done.err.splitlines()) == 1
    else:
        with pytest.raises(type(error)):
            twinfold("policies", "list")


def test_without_a_home_nothing_is_kept_and_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")  # a file, where no directory can be made
    hidden = ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    done = run(
        sys.executable, "-m", "twinfold", "data", "collect", "--task", "cart_pole",
        "--agents", "2", "--out", str(tmp_path / "t.csv"),
        env={**env, "HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
