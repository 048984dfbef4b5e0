"""What a user can mend: one clear line on standard error, exit code 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """The user's input cannot be used. The message says what, where, and how to mend it."""


def without_folders(text: str) -> str:
    """`text` without where this machine keeps things: of absolute paths only the last names stay.

    Results are given away, and no reader of them needs the names of users and folders.
    """
    for known in (Path.cwd(), Path.home()):
        if known.name:
            text = text.replace(f"{known}/", "")  # it may have spaces
    return _FOLDERS.sub("", text)


_FOLDERS = re.compile(r"""(?<![\w.~/-])~?/(?!/)(?:[^\s/'"]+/)*(?=[^\s/'"])""")


def reason(error: BaseException) -> str:
    """The first line of what an exception says, or its name where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
