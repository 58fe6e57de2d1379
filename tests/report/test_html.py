from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

from twinfold.errors import UsageError
from twinfold.report import html
from twinfold.report.curves import Curves
from twinfold.report.figures import factor_map, prediction_panels
from twinfold.report.html import Fact, Section, page, write_page
from twinfold.report.tables import Table

EVIL = "</script><script>alert('pwned')</script> $title & <b>"


class Reader(HTMLParser):
    """What a browser would see: attributes, elements and text, scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.elements: list[str] = []
        self.text = ""
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data
        else:
            self.text += data


def example(text: str = "plain") -> str:
    points = np.random.default_rng(0).normal(size=(4, 2))
    curves = Curves(np.arange(3), np.zeros((3, 1)))
    figures = [factor_map([text, 1, 2, 3], points), prediction_panels({text: curves}, [text])]
    table = Table((text,), ((text,),), caption=text)
    sections = [Section(text, text, [*figures, table], note=text)]
    return page(text, [text, text], sections, [Fact(text, text, text)], footer=text)


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = example()
    assert [link for link in Reader(text).links if not link.startswith(("#", "data:"))] == []
    ours = text.replace(get_plotlyjs(), "")
    assert len(ours) < len(text), "Plotly's script is not inlined"
    assert not re.search(r"https?:|//cdn|@import|url\(", ours)
    assert "default-src 'none'" in ours


def test_text_cannot_become_markup() -> None:
    plain, evil = Reader(example()), Reader(example(EVIL))
    assert plain.elements == evil.elements
    assert len(plain.scripts) == len(evil.scripts)
    # Title 2, summary 2, fact 3, contents 1, section 3, table 3, footer 1.
    assert evil.text.count(EVIL) == 15


def test_figures_are_data_that_can_be_read_back() -> None:
    scripts = [text for text in Reader(example(EVIL)).scripts if text.startswith('{"data"')]
    assert len(scripts) == 2
    shown = json.loads(scripts[0])
    assert "alert" in shown["data"][0]["text"][0]
    assert "<script>" not in shown["data"][0]["text"][0]


def test_a_page_without_figures_carries_no_plotly() -> None:
    assert len(page("t", "s", [Section("a", "b", [Table(("c",), (("d",),))])])) < 20_000


def test_the_words_come_before_the_figures() -> None:
    text = page("Title", "The result.", [Section("Map", "", [factor_map([0], [[1.0]])])])
    assert text.index("The result.") < text.index("plotly.js") < text.index("<section")


def test_writing_replaces_the_old_page_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "new" / "page.html"
    write_page(target, "first", "", [])
    write_page(target, "second", "", [])
    assert "second" in target.read_text(encoding="utf-8")
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]


def test_a_failure_keeps_the_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"
    write_page(target, "first", "", [])

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_page(target, "second", "", [])
    assert "first" in target.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"page\.html"):
        write_page(tmp_path / "file" / "page.html", "t", "", [])


def test_the_template_is_package_data() -> None:
    assert (Path(html.__file__).parent / "page.html").is_file()
