"""Bytes that training takes, from sizes alone. No torch."""

from __future__ import annotations

_STATE = 16
"""Bytes per parameter: weight, gradient and AdamW's two moments in float32. In mixed precision as many:
weight and gradient in bfloat16, the moments and a master copy of the weight in float32."""


_KEPT = 24
"""Numbers that a layer keeps for its backward pass, per width and position. Counted on the families of this
library: 17 to 25 without a noise level, 22 to 31 with one; arXiv 2205.05198, Eq. 1, has 17."""


def state_bytes(parameters: float) -> float:
    """Weights, gradients and moments."""
    return _STATE * parameters


def activation_bytes(
    *,
    depth: float,
    width: float,
    positions: float,
    scores: float,
    logits: float,
    number_bytes: int,
) -> float:
    """Roughly what a step takes besides: what it keeps for its backward pass, and three copies of the logits.

    Args:
        positions: shown at a time.
        scores: attention scores of a position in a layer, of which there are two copies; 0 if none is kept.
        logits: of a position, on average over those shown.
        number_bytes: 4 in float32, 2 in bfloat16; logits are in float32.
    """
    layers = depth * (_KEPT * width + 2 * scores) * number_bytes
    return positions * (layers + 3 * 4 * logits)
