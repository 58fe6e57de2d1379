"""From a table to a run: model selection, training, run directories.

- ``fit``: the whole way (``fit`` is exported by ``twinfold``).
- ``model_selection``: which model, by errors on held-out data (``folds``); ``simple_models``,
  ``net_search``, ``trials`` and ``recipes`` are its parts, ``holdout_band`` what it says of the
  errors to expect.
- ``ensemble``: the members; ``trainer`` runs groups of them, ``train_step`` is the hot path.
- ``factor_regression``, ``head_refinement``: what is solved for in closed form.
- ``train_on_all``: the members of a model that was chosen; ``refilling``: missing values filled in
  by nets before anything is.
- ``run_writer``: what is kept; ``run_directory`` reads it again.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
