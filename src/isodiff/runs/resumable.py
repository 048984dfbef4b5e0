"""Long evaluations in pieces: a line that says how far they are, and a file that keeps what is done.

A piece is work whose value is JSON and depends on nothing but what was asked and its number. Work that was
interrupted finds its pieces again when the same is asked, and goes on after them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from isodiff.progress import ProgressLine
from isodiff.provenance import installed
from isodiff.record import identity
from isodiff.units import short


class Pieces(Protocol):
    """Gives the value of the next piece, of so many units; works it out unless it is known."""

    def __call__(self, size: int, work: Callable[[], Any]) -> Any:
        """The value."""
        ...


def anew(size: int, work: Callable[[], Any]) -> Any:
    """Keeps nothing and says nothing."""
    return work()


class Kept:
    """Pieces kept in a file of `folder` until all are done.

    Args:
        what, unit: named in the line: "piqa 120/1838 items".
        total: units in all pieces together.
        folder: where the file stands; nothing is kept where there is none or nobody may write.
        asked: all that the values depend on, as JSON; others' pieces are not taken.
    """

    def __init__(
        self, what: str, total: int, unit: str, *, folder: Path | None = None, asked: Any = None
    ) -> None:
        self.number = 0
        self._line = ProgressLine(
            lambda line: (
                f"{what}  {line.done}/{total} {unit}  {short(line.rate)}/s  ETA {line.eta}"
            ),
            total,
        )
        self.file: Path | None = None
        self.known: dict[int, Any] = {}
        if folder is not None and os.access(folder, os.W_OK):
            name = identity({"asked": asked, "isodiff": installed("isodiff")})
            self.file = folder / "tasks" / f".{what}-{name}.pieces"
            self.known = dict(_read(self.file))

    def __call__(self, size: int, work: Callable[[], Any]) -> Any:
        """The value of the next piece."""
        before = self.number in self.known
        if not before:
            self.known[self.number] = work()
            self.keep()
        self.number += 1
        self._line.advance(size, before=before)
        return self.known[self.number - 1]

    def keep(self) -> None:
        """Append the newest piece."""
        if self.file is not None:
            self.file.parent.mkdir(exist_ok=True)
            with self.file.open("a", encoding="utf-8") as lines:
                piece = json.dumps([self.number, self.known[self.number]])
                lines.write(f"{piece}\t{_checksum(piece)}\n")

    def __enter__(self) -> Kept:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """What is done need not be kept."""
        self._line.close()
        if kind is None and self.file is not None:
            self.file.unlink(missing_ok=True)


def _read(file: Path) -> list[tuple[int, Any]]:
    """The lines of a file that are as they were written; the last may have been cut off."""
    if not file.is_file():
        return []
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
        piece, _, checksum = line.rpartition("\t")
        if checksum == _checksum(piece):
            number, value = json.loads(piece)
            found.append((number, value))
    return found


def _checksum(piece: str) -> str:
    return hashlib.sha256(piece.encode(errors="replace")).hexdigest()
