"""The paper's tasks as experiments: data, protocol, suites, records, tables, the demo.

What the owner of a table never opens. ``protocol`` and ``runner`` need JAX; suites, records and
tables do not. ``collect`` is exported by ``twinfold``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
