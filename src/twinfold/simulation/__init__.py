"""What would happen if: one question, or a table of them.

- ``simulator``: one agent's simulator.
- ``inputs``: states and actions that are asked about, and what is out of range.
- ``query_table``: tables of questions, read and checked.
- ``what_if``: answers to a table of questions.
"""
