"""Rotary positions (arXiv 2104.09864): queries and keys turn by an angle in proportion to their position."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rotary_table(
    positions: Int[Tensor, "*B N"], width: int, base: float
) -> tuple[Float[Tensor, "*B 1 N C"], Float[Tensor, "*B 1 N C"]]:
    """cos and sin of position x frequency for C = width / 2 frequencies."""
    exponent = torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width
    angle = positions.unsqueeze(-2)[..., None].float() * base**-exponent
    return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "T B H N C2"], cos: Float[Tensor, "..."], sin: Float[Tensor, "..."]
) -> Float[Tensor, "T B H N C2"]:
    """Rotate the two halves of each head against each other."""
    cos, sin = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
