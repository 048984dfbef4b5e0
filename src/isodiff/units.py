"""Conversions with names. Losses are nats per token; bits per byte compares tokenizers."""

from __future__ import annotations

import math
from typing import Literal


def bits_per_byte(nats: float, num_bytes: float) -> float:
    """Nats of a text over its length in bytes, in bits."""
    return nats / num_bytes / math.log(2)


def perplexity(nats_per_token: float) -> float:
    """exp of nats per token; only ever derived."""
    return math.exp(nats_per_token)


def by_name(kind: Literal["exact", "bound"], value: str) -> str:
    """A loss as what it is: `exact = 1.234`, or `bound <= 1.234`."""
    return f"{'exact =' if kind == 'exact' else 'bound <='} {value}"


def short(value: float, unit: str = "") -> str:
    """`value` with three significant digits and a metric prefix: 1.23M, 4.56T."""
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g}{prefix}{unit}"
    return f"{value:.3g}{unit}"


def clock(seconds: float) -> str:
    """`seconds` as people say it: 45 s, 3 min 20 s, 2 h 05 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def duration(hours: float) -> str:
    """A time as people plan it: 40 min 00 s, 12 hours, 3.5 days."""
    if hours < 1:
        return clock(3600 * hours)
    return f"{hours:.3g} hours" if hours < 72 else f"{hours / 24:.3g} days"
