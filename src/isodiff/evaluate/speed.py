"""How fast a sampler writes: tokens per second at its best batch, latency at batch 1, NFE, peak memory.

The first call is a warm-up and not counted. Then latency at batch 1, then batches of 2, 4, 8, ..., one call
each, until a call would take longer than `call_seconds` (or twice one text alone), memory ends, or speed
falls; then the best batch again, for median and quartiles. Where repeats differ too much, since the machine
had other work, they are made again, a few times. The texts of all calls are kept: they are the
samples that quality is measured on, so speed and quality belong to the same draws.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.types import Tokens

_MAX_BATCH = 1024
_ROUNDS = 3  # of repeats, where those of the first differ too much
_REPEATS = 3  # calls at batch 1, and at least so many at the best batch
_LATENCIES = 2  # calls may take so many times one text alone, however slow that is
_FALLEN = 0.8  # of the best speed so far: larger batches are not tried


class Drawn(NamedTuple):
    """Texts of one call, and the network evaluations of each."""

    tokens: Tokens
    nfe: Int[Tensor, " B"]


Draw = Callable[[int, int], Drawn]
"""draw(first, batch): texts first .. first + batch - 1 of the sampler."""


Steady = Callable[[float, float], bool]


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians, with quartiles over calls.

    Attributes:
        tokens_per_second: at `batch`, the fastest tried; `low` and `high` are its quartiles over `calls`.
        latency_seconds: of one text alone, with its quartiles over `calls_alone`.
        nfe: network evaluations of a text, mean over all texts.
        sweep: tokens per second at each batch tried, one call each.
        peak_bytes: most memory in use: of the device, or resident memory of the process on a CPU; None
            where the system does not say.
        load: the system's 1-minute average at the end; None where it does not say.
    """

    tokens_per_second: float
    low: float
    high: float
    calls: int
    batch: int
    latency_seconds: float
    latency_low: float
    latency_high: float
    calls_alone: int
    nfe: float
    sweep: dict[int, float]
    peak_bytes: int | None
    load: float | None


@dataclass
class _Stopwatch:
    """Draws texts, keeps them, and times each call."""

    draw: Draw
    length: int
    device: torch.device
    kept: list[Drawn] = field(default_factory=list)
    num_texts: int = 0

    def call(self, batch: int) -> float:
        """Seconds of one call for the next `batch` texts."""
        self.wait()
        start = time.perf_counter()
        drawn = self.draw(self.num_texts, batch)
        self.wait()
        seconds = time.perf_counter() - start
        self.kept.append(drawn)
        self.num_texts += batch
        return seconds

    def repeated(self, batch: int, steady: Steady, num_texts: int = 0) -> list[float]:
        """Seconds of repeated calls, until there are `num_texts` texts; the last ones if the first differ."""
        seconds: list[float] = []
        while len(seconds) < _REPEATS or self.num_texts < num_texts:
            seconds.append(self.call(batch))
        for _ in range(_ROUNDS - 1):
            low, _, high = _quartiles(seconds)
            if steady(high, low):
                break
            seconds = [self.call(batch) for _ in range(_REPEATS)]
        return seconds

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def drawn(self) -> Drawn:
        """Every text so far, in order."""
        tokens = torch.cat([one.tokens.cpu() for one in self.kept])
        return Drawn(tokens, torch.cat([one.nfe.cpu() for one in self.kept]))


def measure_speed(
    draw: Draw,
    *,
    length: int,
    num_texts: int,
    call_seconds: float,
    device: torch.device,
    steady: Steady,
    max_batch: int = _MAX_BATCH,
) -> tuple[Speed, Drawn]:
    """Speed of a sampler of `length` tokens a text, and at least `num_texts` texts of it.

    `steady(high, low)` says whether repeats with these quartiles agree.
    """
    watch = _Stopwatch(draw, length, device)
    watch.call(1)
    _forget_peak(device)
    alone = _quartiles(watch.repeated(1, steady))
    seconds = {1: alone[1]}
    sweep = {1: length / seconds[1]}
    limit = max(call_seconds, _LATENCIES * seconds[1])
    while (batch := max(seconds)) < max_batch:
        if sweep[batch] < _FALLEN * max(sweep.values()) or _next_call(seconds) > limit:
            break
        try:
            seconds[2 * batch] = watch.call(2 * batch)
        except torch.OutOfMemoryError:
            break
        sweep[2 * batch] = 2 * batch * length / seconds[2 * batch]
    best = max(sweep, key=lambda size: sweep[size])
    rates = [best * length / taken for taken in watch.repeated(best, steady, num_texts)]
    low, median, high = _quartiles(rates)
    drawn = watch.drawn
    found = Speed(
        tokens_per_second=median,
        low=low,
        high=high,
        calls=len(rates),
        batch=best,
        latency_seconds=alone[1],
        latency_low=alone[0],
        latency_high=alone[2],
        calls_alone=_REPEATS,
        nfe=float(drawn.nfe.double().mean()),
        sweep=sweep,
        peak_bytes=peak(device),
        load=_load(),
    )
    return found, drawn


def _quartiles(values: list[float]) -> list[float]:
    return np.quantile(values, [0.25, 0.5, 0.75]).tolist()


def _next_call(seconds: dict[int, float]) -> float:
    """Expected seconds of a batch twice the largest: fixed costs and costs per text, from the last two."""
    batch = max(seconds)
    last = seconds[batch]
    before = seconds.get(batch // 2, last / 2)  # of one text alone everything may be per text
    return last + 2 * max(0.0, last - before)


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _forget_peak(device: torch.device) -> None:
    """Start measuring the peak anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # not Linux, or not allowed: the peak is that of the process
        Path("/proc/self/clear_refs").write_text("5")


def peak(device: torch.device) -> int | None:
    """Peak memory in bytes since `_forget_peak`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else None
