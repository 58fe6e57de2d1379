"""Errors that twinfold raises on purpose.

Each message names the value that is wrong and what would be right. The command line prints the
message alone, without a traceback, and exits with ``exit_code``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class TwinfoldError(Exception):
    """Base of every deliberate error."""

    exit_code = 1


class UsageError(TwinfoldError):
    """An argument or a configuration value cannot be used."""

    exit_code = 2


class InvalidDataError(TwinfoldError):
    """A table cannot be used as panel data.

    Args:
        problems: one line per problem, each naming the column, agent and row concerned.
    """

    exit_code = 3

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(self.problems))


class RunError(TwinfoldError):
    """A run directory or checkpoint is missing, damaged, incomplete or from another version."""


class DivergedError(TwinfoldError, ArithmeticError):
    """Nothing that was computed is finite; a benchmark records it and goes on."""


class WriteError(TwinfoldError):
    """A file cannot be written because the disk is full or broken."""


def one_of(valid: Iterable[object]) -> str:
    """The end of a message that lists what would have been accepted."""
    return "valid: " + ", ".join(str(value) for value in valid)
