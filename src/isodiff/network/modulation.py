"""adaLN-zero: a conditioning vector shifts, scales and gates both halves of a block (arXiv 2212.09748)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


class Modulation(NamedTuple):
    """shift, scale, gate of one half of a block; each (B or 1, 1, D)."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


def modulate(h: Tensor, by: Modulation | None) -> Tensor:
    """h (1 + scale) + shift."""
    return h if by is None else h * (1 + by.scale) + by.shift


def gated(h: Tensor, by: Modulation | None) -> Tensor:
    """gate x h."""
    return h if by is None else by.gate * h


def zero(layer: nn.Linear) -> nn.Linear:
    """The same layer, starting at zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
