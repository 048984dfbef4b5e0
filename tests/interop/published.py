"""What published networks compute, written down plainly in float64, from their tensors by their names.

`dit`: MDLM, Duo, BD3-LM, Eso-LM and the scaling study, whose network is one. `smdm`: SMDM and its twins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def normalized(x: Tensor, weight: Tensor) -> Tensor:
    """LayerNorm without a bias."""
    centered = x - x.mean(-1, keepdim=True)
    return weight * centered / (centered.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def scaled(x: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm."""
    return weight * x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()


def turned(x: Tensor, positions: Tensor) -> Tensor:
    """Entry j of each head (B, H, N, C) against entry j + C/2, by position x 10000^(-2j/C)."""
    half = x.shape[-1] // 2
    angle = positions.double()[..., None] * 10_000.0 ** (-torch.arange(half).double() / half)
    angle = angle[:, None] if angle.ndim == 3 else angle
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def attended(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


def dit(
    weights: Mapping[str, Tensor],
    ids: Tensor,
    *,
    heads: int,
    positions: Tensor,
    allowed: Tensor | None,
    sigma: Tensor | None = None,
) -> Tensor:
    """Raw logits (B, N, R) of ids (B, N); `sigma` (B,) is 0 where the network is not shown the noise."""
    w = {key.removeprefix("backbone."): tensor.double() for key, tensor in weights.items()}
    h = w["vocab_embed.embedding"][ids]
    conditioned = "sigma_map.mlp.0.weight" in w
    condition = None
    if conditioned:
        sigma = torch.zeros(len(ids)) if sigma is None else sigma
        angle = sigma.double()[:, None] * torch.exp(-math.log(10_000) * torch.arange(128) / 128)
        level = torch.cat([angle.cos(), angle.sin()], -1)
        level = F.silu(level @ w["sigma_map.mlp.0.weight"].T + w["sigma_map.mlp.0.bias"])
        level = level @ w["sigma_map.mlp.2.weight"].T + w["sigma_map.mlp.2.bias"]
        condition = F.silu(level)

    def by(layer: str, number: int) -> list[Tensor]:
        """Parts of what the conditioning makes of a layer; shift 0, scale 0, gate 1 without."""
        if condition is None:
            return [torch.zeros(1), torch.zeros(1), torch.ones(1)] * 2
        made = condition @ w[f"{layer}.weight"].T + w[f"{layer}.bias"]
        return [*made[:, None].chunk(number, -1)]

    depth = 1 + max(int(key.split(".")[1]) for key in w if key.startswith("blocks."))
    for i in range(depth):
        b = f"blocks.{i}."
        shift1, scale1, gate1, shift2, scale2, gate2 = by(f"{b}adaLN_modulation", 6)
        x = normalized(h, w[f"{b}norm1.weight"]) * (1 + scale1) + shift1
        q, k, v = (
            (x @ part.T).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in w[f"{b}attn_qkv.weight"].chunk(3)
        )
        mixed = attended(turned(q, positions), turned(k, positions), v, allowed)
        h = h + gate1 * (mixed @ w[f"{b}attn_out.weight"].T)
        x = normalized(h, w[f"{b}norm2.weight"]) * (1 + scale2) + shift2
        x = F.gelu(x @ w[f"{b}mlp.0.weight"].T + w[f"{b}mlp.0.bias"], approximate="tanh")
        h = h + gate2 * (x @ w[f"{b}mlp.2.weight"].T + w[f"{b}mlp.2.bias"])
    shift, scale = by("output_layer.adaLN_modulation", 2)[:2]
    h = normalized(h, w["output_layer.norm_final.weight"]) * (1 + scale) + shift
    return h @ w["output_layer.linear.weight"].T + w["output_layer.linear.bias"]


def smdm(
    weights: Mapping[str, Tensor],
    ids: Tensor,
    *,
    heads: int,
    positions: Tensor,
    allowed: Tensor | None,
    sigma: Tensor | None = None,
) -> Tensor:
    """Logits (B, N, R) of ids (B, N)."""
    assert sigma is None
    w = {key.removeprefix("transformer."): tensor.double() for key, tensor in weights.items()}
    h = w["wte.weight"][ids]
    depth = sum(key.endswith("norm_1.weight") for key in w)
    for i in range(depth):
        b = f"h.{i}."
        x = scaled(h, w[f"{b}norm_1.weight"]) @ w[f"{b}attn.attn.weight"].T
        q, k, v = x.unflatten(-1, (heads, 3, -1)).permute(3, 0, 2, 1, 4)
        mixed = attended(turned(q, positions), turned(k, positions), v, allowed)
        h = h + mixed @ w[f"{b}attn.proj.weight"].T
        x = scaled(h, w[f"{b}norm_2.weight"])
        gate, up = (x @ w[f"{b}mlp.swiglu.w{k}.weight"].T for k in (1, 2))
        h = h + (F.silu(gate) * up) @ w[f"{b}mlp.swiglu.w3.weight"].T
    return scaled(h, w["ln_f.weight"]) @ w["lm_head.weight"].T
