"""One self-contained HTML page: words first, then figures and tables. It opens offline.

Plotly's script is part of the file and the page forbids itself any request. All text is escaped.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from twinfold.report.labels import markup
from twinfold.report.tables import Table
from twinfold.utils.files import atomic_write_text

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Fact:
    """A figure that the first screen shows large.

    Attributes:
        label: what it is.
        value: the figure, as text.
        note: what to compare it with.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture that is part of the file.

    Attributes:
        png: the bytes of a PNG file.
        text: what it shows, for those who do not see it.
    """

    png: bytes
    text: str

    def html(self) -> str:
        """Return it as HTML, the text escaped."""
        data = base64.b64encode(self.png).decode("ascii")
        return (
            f'<div class="wide"><img src="data:image/png;base64,{data}" alt="{markup(self.text)}">'
            "</div>"
        )


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page: a title, what is to be seen, then figures and tables.

    Attributes:
        title: the heading, also in the list of contents.
        text: one paragraph, or several.
        parts: figures, pictures and tables in their order.
        note: a smaller paragraph below them: how it was made, what to be careful with.
    """

    title: str
    text: str | Sequence[str] = ()
    parts: Sequence[go.Figure | Table | Picture] = ()
    note: str = ""


def write_page(
    path: str | os.PathLike[str],
    title: str,
    summary: str | Sequence[str],
    sections: Sequence[Section],
    facts: Sequence[Fact] = (),
    footer: str = "",
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where; folders are made.
        title: the heading and the name of the browser's tab.
        summary: the result in words, the first thing to be read; one paragraph or several.
        sections: the rest of the page.
        facts: the main figures, shown below the summary.
        footer: how, when and with which version the page was made.

    Raises:
        UsageError: the file cannot be written.
    """
    atomic_write_text(path, page(title, summary, sections, facts, footer))


def page(
    title: str,
    summary: str | Sequence[str],
    sections: Sequence[Section],
    facts: Sequence[Fact] = (),
    footer: str = "",
) -> str:
    """Return the HTML of ``write_page``."""
    parts = [part for section in sections for part in section.parts]
    figures = any(not isinstance(part, Table | Picture) for part in parts)
    template = resources.files("twinfold.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=markup(title),
        summary=_paragraphs(summary),
        facts=_facts(facts),
        contents=_contents(sections),
        sections="\n".join(_section(place, section) for place, section in enumerate(sections)),
        footer=markup(footer),
        plotly=_plotly() if figures else "",
    )


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _paragraphs(text: str | Sequence[str], style: str = "") -> str:
    mark = f' class="{style}"' if style else ""
    texts = [text] if isinstance(text, str) else text
    return "\n".join(f"<p{mark}>{markup(paragraph)}</p>" for paragraph in texts if paragraph)


def _facts(facts: Sequence[Fact]) -> str:
    if not facts:
        return ""
    cards = "\n".join(
        f'<div><dt>{markup(fact.label)}</dt><dd class="value">{markup(fact.value)}</dd>'
        f'<dd class="note">{markup(fact.note)}</dd></div>'
        for fact in facts
    )
    return f'<dl class="facts">\n{cards}\n</dl>'


def _contents(sections: Sequence[Section]) -> str:
    entries = "".join(
        f'<li><a href="#part-{place}">{markup(section.title)}</a></li>'
        for place, section in enumerate(sections)
    )
    return f'<nav aria-label="Contents"><ol>{entries}</ol></nav>' if entries else ""


def _section(place: int, section: Section) -> str:
    parts = "\n".join(
        part.html() if isinstance(part, Table | Picture) else _figure(part)
        for part in section.parts
    )
    return (
        f'<section id="part-{place}">\n<h2>{markup(section.title)}</h2>\n'
        f"{_paragraphs(section.text)}\n{parts}\n{_paragraphs(section.note, 'aside')}\n</section>"
    )


def _figure(figure: go.Figure) -> str:
    """Return a figure's data as JSON that no parser of HTML can mistake for markup."""
    from plotly.io import to_json

    data = (to_json(figure, validate=False) or "").replace("<", "\\u003c")
    height = figure.layout.height or 400
    return (
        f'<div class="wide"><div class="figure" style="height: {height:.0f}px">'
        f'<script type="application/json">{data}</script></div></div>'
    )
