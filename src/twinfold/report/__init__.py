"""Pictures, tables and pages made from records and NumPy arrays; JAX is never loaded here.

- ``curves``: a predicted trajectory with its band, members and truth, and its grid of panels.
- ``agent_map``: the map of agents, two numbers for each.
- ``figures``, ``validation_figures``: Plotly figures for a page.
- ``static_figures``: one rollout as a file (PNG, PDF or HTML); ``data_figure``: what data covers.
- ``tables``: tables with the paper's figures beside ours, for a page and for a terminal.
- ``palette``: colours of methods.
- ``labels``: users' names in all of these, whatever characters they hold.
- ``html``: one self-contained page that opens offline; ``validation_page``: that of a validation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
