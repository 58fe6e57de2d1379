"""The paper's tasks as experiments: data, protocol, suites, records, tables, the demo.

What the owner of a table never opens. ``protocol`` and ``runner`` need JAX; suites, records and
tables do not. ``collect`` is exported by ``twinfold``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twinfold.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from twinfold.benchmark.collect import provenance
    from twinfold.benchmark.comparison import Entry, summarise
    from twinfold.benchmark.protocol import (
        Predictions,
        evaluate_prediction,
        evaluate_return,
        evaluate_true,
        predict,
        true_covariates,
    )
    from twinfold.benchmark.records import read_records
    from twinfold.benchmark.runner import run_suite
    from twinfold.benchmark.suite import Suite, load_suite

_HOME = {
    "Entry": "twinfold.benchmark.comparison",
    "Predictions": "twinfold.benchmark.protocol",
    "Suite": "twinfold.benchmark.suite",
    "evaluate_prediction": "twinfold.benchmark.protocol",
    "evaluate_return": "twinfold.benchmark.protocol",
    "evaluate_true": "twinfold.benchmark.protocol",
    "load_suite": "twinfold.benchmark.suite",
    "predict": "twinfold.benchmark.protocol",
    "provenance": "twinfold.benchmark.collect",
    "read_records": "twinfold.benchmark.records",
    "run_suite": "twinfold.benchmark.runner",
    "summarise": "twinfold.benchmark.comparison",
    "true_covariates": "twinfold.benchmark.protocol",
}

__all__ = [
    "Entry",
    "Predictions",
    "Suite",
    "evaluate_prediction",
    "evaluate_return",
    "evaluate_true",
    "load_suite",
    "predict",
    "provenance",
    "read_records",
    "run_suite",
    "summarise",
    "true_covariates",
]

__getattr__ = lazy_exports(__name__, _HOME)
