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

AGAIN = 0.05  # seconds until an interrupt that could not be raised is tried again


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _later()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _later() -> None:
    signal.setitimer(signal.ITIMER_REAL, AGAIN)


@contextmanager
def interrupts() -> Iterator[None]:
    """Within, Ctrl-C raises ``KeyboardInterrupt`` where it is safe, and is never lost.

    Does nothing where Ctrl-C has no meaning or another one: in a thread, in a job that a shell
    started in the background, under a handler of somebody else's.
    """
    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        and hasattr(signal, "setitimer")
    )
    if not ours:
        yield
        return
    hook = sys.unraisablehook

    def ignored(unraisable: Any) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _later()
        else:
            hook(unraisable)

    alarm = signal.signal(signal.SIGALRM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGALRM, alarm)
