"""New agents, and more data of known ones, in closed form and without touching the nets.

- ``adapt``: ``adapt`` (exported by ``twinfold``) and ``forget``, whole tables at a time.
- ``fill_missing``: what stands for missing values of their data.
- ``online``: one agent followed transition by transition (``Tracker``).
- ``empirical_bayes``: the prior over agents, and the posterior of those that were fitted.
- ``input_checks``: what is doubtful about data that is adapted to.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
