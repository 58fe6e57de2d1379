"""From a table to a run: model selection, training, run directories.

- ``fit``: the whole way (``fit`` is exported by ``twinfold``).
- ``model_selection``: which model, by errors on held-out data; ``simple_models``, ``trials`` and
  ``recipes`` are its parts, ``holdout_band`` what it says of the errors to expect.
- ``ensemble``: the members; ``trainer`` runs groups of them, ``train_step`` is the hot path.
- ``factor_regression``, ``head_refinement``: what is solved for in closed form.
- ``run_writer``: what is kept; ``run_directory`` reads it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.training.run_directory import load_run
    from twinfold.training.run_writer import save_run

_HOME = {
    "load_run": "twinfold.training.run_directory",
    "save_run": "twinfold.training.run_writer",
}

__all__ = [
    "load_run",
    "save_run",
]

__getattr__ = lazy_exports(__name__, _HOME)
