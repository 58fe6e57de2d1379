"""A digital twin for every agent, from one trajectory each.

What most programs need is here; each package exports the rest (``twinfold.planning``,
``twinfold.ope``, ...). A name that is also the name of its module (``fit``, ``adapt``,
``validate``, ``policy_value``, ``collect``) is exported here only: in its package the module would
hide it.

Names are loaded when they are first used: ``import twinfold`` is instant and loads neither JAX nor
pandas.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
