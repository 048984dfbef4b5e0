"""`python -m isodiff.cli`: the same as the `isodiff` command."""

import sys

from isodiff.cli import main

sys.exit(main())
