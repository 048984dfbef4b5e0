"""In which order the interpolating family decides tokens: in parallel, in strides, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.bounds import Count, Fraction
from isodiff.families.base import UNDECIDED, Stepped
from isodiff.families.reveal_times import Event, draw_steps, rank_within_block, stride_steps
from isodiff.rng import Noise
from isodiff.types import Chosen, Tokens

Order = Int[Tensor, "B L"]
"""Positions of each row as they are decided; those given come first, from left to right."""


@dataclass(frozen=True, kw_only=True)
class InterpolatingSampler(Stepped):
    """How much is decided in parallel, and in which order.

    Attributes:
        steps: T of the first phase; None decides one token per evaluation there too.
        alpha_0: share of the tokens that the first phase decides; None for that of training.
        order: "random" draws the step of each token (ancestral). "strided" decides tokens that are T apart
            together, T times in random order. "anchored" goes from left to right through every T-th token,
            then takes the tokens next to those together, and so on.
        block: tokens per block, blocks from left to right, `steps` shared among them; None for one block.
    """

    examples: ClassVar = (
        *({"order": "strided", "block": 5, "alpha_0": 0.6}, {"order": "anchored", "alpha_0": 0.6}),
        *({"steps": None, "alpha_0": 0.6}, {"block": 5}),
    )
    alpha_0: Fraction | None = None
    order: Literal["random", "strided", "anchored"] = "random"
    block: Count | None = None


def reveal_schedule(
    prompt: Tokens, sampler: InterpolatingSampler, alpha_0: float, rng: Noise
) -> tuple[Order, Event, Chosen]:
    """The order of the tokens, the event that decides each, and which are left to the second phase.

    `alpha_0` is that of training, for samplers that have none of their own.
    """
    length, undecided = prompt.shape[1], prompt == UNDECIDED
    alpha_0 = alpha_0 if sampler.alpha_0 is None else sampler.alpha_0
    size = sampler.block or length
    place = torch.arange(length, device=prompt.device).expand(prompt.shape)
    block = place // size
    steps = sampler.steps and max(1, sampler.steps // -(-length // size))
    if sampler.order == "random":
        alphas = torch.linspace(0, alpha_0, steps + 1, dtype=torch.float64) if steps else None
        step = draw_steps(undecided, alphas, rng)
        later = step >= steps if steps else rng.uniform(length) >= alpha_0
    else:
        rank = rank_within_block(block, undecided)
        step, later = stride_steps(rank, steps or size, size, alpha_0, sampler.order, rng)
    later = later & undecided
    per_block = 2 * size + (steps or length)
    event = torch.where(later, length * per_block + place, block * per_block + step)
    # Prompt first, then event after event, in random order within each.
    key = (event + 1) * length + rng.permutation(length).argsort(-1)
    return torch.where(undecided, key, place).argsort(-1), event, later
