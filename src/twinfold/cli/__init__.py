"""The command line: parse, call, print. No maths here.

Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from twinfold import __version__
from twinfold.cli import data, judge, learn
from twinfold.errors import InvalidDataError, TwinfoldError

HELP = """A digital twin for every agent, from one trajectory each.

twinfold learns a personalised simulator for every agent (patient, machine, vehicle, customer) of a
table, answers what-if questions with it, and plans.

Start:  twinfold demo   or, with a table of your own (one row per agent and time):

  twinfold data validate cohort.csv --agent patient --time day --state weight,glucose \\
      --action dose --action-type continuous
  twinfold fit cohort.csv --agent patient ... --out run
  twinfold simulate run --agent P7 --state 81.5,6.2 --actions 10,10,0,0 --plot p7.png

Exit codes: 0 success, 1 failure, 2 usage, 3 invalid data, 130 interrupted.
"""

app = App(
    name="twinfold",
    version=__version__,
    help=HELP,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command(data.app)
app.command(learn.fit)
app.command(learn.simulate)
app.command(judge.plan)
app.command(judge.evaluate)
app.command(judge.demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``twinfold``; those of the process when None.
    """
    try:
        code = app(
            arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _fail(f"{error}\nSee `twinfold --help`.", 2)
    except InvalidDataError as error:
        return _fail("\n".join(error.problems), error.exit_code)
    except TwinfoldError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # `twinfold ... | head`
        sys.stderr.close()
        return 1


def _fail(message: str, code: int) -> int:
    for line in message.splitlines():
        print(f"error: {line}" if code != 130 else line, file=sys.stderr)
    return code
