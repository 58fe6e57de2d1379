"""Tables with odd values, times, ids, names or layouts are refused in lines, or read as written."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twinfold.data import load_panel

VALUES = [
    *("", " ", "nan", "-Infinity", "1e400", "1e308", "1e-400", "-0", "9" * 400, "0" * 400 + "1"),
    *(
        "1_000",
        "1,5",
        "1 000",
        "1.000,5",
        "１",
        "٣",
        "−1",
        "½",
        "0x10",
        "1+2j",
        "True",
        "null",
        "#N/A",
    ),
    *("=1+1", "1.5 %", "$1", "\x1b[2J", "\u202e1", "1\0", "é", "x" * 5000, "2026-01-01", "12:30"),
]
TIMES = [
    *("0000-00-00", "9999-12-31", "1600-02-29", "2026-02-30", "2026-13-01", "20260101", "2026"),
    *("2026-01-01T23:59:60", "2026-01-01 24:00", "2026-W01-1", "12/31/2026", "1 jan", "yesterday"),
    *("2026-01-01T00:00+25:00", "2026-01-01 00:00 UTC", "2026-01-01T00:00:00.1234567891"),
    *("P1D", "1 day", "1h", "-5", "1e18", "9223372036854775808", "1.0000000001", "٢٠٢٦-٠١-٠١"),
]
MISSING = ("", "nan", "null", "#N/A")  # of these
IDS = [
    *("", " ", " u0", "u0 ", "U0", "nan", "None", "1", "01", "1.0", "u0\n", "u0\r", "a,b", 'a"b'),
    *("\x1b[31mu0", "\u202eu0", "u\u200b0", "e\u0301", "é", "--agent", "<b>", "%s", "x" * 5000),
]
LAYOUTS: list[tuple[str, str]] = [
    *((",", "|"), (",", ";"), (",", "\t"), (",", " "), (",", ", "), ("\n", "\r"), ("\n", "\n\n")),
    *(("\n", " \n"), ("\n", "\u2028"), ("\n", "\x0b"), ("unit", "# unit"), ("unit", "sep=,\nunit")),
    *(
        ("unit", '"unit'),
        ("u1", '"u1'),
        ("\nu1", "\n# u1"),
        ("unit", "unit,unit"),
        ("s", "s" * 70_000),
    ),
]
ROLES = {
    "agent": "unit",
    "time": "t",
    "state": ["s"],
    "action": ["a"],
    "action_type": "continuous",
}


def rows(rng: random.Random) -> list[list[str]]:
    """Return the rows of two agents, with one to three cells or a column changed."""
    content = [
        [f"u{n}", str(t), str(0.1 * t * t + n), str(t % 2) if t < 4 else ""]
        for n in range(2)
        for t in range(5)
    ]
    column = rng.randrange(4)
    choices = [IDS, TIMES, VALUES, VALUES][column]
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(content)[column] = rng.choice(choices)
    if rng.random() < 0.2:  # all the same, or all odd
        kept = rng.sample(choices, rng.choice([1, 3]))
        for row in content:
            row[column] = rng.choice(kept)
    return content


def test_tables(fuzz: Any, command: Any, mutations: Any, tmp_path: Path) -> None:
    names = ["unit", "t", "s", "a"]
    flags = ["--agent=unit", "--time=t", "--state=s", "--action=a", "--action-type=continuous"]

    def case(rng: random.Random) -> str:
        content, altered = rows(rng), False
        if rng.random() < 0.2:
            path = tmp_path / "table.parquet"
            columns = zip(names, zip(*content, strict=True), strict=True)
            pq.write_table(pa.table({name: pa.array(cells) for name, cells in columns}), path)
        else:
            path = tmp_path / "table.csv"
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([names, *content])
            changed = text.getvalue()
            if rng.random() < 0.3:
                changed = changed.replace(*rng.choice(LAYOUTS), rng.choice([1, -1]))
            written = data = changed.encode("utf-8", "surrogatepass")
            if rng.random() < 0.15:
                written = mutations.data(rng, data)
            altered = written != text.getvalue().encode("utf-8", "surrogatepass")
            path.write_bytes(written)
        if rng.random() < 0.5:
            command("data", rng.choice(["validate", "describe"]), path, *flags)
        else:
            panel = load_panel(path, ROLES)
            assert panel.n_transitions > 0
            known = np.isfinite(panel.state)
            assert abs(panel.state[known]).max(initial=0.0) < 1e31
            assert known.all() or altered or any(row[2].strip() in MISSING for row in content)
        return "answers"

    fuzz("tables", case)
