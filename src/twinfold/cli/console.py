"""Parts that commands share: logging and progress, output, JAX's set-up."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.cli.flags import finite

if TYPE_CHECKING:
    from rich.console import Console


def set_up_jax() -> None:
    """Keep compiled programs between commands, so that a second one starts at once."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        try:
            home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            cache = Path(home) / "twinfold" / "jax"
            cache.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # no home, or a read-only one: compile every time
            return
        jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def warn(text: str) -> None:
    """Say one doubtful thing on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def print_json(record: dict[str, Any]) -> None:
    """Print one record on standard output; what is not finite becomes null."""
    print(json.dumps(finite(record), indent=1, ensure_ascii=False, default=str))


def console(stderr: bool = False) -> Console:
    """Return Rich's console, wide enough for a table when the output is a file.

    Users' names are printed as they are: ``[bold]`` is no style and ``:car:`` no picture.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else 120,
        highlight=False,
        markup=False,
        emoji=False,
    )


class Talk:
    """The voice of a long command on standard error: lines, and progress with the time left."""

    def __init__(self, quiet: bool) -> None:
        """Say nothing if ``quiet``."""
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._first = 0
        self._begun = self._said = 0.0

    def line(self, text: str) -> None:
        """Say one line."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Show the steps done of a stage; a bar on a terminal, else a line every five seconds."""
        if self.quiet:
            return
        now = time.monotonic()
        if what != self._what:
            self._what, self._begun, self._said = what, now, now
            self._first = done  # a resumed stage does not begin at zero
            if self._bar is not None:
                self._task = self._bar.add_task(what, total=total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done)
        elif now - self._said > 5:
            self._said = now
            pace = (done - self._first) / (now - self._begun)
            left = f", {(total - done) / pace:.0f} s left" if pace > 0 else ""
            print(
                f"  {what}: {100 * done / max(total, 1):.0f} %{left}", file=sys.stderr, flush=True
            )


@contextmanager
def interruptible(hint: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C end the command with a hint what to do next; ``main`` prints it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(hint()) from None


@contextmanager
def talking(quiet: bool) -> Iterator[Talk]:
    """Give a ``Talk`` whose bars are taken down at the end, whatever happens."""
    talk = Talk(quiet)
    if quiet or not sys.stderr.isatty():
        yield talk
        return
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(stderr=True)) as bar:
        talk._bar = bar
        yield talk
