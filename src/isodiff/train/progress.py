"""The progress line of long work: rate, FLOPs left, time left. Always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from isodiff.progress import Ticker
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
    """The line of a run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ticker = Ticker()
        self.first_step: int | None = None

    def __call__(self, progress: Progress) -> None:
        """Write the line if it is time to, and always at the end."""
        if self.first_step is None:
            self.first_step, self.ticker.start = progress.step, time.monotonic()
        done = progress.step == progress.steps
        if not self.ticker.due() and not done:
            return
        advanced = progress.step - self.first_step
        rate = self.ticker.seconds / advanced if advanced else float("nan")
        left = rate * (progress.steps - progress.step)
        eta = clock(left) if left == left else "unknown"
        text = (
            f"{self.name}  step {progress.step}/{progress.steps}  "
            f"loss {progress.nats_per_token:.3f} nats/token  "
            f"{short(progress.tokens_per_second)} tokens/s  "
            f"{short(progress.flops_left, 'FLOP')} left  ETA {eta}"
        )
        self.ticker.say(text, last=done)
