"""Where the network is surest of its predictions: the positions that confidence samplers decide first."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.types import Chosen


def sureness(p: Float[Tensor, "M V"], drawn: Int[Tensor, " M"], order: str) -> Float[Tensor, " M"]:
    """Larger where the network is surer: p of the token drawn, margin of the two likeliest, or -entropy."""
    if order == "confidence":
        return p.gather(-1, drawn[:, None]).squeeze(-1)
    if order == "margin":
        first, second = p.topk(min(2, p.shape[-1]), -1).values[:, [0, -1]].unbind(-1)
        return first - second
    return torch.xlogy(p, p).sum(-1)


def surest(
    sureness: Float[Tensor, " M"],
    waiting: Chosen,
    count: Int[Tensor, " B"],
    tie: Float[Tensor, "B L"],
) -> Chosen:
    """The `count` surest positions among those `waiting` in each row; among equals, by the smaller `tie`."""
    # Equally sure to three digits is equally sure: where nothing is decided all are, but for rounding.
    score = torch.full(waiting.shape, -torch.inf, dtype=torch.float16, device=waiting.device)
    score = score.masked_scatter(waiting, sureness.to(score))
    order = tie.argsort(-1)
    order = order.gather(1, score.gather(1, order).argsort(dim=-1, descending=True, stable=True))
    return waiting & (order.argsort(-1) < count[:, None])
