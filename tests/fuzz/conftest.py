"""Many small cases of wrong input, each of which must end in one clear error or a right answer.

    TWINFOLD_FUZZ_CASES   cases of each seed, over all files of tests here
    TWINFOLD_FUZZ_SEEDS   seeds, such as 0,1,2

A fault is told with its seed and number: the same case again is ``..._SEEDS=3 ..._CASES=...``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import random
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from twinfold.cli import main
from twinfold.errors import TwinfoldError

CASES = int(os.environ.get("TWINFOLD_FUZZ_CASES", "300"))
SEEDS = [int(seed) for seed in os.environ.get("TWINFOLD_FUZZ_SEEDS", "0").split(",")]
# Of each kind of input; records are of two kinds.
SHARES = {
    **{"runs": 0.3, "manifests": 0.1, "suites": 0.15, "records": 0.075},
    **{"flags": 0.15, "tables": 0.15},
}
LONGEST = 60  # seconds of processor time of a case, after which it is taken never to end
WAITING = 600  # seconds of a case on a busy machine, after which something waits that should not
SHOWN = 5  # faults that are shown in full
LINES = 12  # of an error: one for each problem, of which there may be a few


class TooLong(BaseException):
    """A case that does not end; not an Exception, so that nothing takes it for its own."""


@pytest.fixture(scope="session")
def mutations() -> Any:
    """The module ``mutations.py``."""
    spec = importlib.util.spec_from_file_location(
        "mutations", Path(__file__).parent / "mutations.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fuzz(record_property: Callable[..., None]) -> Callable[..., None]:
    """Run the cases of one kind of input and count how they end."""

    def run(kind: str, case: Callable[[random.Random], str]) -> None:
        counts: Counter[str] = Counter()
        faults = []
        for seed in SEEDS:
            for number in range(max(1, round(SHARES[kind] * CASES))):
                name = f"{kind}, seed {seed}, case {number}"
                with _limited():
                    try:
                        counts[case(random.Random(name))] += 1
                    except TwinfoldError as error:
                        counts["refusals"] += 1
                        try:
                            check_message(str(error), error.exit_code)
                        except AssertionError:
                            faults.append(f"{name}\n{traceback.format_exc()}")
                    except (Exception, TooLong):
                        faults.append(f"{name}\n{traceback.format_exc()}")
        record_property("fuzz", (kind, {**counts, "faults": len(faults)}))
        assert not faults, f"{len(faults)} faults\n\n" + "\n".join(faults[:SHOWN])

    return run


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, LONGEST),
        (signal.SIGALRM, signal.ITIMER_REAL, WAITING),
    )
    before = {number: signal.signal(number, stop) for number, *_ in timers}
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, timer, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def check_message(message: str, code: int) -> None:
    """Check that an error is short, in lines, and ends the command as errors do."""
    lines = message.splitlines()
    assert code in (1, 2, 3), code
    assert 1 <= len(lines) <= LINES, message
    assert all(line.strip() and len(line) < 2000 for line in lines), message
    assert "Traceback" not in message, message


@pytest.fixture
def command() -> Callable[..., str]:
    """Run a command; it either fails with an error as errors are, or succeeds."""

    def run(*words: Any) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        if code == 0:
            return out.getvalue()
        said = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
        if not said and out.getvalue():  # a report of what is wrong with a table
            said = [out.getvalue().splitlines()[0]]
        assert said, f"{words} ended with {code} and nothing was said"
        check_message("\n".join(said), code)
        error = TwinfoldError(said[0])
        error.exit_code = code
        raise error

    return run


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how the cases ended, whether they ran here or in workers."""
    total: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for kind, counts in (item for name, item in report.user_properties if name == "fuzz"):
                terminalreporter.write_line(f"fuzz: {kind}: {_told(counts)}")
                total.update(counts)
    if total:
        terminalreporter.write_line(f"fuzz: in all: {_told(total)}")


def _told(counts: dict[str, int]) -> str:
    cases = sum(counts.values())
    return f"{cases} cases, " + ", ".join(f"{count} {name}" for name, count in counts.items())
