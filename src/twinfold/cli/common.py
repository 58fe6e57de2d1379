"""What commands share: roles from flags, logging and progress, JAX's set-up."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from twinfold.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from twinfold.data.roles import Roles

ActionType = Literal["discrete", "continuous"]
Names = Annotated[list[str] | None, Parameter(negative="", consume_multiple=False)]
Flag = Annotated[bool, Parameter(negative="")]


def split(values: list[str] | None) -> tuple[str, ...]:
    """``["a,b", "c"]`` -> ``("a", "b", "c")``: flags may be repeated, or hold commas."""
    return tuple(
        part.strip() for value in values or [] for part in value.split(",") if part.strip()
    )


@Parameter(name="*")
@dataclass(frozen=True)
class RoleFlags:
    """Which column is what; all of these flags, or none and a manifest beside the table."""

    agent: Annotated[str | None, Parameter(help="Column of agent ids.")] = None
    time: Annotated[str | None, Parameter(help="Column of times: numbers or dates.")] = None
    state: Annotated[Names, Parameter(help="Columns of the state, separated by commas.")] = None
    action: Annotated[
        Names,
        Parameter(help="Columns of the action; empty in the last row of a trajectory."),
    ] = None
    action_type: Annotated[
        ActionType | None, Parameter(help="One integer column (discrete), or quantities.")
    ] = None
    episode: Annotated[
        str | None, Parameter(help="Column that tells an agent's trajectories apart.")
    ] = None
    reward: Annotated[str | None, Parameter(help="Column of rewards.")] = None
    terminated: Annotated[
        str | None, Parameter(help="Flag on the last row of a trajectory that ended by itself.")
    ] = None
    truncated: Annotated[
        str | None, Parameter(help="Flag on the last row of a trajectory that was cut off.")
    ] = None

    def roles(self) -> Roles | None:
        """The roles, or None if no flag was given (the manifest beside the table then says).

        Raises:
            UsageError: some flags were given, but not all that are needed.
        """
        values = {**asdict(self), "state": split(self.state), "action": split(self.action)}
        given = {name: value for name, value in values.items() if value}
        if not given:
            return None
        needed = ("agent", "time", "state", "action", "action_type")
        missing = ["--" + name.replace("_", "-") for name in needed if name not in given]
        if missing:
            raise UsageError(
                f"{', '.join(missing)} missing: say which column is the agent, time, state and "
                "action and give the action type, or no column at all and a manifest beside the "
                "table"
            )
        from twinfold.data.roles import Roles

        return Roles.parse(given)


def set_up_jax() -> None:
    """Keep compiled programs between commands, so that a second one starts at once."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(home) / "twinfold" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def warn(text: str) -> None:
    """One doubtful thing, on standard error."""
    print(f"warning: {text}", file=sys.stderr)


def print_json(record: dict[str, Any]) -> None:
    """One record on standard output; what is not finite becomes null."""
    print(json.dumps(_finite(record), indent=1, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy
        return _finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def console(stderr: bool = False) -> Console:
    """Rich's console, wide enough for a table when the output is a file."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else 120, highlight=False)


class Talk:
    """What a long command says on standard error: lines, and progress with the time left."""

    def __init__(self, quiet: bool) -> None:
        """Say nothing if ``quiet``."""
        self.quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._what = ""
        self._begun = self._said = 0.0

    def line(self, text: str) -> None:
        """One line."""
        if self.quiet:
            return
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """Steps done so far of a stage; a bar on a terminal, else a line every five seconds."""
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
def talking(quiet: bool) -> Iterator[Talk]:
    """A ``Talk`` whose bars are taken down at the end, whatever happens."""
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
