"""Conversions with names. Losses are nats per token; bits per byte compares tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def short(value: float) -> str:
    """A count with three significant digits, in thousands, millions, ...: 3.46K, 113M, 1.23B, 4.56T."""
    return _with_prefix(value, ("T", "B", "M", "K", ""))


def memory(num_bytes: float) -> str:
    """Bytes with three significant digits and a metric prefix: 1.23 MB, 456 B."""
    return _with_prefix(num_bytes, (" TB", " GB", " MB", " kB", " B"))


def _with_prefix(value: float, prefixes: Sequence[str]) -> str:
    rounded = float(f"{value:.3g}")
    if abs(rounded) >= 1e15:
        return scientific(value) + prefixes[-1]
    powers = zip((12, 9, 6, 3), prefixes, strict=False)
    power, prefix = next(((p, x) for p, x in powers if abs(rounded) >= 10**p), (0, prefixes[-1]))
    return f"{rounded / 10**power:.3g}{prefix}"


def scientific(value: float) -> str:
    """1.0e12, 3.16e12: two or three significant digits, as FLOPs are said."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    whole, digits = mantissa.split(".")
    return f"{whole}.{digits.rstrip('0') or '0'}e{int(exponent)}"


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
