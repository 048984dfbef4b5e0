"""What a user can mend: one clear line on standard error, exit code 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


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


class WorkFailed(Exception):
    """The work itself failed, though the input was good: exit code 1, what there is still on stdout.

    Attributes:
        value: what `--json` prints all the same.
        text: the same for people.
    """

    def __init__(
        self, message: str, value: Mapping[str, Any] | None = None, text: str = ""
    ) -> None:
        super().__init__(message)
        self.value, self.text = value, text


class SaidElsewhere(Exception):
    """Another process of the same run says how it ended; this one is silent and exits with `code`."""

    def __init__(self, message: str = "", code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def reason(error: BaseException) -> str:
    """The first line of what an exception says, or its name where it says nothing."""
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


_LINE_ENDS = re.compile("\\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\\s*")
_NOT_SHOWN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
_LONGEST_LINE, _LONGEST_VALUE = 500, 80


def printable(text: str) -> str:
    r"""Text that a terminal shows and does not obey; line ends and tabs stay.

    Control characters, half surrogates and marks that turn the direction of writing are written out: `\x1b`.
    """
    return _NOT_SHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """A message as one printable line of at most 500 characters, its middle left out where it is longer."""
    line = printable(_LINE_ENDS.sub(" ", text.strip()))
    if len(line) <= _LONGEST_LINE:
        return line
    return f"{line[: _LONGEST_LINE - 205]} ... {line[-200:]}"


def shown(value: object) -> str:
    """A value in a message: as Python writes it, cut where that is long."""
    short = value[:_LONGEST_VALUE] if isinstance(value, str | bytes | list | tuple) else value
    try:
        text = repr(short)
    except (ValueError, RecursionError):  # thousands of digits; lists of lists of lists
        return "a value too long to show"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."
