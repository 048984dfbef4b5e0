"""metrics.jsonl: one JSON object per line, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

from pydantic import Field

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


class Metrics:
    """An append-only file whose length belongs to the checkpoint."""

    def __init__(self, path: Path, length: int) -> None:
        """Open `path`, dropping whatever was written after the checkpoint's `length` bytes."""
        self._file = path.open("ab")
        self._file.truncate(min(length, path.stat().st_size))
        self._file.seek(0, os.SEEK_END)

    def write(self, row: Row) -> None:
        """Append one row; `ValueError` for NaN."""
        self._file.write(json.dumps(to_json(row), allow_nan=False).encode() + b"\n")

    def length(self) -> int:
        """Bytes safely on file so far: what a checkpoint records."""
        self._file.flush()
        return self._file.tell()

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
    rows = path.read_bytes().split(b"\n")[:-1]
    return [from_json(Row, json.loads(row), path) for row in rows]  # type: ignore[arg-type]
