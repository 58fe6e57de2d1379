"""The paper's tasks as experiments: data, protocol, suites, records, tables, the demo.

What the owner of a table never opens. ``protocol`` and ``runner`` need JAX; suites, records and
tables do not.
"""
