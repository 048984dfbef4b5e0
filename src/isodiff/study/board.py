"""The progress line of a study: runs ended, FLOPs left to train, time left."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from isodiff.progress import Ticker
from isodiff.study.plan import Planned
from isodiff.units import clock, short


class Board:
    """The study's progress line."""

    def __init__(self, runs: Sequence[Planned], waiting: Sequence[Planned]) -> None:
        self.waiting, self.total = waiting, len(runs)
        self.before = len(runs) - len(waiting)
        self.share = [0.0] * len(waiting)
        self.ended = {"done": 0, "diverged": 0, "failed": 0}
        self.ticker = Ticker()

    def advance(self, index: int, share: float) -> None:
        """A run has done this share of its FLOPs."""
        self.share[index] = share
        self.show()

    def finish(self, index: int, status: str, message: str | None) -> None:
        """A run has ended."""
        self.share[index] = 1.0
        self.ended[status] += 1
        if message:
            self.ticker.clear()
            print(f"run {self.waiting[index].id} {status}: {message}", file=sys.stderr)
        self.show()

    def show(self, *, last: bool = False) -> None:
        """Write the line if it is time to, and always at the end."""
        if not self.ticker.due() and not last:
            return
        work = [run.seconds for run in self.waiting]
        spent = sum(s * w for s, w in zip(self.share, work, strict=True)) / sum(work)
        left = self.ticker.seconds * (1 - spent) / spent if spent > 0 else float("nan")
        flops = sum(
            (1 - s) * r.trained_flops for s, r in zip(self.share, self.waiting, strict=True)
        )
        finished = self.before + sum(self.ended.values())
        bad = self.ended["failed"] + self.ended["diverged"]
        text = (
            f"{finished}/{self.total} runs, {bad} failed, {short(flops, 'FLOP')} left, "
            f"ETA {clock(left) if left == left else 'unknown'}"
        )
        self.ticker.say(text, last=last)

    def close(self) -> None:
        """The last state, and a new line."""
        self.show(last=True)
