"""``twinfold --help`` against a Python process that does nothing."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from measure import line, ratio, state_machine

MAIN = "import sys; from twinfold.cli import main; sys.exit(main())"


def process(*words: str) -> float:
    """Seconds of one Python process."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()

    commands = {
        "twinfold --help": ("-c", MAIN, "--help"),
        "twinfold fit --help": ("-c", MAIN, "fit", "--help"),
        "python, importing the argument parser (cyclopts)": ("-c", "import cyclopts"),
        "python, doing nothing": ("-c", "pass"),
    }
    state_machine()
    print()
    for words in commands.values():  # byte code and disk cache
        process(*words)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.repeats):
        for name, words in commands.items():
            times[name].append(process(*words))
    for name, seconds in times.items():
        line(name, seconds)
    help_, _, parser_, nothing = times.values()
    print(f"\ntwinfold --help / nothing:            {ratio(help_, nothing):.2f}")
    print(f"twinfold --help / its parser's import: {ratio(help_, parser_):.2f}")
