"""One rollout as a file: PNG and PDF through Matplotlib, HTML through Plotly."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twinfold.errors import UsageError, one_of
from twinfold.report.curves import Curves, grid, state_names
from twinfold.report.labels import literal
from twinfold.utils.files import atomic_write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".pdf", ".svg", ".html")

_OURS, _TRUTH = "#3b78d8", "#e8710a"


def save_rollout(
    path: str | os.PathLike[str], curves: Curves, names: Sequence[str] = (), title: str = ""
) -> None:
    """Draw a predicted trajectory into a file, whole or not at all.

    Args:
        path: where; the suffix chooses the format, one of ``SUFFIXES``.
        curves: the trajectory.
        names: the D names of the states.
        title: shown above the panels.

    Raises:
        UsageError: another suffix, or a different number of names than states.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"cannot draw into {target.name!r} by its suffix; {one_of(SUFFIXES)}")
    names = state_names(curves, names)
    if suffix == ".html":
        from twinfold.report.figures import rollout_figure
        from twinfold.report.html import Section, write_page

        figure = rollout_figure(curves, names)
        write_page(target, title or "Rollout", "", [Section("Predicted trajectory", "", [figure])])
        return
    atomic_write_bytes(target, _draw(curves, names, title, suffix.removeprefix(".")))


def _draw(curves: Curves, names: Sequence[str], title: str, suffix: str) -> bytes:
    from matplotlib.figure import Figure

    rows, columns = grid(len(names))
    figure = Figure(figsize=(8.0 if columns == 1 else 11.0, 1.1 + 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, squeeze=False).flat
    for d, panel in enumerate(panels):
        if d >= len(names):
            panel.set_visible(False)
            continue
        if curves.lower is not None and curves.upper is not None:
            panel.fill_between(
                curves.times,
                curves.lower[:, d],
                curves.upper[:, d],
                color=_OURS,
                alpha=0.2,
                linewidth=0,
                label="band",
            )
        if curves.members is not None:
            lines = panel.plot(
                curves.times, curves.members[:, :, d].T, color=_OURS, alpha=0.45, linewidth=0.8
            )
            if lines:
                lines[0].set_label("members")
        panel.plot(curves.times, curves.centre[:, d], color=_OURS, linewidth=2, label="predicted")
        if curves.truth is not None:
            panel.plot(curves.times, curves.truth[:, d], color=_TRUTH, linestyle=":", label="true")
        panel.set_title(literal(names[d]), loc="left", fontsize=10)
        panel.grid(alpha=0.3, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        if d >= len(names) - columns:
            panel.set_xlabel("time")
            panel.tick_params(labelbottom=True)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    if title:
        figure.suptitle(literal(title), x=0.01, ha="left", fontsize=12)
    return drawn(figure, suffix)


_DATE = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}


def drawn(figure: Figure, suffix: str) -> bytes:
    """Return a figure as a file; the same figure gives the same bytes, without the time of making.

    Args:
        figure: made without pyplot: it needs no display and leaves nothing behind.
        suffix: png, pdf or svg.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in another script
        figure.savefig(buffer, format=suffix, dpi=150, metadata={_DATE[suffix]: None})
    return buffer.getvalue()
