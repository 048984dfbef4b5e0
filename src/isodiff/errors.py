"""What a user can mend: one clear line on standard error, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input cannot be used. The message says what, where, and how to mend it."""


def reason(error: Exception) -> str:
    """The first line of what an exception says, or its name where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
