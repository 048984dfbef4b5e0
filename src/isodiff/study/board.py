"""The progress line of a study: runs ended, FLOPs left to train, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from isodiff.study.plan import Planned
from isodiff.units import clock, short


class Board:
    """The study's progress line."""

    def __init__(self, runs: Sequence[Planned], waiting: Sequence[Planned]) -> None:
        self.waiting, self.total = waiting, len(runs)
        self.before = len(runs) - len(waiting)
        self.share = [0.0] * len(waiting)
        self.ended = {"done": 0, "diverged": 0, "failed": 0}
        self.start = self.last = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def advance(self, index: int, share: float) -> None:
        """A run has done this share of its FLOPs."""
        self.share[index] = share
        self.show()

    def finish(self, index: int, status: str, message: str | None) -> None:
        """A run has ended."""
        self.share[index] = 1.0
        self.ended[status] += 1
        if message:
            run = self.waiting[index]
            clear = "\r\x1b[K" if self.terminal else ""
            print(f"{clear}run {run.id} {status}: {message}", file=sys.stderr)
        self.show()

    def show(self, *, always: bool = False) -> None:
        """Rewrite the line, or in a log write it now and then."""
        now = time.monotonic()
        if not always and now - self.last < (0.5 if self.terminal else 30):
            return
        self.last = now
        work = [run.seconds for run in self.waiting]
        spent = sum(s * w for s, w in zip(self.share, work, strict=True)) / sum(work)
        left = (now - self.start) * (1 - spent) / spent if spent > 0 else float("nan")
        flops = sum(
            (1 - s) * r.trained_flops for s, r in zip(self.share, self.waiting, strict=True)
        )
        finished = self.before + sum(self.ended.values())
        bad = self.ended["failed"] + self.ended["diverged"]
        text = (
            f"{finished}/{self.total} runs, {bad} failed, {short(flops, 'FLOP')} left, "
            f"ETA {clock(left) if left == left else 'unknown'}"
        )
        print(
            f"\r\x1b[K{text}" if self.terminal else text,
            end="" if self.terminal else "\n",
            file=sys.stderr,
        )

    def close(self) -> None:
        """The last state, and a new line."""
        self.show(always=True)
        if self.terminal:
            print(file=sys.stderr)
