"""Rich's console with users' names and odd environments."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.table import Table
from rich.text import Text

from twinfold.cli.terminal import Terminal


def test_names_are_text_and_styles_are_ours() -> None:
    stream = io.StringIO()
    terminal = Terminal(file=stream, force_terminal=True, width=40, color_system="standard")
    table = Table("column")
    table.add_row("a\x1b[2J")
    terminal.print(table)
    terminal.print(Text("[b]:car:\x1b[31m", style="red"))
    said = stream.getvalue()
    assert r" a\x1b[2J " in said
    assert "\x1b[31m[b]:car:" + r"\x1b[31m" in said  # in the colour that we gave it
    assert "\x1b[2J" not in said


@pytest.mark.parametrize("columns", ["0", "-5", "abc", "1", "33", "999999999"])
def test_help_fits_any_number_of_columns(
    twinfold: Any, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = twinfold("fit", "--help")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= (33 if columns == "33" else 80)
