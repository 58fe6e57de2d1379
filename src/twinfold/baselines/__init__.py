"""Methods of others that ours are measured against, each behind the seam ``Dynamics``.

Settings need no JAX; what is fitted does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
