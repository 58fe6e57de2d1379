"""Pictures, tables and pages made from records and NumPy arrays; JAX is never loaded here.

- ``curves``: a predicted trajectory with its band, members and truth, and its grid of panels.
- ``embed``: the map of agents, two numbers for each.
- ``figures``: Plotly figures for a page.
- ``picture``: one rollout as a file (PNG, PDF or HTML).
- ``tables``: tables with the paper's figures beside ours, for a page and for a terminal.
- ``html``: one self-contained page that opens offline.
"""
