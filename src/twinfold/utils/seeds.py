"""Which seeds every generator of random numbers takes."""

from __future__ import annotations

from twinfold.errors import UsageError

LARGEST_SEED = 2**32 - 1
"""JAX keeps the low 32 bits: a larger seed would silently equal a smaller one."""


def derived_seed(number: int) -> int:
    """Return the seed that a sum of seeds and counts stands for: what is too large begins anew."""
    return number % (LARGEST_SEED + 1)


def check_seed(seed: int) -> None:
    """Refuse a seed that is negative or larger than :data:`LARGEST_SEED`.

    Raises:
        UsageError: it is negative or too large.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"the seed must be between 0 and {LARGEST_SEED}, not {seed}")
