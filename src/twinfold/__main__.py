"""``python -m twinfold``, and the command ``twinfold``.

Ctrl-C is heard from here on: next to nothing is loaded before.
"""

import os

# Not `signal`, which loads much more.
from _signal import (  # pyright: ignore[reportMissingImports]
    SIGINT,
    default_int_handler,
    getsignal,
    signal,
)


def main() -> None:
    """Run the command of this process, which ends with it."""
    try:
        # Not an exception yet: an import that it goes through may swallow or print it.
        heard = getsignal(SIGINT) is default_int_handler  # not in a job in the background
        if heard:
            signal(SIGINT, _end)
        from twinfold.cli import main as run

        if heard:
            signal(SIGINT, default_int_handler)
        run()
    except KeyboardInterrupt:
        _end()


def _end(*_: object) -> None:
    """End this process, in which nothing has begun."""
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
