"""Data sets of offline reinforcement learning as panels, and panels as such data sets.

``episodes``: what they have in common. ``minari_format``, ``d3rlpy_format``, ``d4rl_format``: one
each. ``convert``: a file of any of them to a table, and a panel to a file of any of them.
"""
