"""Ctrl-C that always ends a command.

Python raises ``KeyboardInterrupt`` wherever the main thread happens to be. Inside the start of a
compiled module that is an ``ImportError`` or a crash; inside a callback of the garbage collector
(JAX has one) or a finaliser it is printed as "ignored", and the command goes on for hours. So an
interrupt waits while a module is being imported, and one that was ignored is raised again.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN = 0.01  # seconds until an interrupt that could not be raised is tried again


def _imports(frame: FrameType | None) -> int:
    """Return how many frames of the import system a stack has."""
    count = 0
    while frame is not None:
        count += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return count


def _later() -> None:
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


@contextmanager
def interrupts() -> Iterator[None]:
    """Let Ctrl-C raise ``KeyboardInterrupt`` where it is safe, and always while work goes on.

    Does nothing where Ctrl-C has no meaning or another one: in a thread, in a job that a shell
    started in the background, under a handler of somebody else's for this or for the alarm.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and hasattr(signal, "setitimer")
        and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    )
    if not ours:
        yield
        return
    hook = sys.unraisablehook
    outer = _imports(sys._getframe())  # the command may itself be run by a module's import

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        if _imports(frame) > outer:
            _later()
        else:
            raise KeyboardInterrupt

    def ignored(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _later()
        else:
            hook(unraisable)

    signal.signal(signal.SIGALRM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = ignored
    waiting = 0.0
    try:
        yield
        waiting, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        sys.unraisablehook = hook
    if waiting:
        raise KeyboardInterrupt
