"""The command line: parse, call, print. No maths here.

Results go to standard output, everything else to standard error.
Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress

from cyclopts import App, CycloptsError

from twinfold import __version__
from twinfold.cli.sigint import interrupts
from twinfold.errors import InvalidDataError, TwinfoldError

# Help is shown as it stands here, so its lines are short enough for any terminal.
HELP = """A digital twin for every agent, from one trajectory each.

twinfold learns a personalised simulator for every agent (patient, machine,
vehicle, customer) of a table, answers what-if questions with it, and plans.

See it work:  twinfold demo

With a table of your own, one row per agent and time:

  twinfold data validate cohort.csv --agent patient --time day \\
      --state weight,glucose --action dose --action-type continuous
  twinfold fit cohort.csv --agent patient ... --out run
  twinfold validate run --out report
  twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0,0

Every command explains itself:  twinfold fit --help

Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

# Where each command is, and what it does in a line: the first of its own help. A command's module
# is loaded when it is called, because the flags of some are made from settings.
COMMANDS = {
    "data": ("data:app", "Collect, check and describe panel data."),
    "policies": ("policies:app", "Train and list the policies that the benchmark data comes from."),
    "fit": ("fit:fit", "Learn a simulator for every agent of a table."),
    "validate": ("validate:validate", "Try to prove a run wrong, and say what it may be used for."),
    "adapt": (
        "adapt:adapt",
        "Add new agents to a run, or more data of known ones, without a new fit.",
    ),
    "forget": (
        "adapt:forget",
        "Take agents out of a run: their factors, their sums, their kept states.",
    ),
    "simulate": (
        "simulate:simulate",
        "Answer what-if questions: what would this agent do under these actions?",
    ),
    "plan": ("plan:plan", "Plan for one agent and show the plan with its predicted outcome."),
    "value": ("value:value", "Estimate what a policy is worth to an agent, without trying it."),
    "evaluate": (
        "evaluate:evaluate",
        "Judge a run against the true task, by the protocol of the PerSim paper.",
    ),
    "demo": (
        "demo:demo",
        "Take CartPole from nothing to a page: collect, check, fit, evaluate, ask.",
    ),
    "bench": ("bench:app", "Run the experiments of the PerSim paper, and others of their kind."),
}


def make_app(called: str | None = None) -> App:
    """Return the command line.

    Args:
        called: name of the command that is called, which has its own help; the others are only
            listed.
    """
    app = App(
        name="twinfold",
        version=__version__,
        help=HELP,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,
    )
    for name, (place, summary) in COMMANDS.items():
        listed = None if name == called else summary
        app.command(f"{__name__}.{place}", name=name, help=listed)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``twinfold``; those of the process when None.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name the terminal cannot show is no failure
            stream.reconfigure(errors="backslashreplace")
    as_process = arguments is None
    try:
        with interrupts() if as_process else nullcontext():
            words = sys.argv[1:] if arguments is None else list(arguments)
            code = make_app(words[0] if words else None)(
                words,
                exit_on_error=False,
                print_error=False,
                result_action="return_value",
            )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        _complain(str(error))
        print(f"See `{_command(error)} --help`.", file=sys.stderr)
        return 2
    except InvalidDataError as error:
        _complain(*error.problems)
        return error.exit_code
    except TwinfoldError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        if as_process:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # once is enough
        hint = str(error)
        with suppress(OSError):  # whoever read it may be gone
            print(f"interrupted: {hint}" if hint else "interrupted", file=sys.stderr, flush=True)
        with suppress(OSError):
            sys.stdout.flush()
        if as_process:  # compiled code in other threads can be neither stopped nor taken down
            os._exit(130)
        return 130
    except BrokenPipeError:  # `twinfold ... | head`
        # Python flushes standard output once more at exit; there it would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # no space left, a file that vanished
        _complain(str(error))
        return 1


def _complain(*messages: str) -> None:
    for message in messages:
        for line in message.splitlines():
            print(f"error: {line}", file=sys.stderr)


def _command(error: CycloptsError) -> str:
    """Return the command that could not be parsed, such as ``twinfold data validate``."""
    return " ".join(["twinfold", *(error.command_chain or ())])
