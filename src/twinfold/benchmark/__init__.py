"""The paper's tasks as experiments: data, methods, protocol, suites, records, tables, the demo.

What the owner of a table never opens. ``protocol``, ``runner`` and ``fits`` need JAX; suites,
records, statistics, status, tables, curves over the number of training agents (``training_sizes``)
and page do not. ``methods`` holds a file for each method.
``collect`` is exported by ``twinfold``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
