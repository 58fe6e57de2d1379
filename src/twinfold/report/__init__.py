"""Pictures, tables and pages made from records and NumPy arrays; JAX is never loaded here.

- ``curves``: a predicted trajectory with its band, members and truth, and its grid of panels.
- ``agent_map``: the map of agents, two numbers for each.
- ``figures``, ``validation_figures``: Plotly figures for a page.
- ``static_figures``: one rollout as a file (PNG, PDF or HTML); ``data_figure``: what data covers.
- ``tables``: tables with the paper's figures beside ours, for a page and for a terminal.
- ``labels``: users' names in all of these, whatever characters they hold.
- ``html``: one self-contained page that opens offline; ``validation_page``: that of a validation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.report.html import write_page
    from twinfold.report.static_figures import save_rollout
    from twinfold.report.validation_page import write_validation

_HOME = {
    "save_rollout": "twinfold.report.static_figures",
    "write_page": "twinfold.report.html",
    "write_validation": "twinfold.report.validation_page",
}

__all__ = [
    "save_rollout",
    "write_page",
    "write_validation",
]

__getattr__ = lazy_exports(__name__, _HOME)
