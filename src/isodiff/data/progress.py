"""Progress of a long reading, on standard error; silent for what takes a few seconds."""

from __future__ import annotations

import sys
import time

EVERY_SECONDS = 5.0


class Progress:
    """Counts documents and bytes; says so every `EVERY_SECONDS`."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.num_documents = 0
        self.num_bytes = 0
        self.start = self.said = time.monotonic()

    def add(self, num_bytes: int) -> None:
        """One more document of `num_bytes`."""
        self.num_documents += 1
        self.num_bytes += num_bytes
        now = time.monotonic()
        if now - self.said >= EVERY_SECONDS:
            self.said = now
            rate = self.num_bytes / (now - self.start)
            print(
                f"{self.what}: {self.num_documents} documents, {self.num_bytes / 1e6:.1f} MB, "
                f"{rate / 1e6:.1f} MB/s",
                file=sys.stderr,
            )
