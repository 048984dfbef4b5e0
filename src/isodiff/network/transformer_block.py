"""One block of the transformer: attention and MLP, pre-normalized, on a residual stream."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from isodiff.network.attention import Attention, attend, attention_of
from isodiff.network.cache import Layer
from isodiff.network.modulation import Modulation, gated, modulate, zero
from isodiff.network.rotary import rotate
from isodiff.network.shape import Backbone, Shape


def normalizer(backbone: Backbone, width: int) -> nn.Module:
    """The chosen normalization, with a weight; RMSNorm never has a bias."""
    if backbone.norm == "layer":
        return nn.LayerNorm(width, eps=backbone.norm_epsilon or 1e-5, bias=backbone.biased)
    return nn.RMSNorm(width, eps=backbone.norm_epsilon or 1e-6)


class TransformerBlock(nn.Module):
    """Attention and MLP, pre-normalized, on a residual stream; optionally modulated (adaLN-zero)."""

    def __init__(
        self, shape: Shape, backbone: Backbone, condition: int | None, query_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.query_scale = query_scale
        width, hidden = shape.width, backbone.mlp_width(shape.width)
        self.heads, self.gated = shape.heads, backbone.mlp == "swiglu"
        self.approximate = "tanh" if backbone.mlp == "gelu_tanh" else "none"
        self.norm1 = normalizer(backbone, width)
        self.qkv = nn.Linear(width, 3 * width, bias=backbone.biased)
        self.qk_norm = nn.RMSNorm(width // shape.heads, eps=1e-6) if backbone.qk_norm else None
        self.out = nn.Linear(width, width, bias=backbone.biased)
        self.norm2 = normalizer(backbone, width)
        self.up = nn.Linear(width, hidden * (2 if self.gated else 1), bias=not self.gated)
        self.down = nn.Linear(hidden, width, bias=not self.gated)
        self.modulation = None if condition is None else zero(nn.Linear(condition, 6 * width))

    def attention(
        self,
        qkv: Float[Tensor, "B N D3"],
        cos: Tensor,
        sin: Tensor,
        pattern: Attention,
        bias: Tensor | None,
        memory: Layer | None,
    ) -> Float[Tensor, "B N D"]:
        """Multi-head attention under `pattern` (to all of `memory`), with rotated queries and keys."""
        qkv = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        qk, v = qkv.split((2, 1))
        if self.qk_norm is not None:
            qk = self.qk_norm(qk)
        q, k = rotate(qk, cos, sin).to(v.dtype)
        q = q if self.query_scale == 1 else q * self.query_scale
        if memory is None:
            mixed = attend(q, k, v[0], pattern, bias)
        else:
            mixed = memory.attend(q, k, v[0], bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def attention_at(
        self,
        columns: Tensor,
        h: Tensor,
        cos: Tensor,
        sin: Tensor,
        pattern: Attention,
        bias: Tensor | None,
    ) -> Float[Tensor, "B M D"]:
        """The same at the positions `columns` (B, M) only: queries of those, keys of all.

        Values are linear in h, so what is averaged is h itself: one vector per head, not one per position.
        """
        batch, width = len(h), h.shape[-1]
        of_q, of_k, of_v = self.qkv.weight.split(width)
        biases = [None] * 3 if self.qkv.bias is None else [*self.qkv.bias.split(width)]
        q, k = (
            F.linear(rows, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for rows, weight, bias in (
                (_rows_at(h, columns), of_q, biases[0]),
                (h, of_k, biases[1]),
            )
        )
        if self.qk_norm is not None:
            q, k = self.qk_norm(q), self.qk_norm(k)
        row = torch.arange(batch, device=h.device)[:, None]
        tables = [t.expand(batch, 1, *t.shape[-2:])[row, 0, columns][:, None] for t in (cos, sin)]
        q, k = rotate(q, *tables).to(h.dtype), rotate(k, cos, sin).to(h.dtype)
        q = q if self.query_scale == 1 else q * self.query_scale
        averages = attention_of(columns, q, k, pattern, bias).flatten(1, 2) @ h
        averages, of_v = (
            averages.unflatten(1, (self.heads, -1)),
            of_v.unflatten(0, (self.heads, -1)),
        )
        mixed = torch.einsum("bhmd,hcd->bmhc", averages, of_v).flatten(2)
        return self.out(mixed if (of_all := biases[2]) is None else mixed + of_all)

    def mlp(self, h: Tensor) -> Tensor:
        """down(gelu(up)), or down(silu(gate) * up)."""
        if not self.gated:
            return self.down(F.gelu(self.up(h), approximate=self.approximate))
        gate, up = self.up(h).chunk(2, -1)
        return self.down(F.silu(gate) * up)

    def forward(
        self,
        h: Tensor,
        cos: Tensor,
        sin: Tensor,
        pattern: Attention,
        condition: Tensor | None,
        bias: Float[Tensor, "*B H M N"] | None = None,
        memory: Layer | None = None,
        columns: Tensor | None = None,
        qkv: Tensor | None = None,
    ) -> Tensor:
        """h (B, N, D) after attention and MLP; `condition` (B or 1, C) modulates both.

        `bias` is added to the scores. With `columns` (B, M), only those positions come out. `qkv` is
        `projected(h)`, if already known.
        """
        first, second = self.modulations(condition)
        if columns is not None:
            shown = modulate(self.norm1(h), first)
            h, mixed = (
                _rows_at(h, columns),
                self.attention_at(columns, shown, cos, sin, pattern, bias),
            )
        else:
            qkv = self.projected(h, first) if qkv is None else qkv
            mixed = self.attention(qkv, cos, sin, pattern, bias, memory)
        h = h + gated(mixed, first)
        return h + gated(self.mlp(modulate(self.norm2(h), second)), second)

    def modulations(self, condition: Tensor | None) -> tuple[Modulation | None, Modulation | None]:
        """Of attention and MLP; None where nothing modulates."""
        if self.modulation is None or condition is None:
            return None, None
        parts = self.modulation(condition)[:, None].chunk(6, -1)
        return Modulation(*parts[:3]), Modulation(*parts[3:])

    def projected(self, h: Float[Tensor, "B N D"], by: Modulation | None) -> Tensor:
        """Queries, keys and values, not yet rotated: they know the state, not the position."""
        return self.qkv(modulate(self.norm1(h), by))


def _rows_at(h: Float[Tensor, "B N D"], columns: Int[Tensor, "B M"]) -> Float[Tensor, "B M D"]:
    """h at the positions `columns` of each sequence."""
    return h.gather(1, columns[..., None].expand(-1, -1, h.shape[-1]))
