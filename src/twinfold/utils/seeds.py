"""Which seeds every generator of random numbers takes."""

from __future__ import annotations

from twinfold.errors import UsageError


def check_seed(seed: int) -> None:
    """Refuse a seed that is no number of 32 bits.

    JAX keeps the low 32 bits: a larger seed would silently equal a smaller one.

    Raises:
        UsageError: it is negative or too large.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"the seed must be between 0 and {2**32 - 1}, not {seed}")
