"""Faults of a table with a name: what is probably wrong with it, from figures of the data.

``alignment``: actions and rewards a row late or early. ``sentinels``: numbers that stand for no
value. ``clock``: rows that a change of the clock or a weekend explains. ``settings``: the numbers
that decide. A fault is a warning: the table is used as it is.
"""
