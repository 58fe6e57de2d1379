"""Answers to what-if questions: a single one, or a table of them.

- ``simulator``: one agent's simulator.
- ``inputs``: states and actions that are asked about, and what is out of range.
- ``query_table``: tables of questions, read and checked.
- ``what_if``: answers to a table of questions.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
