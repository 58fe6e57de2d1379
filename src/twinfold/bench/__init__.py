"""Suites of experiments: what is run, the records of what was run, and tables made from them.

Only ``run`` needs JAX; suites, records and tables do not.
"""

from __future__ import annotations
