"""The progress line of long work, always on standard error: rewritten on a terminal, now and then in a log.

tqdm counts, keeps the time between two lines, and handles the terminal; what the line says is ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tqdm import tqdm

from isodiff.errors import one_line
from isodiff.units import by_name, clock, scientific, short

TERMINAL_SECONDS, LOG_SECONDS = 0.5, 30.0


class ProgressLine:
    """How far work is. Nothing is written before the first interval has passed.

    Args:
        describe: the line, from this object.
        total: amount of the work, in any unit; None where nobody knows.
    """

    def __init__(self, describe: Callable[[ProgressLine], str], total: float | None = None) -> None:
        self.total = total
        self._bar = _Bar(lambda: describe(self), total)

    @property
    def done(self) -> float:
        """Amount done, by this process or before."""
        return self._bar.n

    @property
    def rate(self) -> float:
        """Amount that this process does per second; 0 where it has done nothing yet."""
        advanced = self._bar.n - self._bar.initial
        return advanced / max(self._bar.format_dict["elapsed"], 1e-9)

    @property
    def eta(self) -> str:
        """Time left, in words."""
        left = (self.total or 0.0) - self.done
        return clock(left / self.rate) if self.rate > 0 else "unknown"

    def advance(self, amount: float = 1.0, *, before: bool = False) -> None:
        """So much more is done; `before` this process began, if that is so."""
        if before:
            self._bar.initial += amount
        self._bar.update(amount)

    def print(self, text: str) -> None:
        """A line that stays, above the progress line."""
        self._bar.clear()
        print(one_line(text), file=sys.stderr)

    def close(self, *, leave: bool = False) -> None:
        """Take the line off a terminal; or leave the last state there and in a log."""
        self._bar.leave = leave
        if leave:
            self._bar.delay = 0  # also what was too quick for a first line
        self._bar.close()


class _Bar(tqdm):  # type: ignore[type-arg]
    """tqdm with a text of its own, that writes whole lines where there is no terminal."""

    monitor_interval = 0  # no thread

    def __init__(self, describe: Callable[[], str], total: float | None) -> None:
        self._describe = describe
        self._terminal = sys.stderr.isatty()
        every = TERMINAL_SECONDS if self._terminal else LOG_SECONDS
        super().__init__(
            total=total,
            file=sys.stderr,
            mininterval=every,
            delay=max(every, 1e-9),
            miniters=0,
            leave=False,
        )

    def __str__(self) -> str:
        return self._describe()

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        if self._terminal:
            return super().display(msg, pos)
        if msg is None:
            print(self, file=self.fp, flush=True)
        return False  # nothing to take off

    def clear(self, nolock: bool = False) -> None:
        if self._terminal:
            super().clear(nolock)

    def close(self) -> None:
        if not self._terminal and self.leave and not self.disable:
            self.display()
            self.leave = False
        super().close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """Where a run stands after `step` of `steps` steps.

    Attributes:
        objective: what training minimizes, smoothed over batches, nats per token; it may be reweighted.
        held_out: the likelihood or its bound (`kind`) of held-out text when last measured, nats per token.
    """

    step: int
    steps: int
    objective: float
    held_out: float | None = None
    kind: Literal["exact", "bound"]
    tokens_per_second: float
    flops_left: float


class TrainingLine:
    """The progress line of a run: a `report` of `train`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line: ProgressLine | None = None

    def __call__(self, progress: TrainingProgress) -> None:
        """Where the run stands now; the last state is left."""
        self._last = progress
        if self._line is None:
            self._line = ProgressLine(self._describe)
            self._line.advance(progress.step, before=True)
        self._line.total = progress.steps
        self._line.advance(progress.step - self._line.done)
        if progress.step == progress.steps:
            self._line.close(leave=True)

    def _describe(self, line: ProgressLine) -> str:
        last = self._last
        measured = (
            "" if last.held_out is None else f", {by_name(last.kind, f'{last.held_out:.3f}')}"
        )
        return (
            f"{self._name}  step {last.step}/{last.steps}  "
            f"objective {last.objective:.3f}{measured} nats/token  "
            f"{short(last.tokens_per_second)} tokens/s  {scientific(last.flops_left)} FLOPs left  "
            f"ETA {line.eta}"
        )
