"""What is told of a study: text, tables and figures, before it is Markdown or HTML. No JAX."""

from __future__ import annotations

from dataclasses import dataclass

from twinfold.report.tables import Table


@dataclass(frozen=True)
class Drawing:
    """A figure in a file.

    Attributes:
        name: of its file, ``NAME.png``.
        text: what it shows.
    """

    name: str
    text: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.png"


@dataclass(frozen=True)
class Told:
    """What is told of a study.

    Attributes:
        title: of its section.
        text: before all parts.
        parts: tables and figures in their order.
        note: after them.
    """

    title: str
    text: str
    parts: tuple[Table | Drawing, ...]
    note: str = ""


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text, a line each."""
    return [" ".join(part.split()) for part in text.split("\n\n")]


def markdown(told: Told, figures: str | None) -> str:
    """Return a section in Markdown.

    Args:
        told: what is told of a study.
        figures: folder of figures, as links have it; they are left out if None.
    """
    parts = [f"## {told.title}\n", told.text.rstrip() + "\n"]
    for part in told.parts:
        if isinstance(part, Table):
            parts += [f"{part.caption}:\n"] if part.caption else []
            parts.append(part.markdown() + "\n")
        elif figures is not None:
            parts.append(f"![{part.text}]({figures}{part.file})\n")
    return "\n".join([*parts, *([told.note.rstrip() + "\n"] if told.note else [])])
