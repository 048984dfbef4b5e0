"""Devices to train and to write on: peak arithmetic, memory and bandwidth, as their makers print them.

Every number is a fact of `data/devices.json` with its source. Gigabytes there are 10^9 bytes, a few per cent
less than a device reports: what is left is the runtime's.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from isodiff.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """So many of one kind.

    Attributes:
        flops: dense bfloat16 FLOP/s of one, at its peak.
        bandwidth: bytes per second between its memory and its arithmetic.
    """

    name: str
    count: int
    flops: float
    memory_bytes: float
    bandwidth: float
    source: str

    @classmethod
    def parse(cls, text: str) -> Devices:
        """`h100`, or `h100x8` for eight of them.

        Raises:
            InputError: no such device is known, or not one at least.
        """
        known = table()["devices"]
        name, count = text.strip().lower(), 1
        match = re.fullmatch(r"(.+)x(\d+)", name)
        if match and name not in known:
            name, count = match[1], int(match[2])
        if name not in known:
            raise InputError(
                f"no device {text!r}{nearest(name, known)}; there is {', '.join(known)}, each with xCOUNT "
                "(h100x8); for another give --throughput"
            )
        if count < 1:
            raise InputError(f"--device {text} is no device; give at least one, e.g. {name}x8")
        return cls(name=name, count=count, **known[name])

    def __str__(self) -> str:
        return self.name if self.count == 1 else f"{self.name}x{self.count}"

    def to_json(self) -> dict[str, Any]:
        """The numbers and where they are from."""
        return {
            "name": self.name,
            "count": self.count,
            "flops": self.flops,
            "memory_bytes": self.memory_bytes,
            "bandwidth": self.bandwidth,
            "source": self.source,
        }


@functools.cache
def table() -> dict[str, Any]:
    """Everything in `data/devices.json`."""
    text = (files("isodiff.scaling") / "data" / "devices.json").read_text(encoding="utf-8")
    return json.loads(text)


def utilization() -> float:
    """The share of a device's peak that training reaches, where nobody says."""
    return float(table()["utilization"]["value"])
