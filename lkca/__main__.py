"""`python -m lkca COMMAND` is `lkca COMMAND`."""

import sys

from lkca.cli import main

sys.exit(main())
