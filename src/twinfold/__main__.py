"""``python -m twinfold``: the command line."""

import sys

from twinfold.cli import main

sys.exit(main())
