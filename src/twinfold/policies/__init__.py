"""Policies that make the data of the built-in tasks: random, trained, and mixtures of both.

The trained ones come with the package as small networks; they were made by ``twinfold policies
train``. Nothing here imports JAX before a policy is asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
