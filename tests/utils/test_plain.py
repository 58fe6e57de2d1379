"""What goes into JSON is plain."""

from __future__ import annotations

import json
from types import MappingProxyType

import numpy as np

from twinfold.utils.plain import plain


def test_what_is_no_finite_number_is_null() -> None:
    values = MappingProxyType({1: (np.float64("nan"), np.array([1.0, np.inf])), "a": -np.inf})
    assert plain(values) == {"1": [None, [1.0, None]], "a": None}
    json.dumps(plain(values), allow_nan=False)


def test_the_rest_stays() -> None:
    assert plain({"a": [1, True, None, "x", np.int64(3)]}) == {"a": [1, True, None, "x", 3]}
