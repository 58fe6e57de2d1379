"""Words on the command line that cannot be are refused; all others are answered."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twinfold.models.fitted_model import FittedModel
from twinfold.training.run_writer import save_run

WORDS = [
    *("", " ", "-", "--", "x", "é", "\ud800", "0", "-1", "1.5", "nan", "inf", "1e400", "1e12"),
    *("10000000000000", "," * 50, ";", "0,,0", "0;0,0", "true", "None", "[]", "{}", "@x", "x=1"),
    *(
        "1_000",
        "１",
        "٣",
        "0_1,0,0",
        "5\n",
        "u0\n",
        "+5",
        "1e39",
        "9" * 5000,
        "u" * 5000,
        "\0",
        "½",
    ),
    *("/dev/stdout", "/dev/full", "y" * 255 + ".csv", "a\0.csv", ".csv", "gone/", "~", "\x1b[2J"),
    *("a" * 300, "/", ".", "..", "--json", "--help", "--agent", "-h", "--no-json", "u0", "5"),
]

SUITE = """
name = "tiny"
kind = "return"
tasks = ["cart_pole"]
methods = ["true-env-mpc"]

[profiles.quick]
episodes = 2
"""


def test_flags(
    fuzz: Any,
    command: Any,
    random_model: Callable[..., FittedModel],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    run, table = tmp_path / "run", tmp_path / "table.csv"
    save_run(random_model(posterior=True), run)
    table.write_text("unit,t,s,a\nu0,0,0.5,1\nu0,1,0.25,0\nu0,2,1,\nu1,0,1,1\nu1,1,2,0\nu1,2,0,\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "tiny.toml").write_text(SUITE)
    (tmp_path / "tiny.jsonl").write_text("")
    roles = ["--agent=unit", "--time=t", "--state=s", "--action=a", "--action-type=discrete"]
    commands = [
        ["simulate", run, "--agent=u0", "--state=0,0,0", "--actions=0,5,7", "--json"],
        ["data", "validate", table, *roles, "--json"],
        ["data", "describe", table, *roles],
        ["forget", run, "--agent=u0", "--out=left"],
        ["simulate", run, "--agent=u0", "--state=0,0,0", "--actions=0,5,7", "--out=answers.csv"],
        ["policies", "list", "--json"],
        ["bench", "run", "tiny", "--profile=quick", "--task=cart_pole", "--agent=0", "--dry-run"],
        ["bench", "table", "tiny", "--profile=quick", "--records=tiny.jsonl", "--short"],
    ]

    def case(rng: random.Random) -> str:
        words = [str(word) for word in rng.choice(commands)]
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(words))
            kind = rng.random()
            if kind < 0.6 and "=" in words[at]:
                words[at] = words[at].partition("=")[0] + "=" + rng.choice(WORDS)
            elif kind < 0.7:
                words[at] = rng.choice(WORDS)
            elif kind < 0.8:
                del words[at]
            elif kind < 0.9:
                words.insert(at, rng.choice(words))
            else:
                words.append(rng.choice(WORDS))
            if not words:
                break
        shutil.rmtree("left", ignore_errors=True)
        command(*words)
        return "answers"

    fuzz("flags", case)
