"""What sampling a text asks of a network, counted in what it is shown; and in FLOPs, by size. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ASPECT = 64
"""Width over depth: 768 in 12 layers, 1024 in 16; the ladder of arXiv 2602.15014 has 43 to 78."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingCost:
    """One text of a sampler, on average over texts; each number is a sum over its network evaluations.

    Attributes:
        evaluations: how many there are.
        positions: positions that pass the blocks.
        pairs: pairs of positions that attend to each other.
        read: positions that pass the vocabulary head.
        slots: positions whose keys and values are read from a cache; 0 where nothing is cached.
    """

    evaluations: float
    positions: float
    pairs: float
    read: float
    slots: float = 0.0


@dataclass(frozen=True, slots=True)
class TypicalNetwork:
    """12 n d^2 parameters in n = d / 64 blocks of width d, and two matrices of V x d."""

    depth: float
    width: float
    vocab_size: int

    @classmethod
    def of(cls, parameters: float, convention: str, vocab_size: int) -> TypicalNetwork:
        """Of N parameters; with the vocabulary among them where N counts it."""
        head = 2.0 * vocab_size if convention == "total" else 0.0
        # 12 d^3 / 64 + 2 V d = N has one positive root
        roots = np.roots([12 / _ASPECT, 0.0, head, -parameters])
        width = float(roots[np.abs(roots.imag).argmin()].real)
        return cls(width / _ASPECT, width, vocab_size)

    @property
    def core(self) -> float:
        """Parameters that every position passes."""
        return 12 * self.depth * self.width**2

    @property
    def head(self) -> float:
        """Parameters of the vocabulary head."""
        return self.vocab_size * self.width

    @property
    def total(self) -> float:
        """All of them."""
        return self.core + 2 * self.head

    def flops(self, cost: SamplingCost) -> float:
        """Of one text: blocks, attention (q.k, the weighted sum of v), head; a multiply-add counts 2."""
        blocks, pair = 2 * self.core * cost.positions, 4 * self.depth * self.width
        return blocks + pair * cost.pairs + 2 * self.head * cost.read

    def cache_bytes(self, slots: float) -> float:
        """Keys and values of so many positions, in bfloat16."""
        return 4 * self.depth * self.width * slots


def expected_events(steps: int, masked: int, share: float = 1.0) -> float:
    """Mean number of T steps that reveal something, each revealing a mask with probability share / T."""
    return steps * (1 - (1 - share / steps) ** masked)


def shown_one_by_one(length: int) -> SamplingCost:
    """One position at a time, each looking at all before it and itself."""
    seen = length * (length + 1) / 2
    return SamplingCost(evaluations=length, positions=length, pairs=seen, read=length, slots=seen)


def shown_whole(length: int, evaluations: float, read: float) -> SamplingCost:
    """All L positions at every evaluation, each attending to all."""
    return SamplingCost(
        evaluations=evaluations,
        positions=evaluations * length,
        pairs=evaluations * length**2,
        read=read,
    )


def shown_where_due(length: int, due: Sequence[float]) -> SamplingCost:
    """All L positions at every step at which one is due, each with that step's chance; those are read."""
    evaluations = sum(1 - (1 - chance) ** length for chance in due)
    return shown_whole(length, evaluations, read=length * sum(due))


def shown_by_block(blocks: Sequence[int], events: Sequence[float]) -> SamplingCost:
    """A block at each of its events, looking back at all; at the first, the finished block before it too."""
    evaluations = positions = pairs = slots = 0.0
    end = before = 0
    for size, times in zip(blocks, events, strict=True):
        end += size
        evaluations += times
        positions += times * size + before
        pairs += times * size * end + before * (end - size)
        slots += times * end
        before = size
    return SamplingCost(
        evaluations=evaluations, positions=positions, pairs=pairs, read=end, slots=slots
    )


def shown_twice(length: int, events: float, share: float) -> SamplingCost:
    """Each token as a mask to decide and then, but for those decided last, as what it is; in causal order.

    A `share` of the tokens is decided in `events`, the rest one at a time.
    """
    parallel = share * length
    left = length - parallel
    last = 1.0 if left else length / events
    return SamplingCost(
        evaluations=events + left,
        positions=2 * length - last,
        pairs=length * (length + 1) - last * length,
        read=length,
        # The events end at evenly spaced slots on average, those after them one slot further each.
        slots=parallel * (events + 1) / 2 + left * (parallel + length + 1) / 2,
    )
