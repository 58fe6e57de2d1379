"""Users' names in pictures and on pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.dom.minidom import parse, parseString

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twinfold.report.curves import Curves
from twinfold.report.html import page
from twinfold.report.labels import literal, markup
from twinfold.report.static_figures import save_rollout

HOSTILE = "\x1b[31mred\x1b[0m \u202eabc\x00\udcff\ufffe <b> & $x"


@given(st.text(st.characters(exclude_characters="\r")))  # which XML reads as a newline
def test_markup_is_read_back_as_the_text_that_is_shown(text: str) -> None:
    root: Any = parseString(f"<p>-{markup(text)}</p>").documentElement
    (node,) = root.childNodes
    assert markup(node.data) == f"-{markup(text)}"


def test_a_label_is_cut_before_it_is_escaped() -> None:
    assert literal("$" * 9, 6) == r"\$" * 3 + "..."
    assert literal("a\x1bb") == r"a\x1bb"


def test_a_picture_with_hostile_names_is_well_formed(tmp_path: Path) -> None:
    path = tmp_path / "rollout.svg"
    save_rollout(path, Curves(np.arange(3), np.zeros((3, 1))), [HOSTILE], title=HOSTILE)
    assert r"\x1b[31mred" in path.read_text(encoding="utf-8")
    parse(str(path))


def test_a_page_with_a_hostile_title_shows_it() -> None:
    shown = page(HOSTILE, HOSTILE, [])
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert r"\x1b[31mred\x1b[0m \u202eabc\x00\udcff\ufffe &lt;b&gt; &amp; $x" in shown
