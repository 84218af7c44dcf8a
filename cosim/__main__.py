"""`python -m cosim` is `nimble`."""

import sys

from cosim.cli import main

sys.exit(main())
