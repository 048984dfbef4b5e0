"""metrics.jsonl: one JSON object per line, cut back to the checkpoint when a run resumes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Metrics:
    """An append-only file whose length belongs to the checkpoint."""

    def __init__(self, path: Path, length: int) -> None:
        """Open `path`, dropping whatever was written after the checkpoint's `length` bytes."""
        self.file = path.open("ab")
        self.file.truncate(min(length, path.stat().st_size))
        self.file.seek(0, os.SEEK_END)

    def write(self, **row: Any) -> None:
        """Append one row."""
        self.file.write(json.dumps(row, allow_nan=False).encode() + b"\n")

    def length(self) -> int:
        """Bytes safely on file so far: what a checkpoint records."""
        self.file.flush()
        return self.file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Every whole row; a half-written last line is ignored."""
    if not path.exists():
        return []
    rows = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(row) for row in rows]
