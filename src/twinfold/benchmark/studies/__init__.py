"""Figures and studies of the paper beside its tables: each measured into records, then drawn.

Settings, records, figures and the page need no JAX; what measures does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
