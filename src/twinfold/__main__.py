"""``python -m twinfold``, and the command ``twinfold``.

Ctrl-C is heard from here on: next to nothing is loaded before.
"""

import os


def main() -> None:
    """Run the command of this process, which ends with it."""
    try:
        from twinfold.cli import main as run

        run()
    except KeyboardInterrupt:  # the command line was still being loaded
        try:
            os.write(2, b"interrupted\n")
        finally:
            os._exit(130)


if __name__ == "__main__":
    main()
