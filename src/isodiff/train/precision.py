"""Which arithmetic the device is fast at, measured rather than assumed.

Processors without bfloat16 instructions emulate them at a quarter of float32's speed; those with them
gain a factor of two to four.
"""

from __future__ import annotations

import functools
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

from isodiff.runs.spec import Precision

_GAIN = 1.5  # bfloat16 must beat float32 by this much to be worth its rounding


def resolve(wanted: Literal["auto"] | Precision, device: torch.device) -> Precision:
    """What is wanted, or the faster one."""
    return _faster(device) if wanted == "auto" else wanted


@functools.cache
def _faster(device: torch.device) -> Precision:
    """Timed once a process, so that its runs do not differ by it."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if _seconds(torch.bfloat16) * _GAIN < _seconds(torch.float32) else "float32"


def _seconds(dtype: torch.dtype) -> float:
    """Best of five for a product of two 512 x 512 matrices on the CPU."""
    a = torch.ones(512, 512, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return best


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def device_name(device: torch.device) -> str:
    """The device, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
