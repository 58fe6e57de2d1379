"""Seeds that every generator takes, and those that none does."""

from __future__ import annotations

import pytest

from twinfold.errors import UsageError
from twinfold.utils.seeds import check_seed


def test_seeds_have_32_bits() -> None:
    check_seed(0)
    check_seed(2**32 - 1)
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match=f"between 0 and 4294967295, not {seed}"):
            check_seed(seed)
