"""New agents, and more data of known ones, in closed form and without touching the nets.

- ``adapt``: ``adapt`` (exported by ``twinfold``) and ``forget``, whole tables at a time.
- ``online``: one agent followed transition by transition (``Tracker``).
- ``empirical_bayes``: the prior over agents, and the posterior of those that were fitted.
- ``input_checks``: what is doubtful about data that is adapted to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.adaptation.adapt import forget
    from twinfold.adaptation.online import Tracker

_HOME = {
    "Tracker": "twinfold.adaptation.online",
    "forget": "twinfold.adaptation.adapt",
}

__all__ = [
    "Tracker",
    "forget",
]

__getattr__ = lazy_exports(__name__, _HOME)
