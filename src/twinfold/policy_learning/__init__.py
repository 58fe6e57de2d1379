"""Policies trained inside a simulator: a learned one, or the true task.

Names load when they are used: settings need no JAX, everything else does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
