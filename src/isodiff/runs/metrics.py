"""metrics.jsonl: one JSON object per line, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Annotated, Any, NamedTuple, Self

from pydantic import Field

from isodiff.files import parse_json, regular
from isodiff.record import Mean
from isodiff.serialization import from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRow:
    """Training loss of the batch of a step, nats per token, with its learning rate and gradient norm."""

    step: int
    loss: float
    rate: float
    gradient_norm: float
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRow:
    """Nats per token of held-out text after so many steps and FLOPs."""

    step: int
    flops: float
    validation: Mean


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptRow:
    """Options that the family chose at a step, and why; `tuned` in JSON."""

    step: int
    adapted: Annotated[dict[str, Any], Field(alias="tuned")]


Row = LossRow | ValidationRow | AdaptRow


class Written(NamedTuple):
    """How many bytes are on file, and their SHA-256 (None where an earlier version did not say)."""

    length: int
    sha256: str | None

    def intact(self, path: Path) -> bool:
        """Whether a file still begins with these bytes."""
        if self.length == 0:
            return True
        data = path.read_bytes()[: self.length] if path.is_file() else b""
        return len(data) == self.length and self.sha256 in (None, hashlib.sha256(data).hexdigest())


class Metrics:
    """An append-only file whose length belongs to the checkpoint."""

    def __init__(self, path: Path | None, length: int) -> None:
        """Open `path`, dropping whatever was written after the checkpoint's `length` bytes; None: no file."""
        if path is None:
            self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        else:
            self._file = (regular(path) if path.exists() else path).open("a+b")
            self._file.truncate(min(length, path.stat().st_size))
        self._file.seek(0)
        self._hash = hashlib.file_digest(self._file, "sha256")

    def write(self, row: Row) -> None:
        """Append one row; `ValueError` for NaN."""
        line = json.dumps(to_json(row), allow_nan=False).encode() + b"\n"
        self._file.write(line)
        self._hash.update(line)

    def written(self) -> Written:
        """What is safely on file so far: what a checkpoint records."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return Written(self._file.tell(), self._hash.hexdigest())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[Row]:
    """Every whole row; a half-written last line is ignored.

    Raises:
        InputError: a row is none of the three kinds.
    """
    if not path.exists():
        return []
    rows = enumerate(regular(path).read_bytes().split(b"\n")[:-1], 1)
    return [_row(row, f"{path}, line {number}") for number, row in rows]


def _row(line: bytes, where: str) -> Row:
    return from_json(Row, parse_json(line, where), where, strict=True)  # type: ignore[arg-type]
