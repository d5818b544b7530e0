"""Run the command line: `python -m lkca COMMAND` does the same as `lkca COMMAND`."""

import sys

from lkca.cli import main

sys.exit(main())
