"""Panel data: many agents, few rows each.

``PanelDataset`` is what every later step works on. Nothing here imports JAX, and pandas is loaded
only when a table is read, checked or written.
"""

import lazy_loader

# Loaded at once: it has the name of its module, which would take its place if it were loaded later.
from twinfold.data.describe import describe as describe

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
