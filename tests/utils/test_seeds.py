"""Seeds that every generator takes, and those that none does."""

from __future__ import annotations

import pytest

from twinfold.errors import UsageError
from twinfold.utils.seeds import LARGEST_SEED, check_seed, derived_seed


def test_seeds_have_32_bits() -> None:
    check_seed(0)
    check_seed(2**32 - 1)
    for seed in (-1, 2**32):
        with pytest.raises(UsageError, match=f"between 0 and 4294967295, not {seed}"):
            check_seed(seed)


def test_sums_of_seeds_are_seeds() -> None:
    assert derived_seed(7) == 7
    assert derived_seed(LARGEST_SEED + 1) == 0
    check_seed(derived_seed(100 * LARGEST_SEED + 3))
