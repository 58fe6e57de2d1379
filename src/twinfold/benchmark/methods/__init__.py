"""The methods that a suite can name: what each is, what it can do, how it is fitted and asked.

A method is one file here and one line of ``registry``. Nothing else of the benchmark knows a method
by its name. Describing and configuring methods needs no JAX; fitting them does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
