"""Methods of others that ours are measured against.

Models of the dynamics stand behind the seam ``Dynamics``; policies act on a state alone. Settings
need no JAX; what is fitted does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
