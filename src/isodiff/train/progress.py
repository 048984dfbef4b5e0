"""The progress line of long work: rate, FLOPs left, time left. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from isodiff.units import clock, short


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands at a step."""

    step: int
    steps: int
    nats_per_token: float
    tokens_per_second: float
    flops_left: float


Reporter = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Report nothing."""


class Line:
    """One line, rewritten on a terminal; in a log, a new line every half minute."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = sys.stderr.isatty()
        self.every = 0.5 if self.terminal else 30.0
        self.start = self.last = time.monotonic()
        self.first_step: int | None = None

    def __call__(self, progress: Progress) -> None:
        """Write the line if it is time to, and always at the end."""
        now = time.monotonic()
        if self.first_step is None:
            self.first_step, self.start = progress.step, now
        done = progress.step == progress.steps
        if now - self.last < self.every and not done:
            return
        self.last = now
        advanced = progress.step - self.first_step
        rate = (now - self.start) / advanced if advanced else float("nan")
        left = rate * (progress.steps - progress.step)
        eta = clock(left) if left == left else "unknown"
        text = (
            f"{self.name}  step {progress.step}/{progress.steps}  "
            f"loss {progress.nats_per_token:.3f} nats/token  "
            f"{short(progress.tokens_per_second)} tokens/s  "
            f"{short(progress.flops_left, 'FLOP')} left  ETA {eta}"
        )
        end = "\n" if done or not self.terminal else ""
        print(f"\r\x1b[K{text}" if self.terminal else text, end=end, file=sys.stderr, flush=True)
