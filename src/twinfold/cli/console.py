"""Parts that commands share: logging and progress, output, JAX's set-up."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinfold.cli.streams import Output, printable_streams
from twinfold.errors import UsageError
from twinfold.utils.plain import plain
from twinfold.utils.text import printable

if TYPE_CHECKING:
    from rich.console import Console


# Settings that programs were written and tested with: a stricter JAX refuses what they do, and with
# other random numbers equal seeds would not give equal results.
_AS_TESTED: dict[str, Any] = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
    "jax_transfer_guard": "allow",
    "jax_no_tracing": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
}
_OF_DEVICES = ("JAX_PLATFORMS", "JAX_DEFAULT_DEVICE", "JAX_NUM_CPU_DEVICES")


def set_up_jax() -> None:
    """Prepare JAX for a command: full single precision, and compiled programs that are kept.

    Programs that are kept let a second command start at once. Models are made, tested and
    calibrated in single precision, whatever variables say.

    Raises:
        UsageError: a variable of JAX's has a value that is none, or asks for a device that there
            is not.
    """
    try:
        import jax
    except ValueError as error:
        line = str(error).partition("\n")[0]
        raise UsageError(f"JAX does not start: {line}; unset the variable, or correct it") from None

    for name, value in _AS_TESTED.items():
        jax.config.update(name, value)
    if not os.environ.get("JAX_DEFAULT_MATMUL_PRECISION"):
        # Graphics processors would multiply in TF32, with three digits; nothing changes on a CPU.
        jax.config.update("jax_default_matmul_precision", "highest")
    _check_platform()
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        try:
            home = Path(os.environ.get("XDG_CACHE_HOME") or "")
            home = home if home.is_absolute() else Path.home() / ".cache"  # the standard says so
            cache = home / "twinfold" / "jax"
            cache.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # no home, or a read-only one: compile every time
            return
        jax.config.update("jax_compilation_cache_dir", str(cache))
        empty_when_damaged(cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # many are small
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def empty_when_damaged(cache: Path) -> None:
    """Empty the folder of compiled programs as soon as JAX warns of it, in place of the warning.

    JAX writes programs in place, so that a full disk or a killed process leaves one cut off. It
    would warn of that in every command from then on, and never write the program again.

    Args:
        cache: the folder, of this program alone.
    """
    show = warnings.showwarning

    def showwarning(message: Warning | str, *rest: Any, **options: Any) -> None:
        if "persistent compilation cache" not in str(message):
            show(message, *rest, **options)
            return
        for path in cache.glob("*-cache"):
            with suppress(OSError):
                path.unlink()

    warnings.showwarning = showwarning


def _check_platform() -> None:
    import jax

    found = {name: os.environ[name] for name in _OF_DEVICES if os.environ.get(name)}
    if not found:
        return
    try:
        jax.device_put(0.0)
    except Exception as error:  # JAX raises several kinds, one without a word
        why = str(error).split("\n", 1)[0] or "there is no such device"
        wanted = " and ".join(f"the variable {name} is {value!r}" for name, value in found.items())
        raise UsageError(
            f"{wanted}, which JAX cannot use here: {why}; unset it, or set JAX_PLATFORMS to cpu"
        ) from error


def warn(text: str) -> None:
    """Say one doubtful thing on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def print_json(record: dict[str, Any]) -> None:
    """Print one record on standard output; what is not finite becomes null.

    What a terminal could not show as it is gets JSON's own escapes.
    """
    text = json.dumps(plain(record), indent=1, ensure_ascii=False, default=str)
    encoding = sys.stdout.encoding or "utf-8"
    if printable(text).encode(encoding, "replace").decode(encoding) != text:
        text = json.dumps(plain(record), indent=1, default=str)
    print(text)


def console(stderr: bool = False, width: int | None = 120) -> Console:
    """Return Rich's console.

    Users' names are printed as they are: ``[bold]`` is no style and ``:car:`` no picture.

    Args:
        stderr: write to standard error.
        width: columns when the output is a file, enough for a table; None for as many as the
            environment says.
    """
    from twinfold.cli.terminal import Terminal

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, Output):
        stream = stream.verbatim()
    return Terminal(file=stream, width=None if stream.isatty() else width)


def paced(say: Callable[[str], None], pause: float = 10.0) -> Callable[[str], None]:
    """Return ``say`` for lines of progress: not every one of them is for a log.

    Args:
        say: prints a line on standard output.
        pause: seconds after a line within which others are left out, but on a terminal.
    """
    last = -math.inf

    def now_and_then(line: str) -> None:
        nonlocal last
        if sys.stdout.isatty() or time.monotonic() - last >= pause:
            last = time.monotonic()
            say(line)

    return now_and_then


class Talk:
    """The voice of a long command on standard error: lines, and progress with the time left."""

    def __init__(self, quiet: bool, pause: float = 10.0, known: float = 0.1) -> None:
        """Say nothing if ``quiet``; in a log, no progress within ``pause`` seconds of the last.

        The time that is left is told once the share ``known`` of a stage is done: before that it is
        the time that programs take to compile.
        """
        self.quiet, self._pause, self._known = quiet, pause, known
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
        """Show the steps done of a stage: a bar on a terminal, now and then a line in a log."""
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
        elif now - self._said >= self._pause:
            self._said = now
            steps, first = done - self._first, self._known * (total - self._first)
            pace = steps / (now - self._begun)
            left = f", {(total - done) / pace:.0f} s left" if steps >= max(first, 1) else ""
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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    # While there are bars, Rich reads what is printed and obeys the colours in it: once more.
    with Progress(*columns, console=console(stderr=True)) as bar, printable_streams():
        talk._bar = bar
        yield talk
