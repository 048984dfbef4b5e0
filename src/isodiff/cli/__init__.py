"""The command line: `isodiff VERB ...`. A verb is one module of this folder.

The first line of its docstring is its line of `isodiff --help`. It has a function `run`, or `COMMANDS` where
it does several things; signature and docstring of a function are options and help (parsing.py), and it
returns an `Answer`. Nothing heavy is imported before a verb is chosen, so `isodiff --help` is instant; and
nothing at all before `main` is called, so that Ctrl-C is an answered question from the first moment on.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one verb; returns the exit code (0 done, 1 the work failed, 2 the input was bad)."""
    try:
        from isodiff.cli.dispatch import dispatch

        return dispatch(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        print("\nisodiff: interrupted; nothing was written", file=sys.stderr)
        return 130
