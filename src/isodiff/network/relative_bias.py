"""A learned bias on attention scores by head and clipped distance, local from the first step.

Score (q, k) of head h gains w[h, clip(p_k - p_q, -R, R)], with p the positions that a view shows, whatever
the order (arXiv 1910.10683 has it with wider bins; clipping is that of arXiv 1803.02155). It starts at
-|d - c_h| with c = -1, +1, -2, +2, ...: each head looks at a neighbor before anything is learned, which
spares a small network the long plateau at unigram frequencies. A look-up: no FLOPs are counted for it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class RelativeBias(nn.Module):
    """Of all layers: `weight` (depth, H, 2 R + 1)."""

    def __init__(self, depth: int, heads: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        head = torch.arange(heads)
        centers = (head // 2 % reach + 1) * torch.where(head % 2 == 0, -1, 1)
        distance = torch.arange(-reach, reach + 1)
        initial = -(distance - centers[:, None]).abs().to(torch.get_default_dtype())
        self.weight = nn.Parameter(initial.expand(depth, -1, -1).clone())

    def entries(
        self, queries: Int[Tensor, "*B M"], keys: Int[Tensor, "*B N"]
    ) -> Int[Tensor, "*B M N"]:
        """Which entry of `weight` each pair of positions has: distances of keys, clipped, from 0 on."""
        apart = keys[..., None, :] - queries[..., None]
        return apart.clamp_(-self.reach, self.reach).add_(self.reach)

    def forward(
        self, layer: int, entries: Int[Tensor, "*B M N"], rows: Int[Tensor, "B m"] | None = None
    ) -> Float[Tensor, "*B H M N"]:
        """What is added to the scores of a layer; with `rows`, of these queries of each sequence only."""
        if rows is not None:
            entries = entries.expand(len(rows), *entries.shape[-2:])
            entries = entries.gather(1, rows[..., None].expand(-1, -1, entries.shape[-1]))
        # index_select: its backward pass takes half the time of indexing's on a CPU.
        found = self.weight[layer].index_select(1, entries.flatten())
        return found.unflatten(1, entries.shape).movedim(0, -3)
