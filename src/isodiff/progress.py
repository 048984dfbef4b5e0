"""The line that long work writes on standard error: rewritten on a terminal, now and then in a log."""

from __future__ import annotations

import sys
import time

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 30.0


class Ticker:
    """When to write the line, and how."""

    def __init__(self) -> None:
        self.terminal = sys.stderr.isatty()
        self.every = TERMINAL_SECONDS if self.terminal else LOG_SECONDS
        self.start = self.last = time.monotonic()
        self.open = False

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self.start

    def due(self) -> bool:
        """Whether it is time for another line; if so, the next is due later."""
        now = time.monotonic()
        if now - self.last < self.every:
            return False
        self.last = now
        return True

    def say(self, text: str, *, last: bool = False) -> None:
        """Write the line; on a terminal the next replaces it unless it is the last."""
        self.open = self.terminal and not last
        line = f"\r\x1b[K{text}" if self.terminal else text
        print(line, end="" if self.open else "\n", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line off a terminal, for others to write there."""
        if self.open:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self.open = False
