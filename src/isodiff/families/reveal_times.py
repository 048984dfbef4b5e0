"""At which step each position is decided: network evaluations are spent only where something happens.

Under ancestral sampling of masked diffusion, the step at which a position is unmasked does not depend on
the network: step i of T lifts it with probability alpha_{s_i} - alpha_{t_i}, independently. So the steps are
drawn first, and each row goes through the steps that lift something (its *events*), one network evaluation
each: at most min(T, L) of them instead of T, and the same joint law (tests enumerate it). For T to infinity
no two positions share a step, and the events are a uniformly random order: first-hitting sampling
(arXiv 2409.02908).
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.rng import Noise

Event = Int[Tensor, "B L"]


def draw_steps(
    undecided: Bool[Tensor, "B L"], alphas: Float[Tensor, " T1"] | None, rng: Noise
) -> Event:
    """The step at which each position is lifted; `alphas` rise from 0 over T + 1 values, None for T = oo.

    Positions that no step lifts (alphas end below 1) get T.
    """
    u = rng.uniform(undecided.shape[1])
    if alphas is None:
        return u.argsort(-1).argsort(-1)
    return torch.searchsorted(alphas[1:].to(u.device), u, right=True)


def dense_rank(key: Event, undecided: Bool[Tensor, "B L"]) -> Event:
    """Rank of each undecided position's key among the distinct keys of its row; L elsewhere."""
    length = key.shape[1]
    far = torch.iinfo(key.dtype).max
    ordered, index = key.masked_fill(~undecided, far).sort(-1)
    rank = torch.zeros_like(ordered)
    rank[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).cumsum(-1)
    return torch.zeros_like(rank).scatter(-1, index, rank).masked_fill(~undecided, length)


def rank_within_block(block: Event, undecided: Bool[Tensor, "B L"]) -> Event:
    """Rank of each undecided position among those of its block; blocks are numbered from left to right."""
    before = undecided.long().cumsum(-1) - undecided.long()
    far = before.masked_fill(~undecided, undecided.shape[1])
    return before - far.scatter_reduce(1, block, far, "amin").gather(1, block)


def even_steps(
    block: Event, undecided: Bool[Tensor, "B L"], steps: int | None
) -> Int[Tensor, "B L"]:
    """The step of each position from left to right in its block: as many at each step, None for one."""
    rank = rank_within_block(block, undecided)
    if steps is None:
        return rank
    size = torch.zeros_like(rank).scatter_add(1, block, undecided.long()).gather(1, block)
    return rank * steps // size.clamp_min(1)


def stride_steps(
    rank: Event, stride: int, size: int, share: float, order: str, rng: Noise
) -> tuple[Event, Bool[Tensor, "B L"]]:
    """The step of each rank in blocks of `size`, those `stride` apart together; and which come later.

    "strided": the first `share` of the offsets have a step each, in random order. "anchored": offset 0 goes
    first, one rank at a time, and the other offsets follow it from left to right.
    """
    step = rank % stride
    if order == "strided":
        step = rng.permutation(stride).gather(1, step)
    later = step >= round(share * stride)
    if order == "anchored":
        step = torch.where(step > 0, size + step, rank // stride)
    return step, later


def num_events(event: Event, undecided: Bool[Tensor, "B L"]) -> int:
    """How many events the busiest row has."""
    return int(event.masked_fill(~undecided, -1).max()) + 1 if bool(undecided.any()) else 0


def event_sizes(key: Event, undecided: Bool[Tensor, "B L"]) -> Int[Tensor, "B E"]:
    """How many positions each event of each row decides; those of equal key share an event."""
    event = dense_rank(key, undecided)
    size = torch.zeros(len(key), key.shape[1] + 1, dtype=torch.long, device=key.device)
    return size.scatter_add(1, event, undecided.long())[:, : num_events(event, undecided)]
