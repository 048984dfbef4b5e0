"""The network that a law's N stands for, in the usual proportions: for memory and FLOPs of writing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.cost.sampling import SamplingCost

ASPECT = 64
"""Width over depth: 768 in 12 layers, 1024 in 16; the ladder of arXiv 2602.15014 has 43 to 78."""


@dataclass(frozen=True, slots=True)
class Outline:
    """12 n d^2 parameters in n = d / 64 blocks of width d, and two matrices of V x d."""

    depth: float
    width: float
    vocab_size: int

    @classmethod
    def of(cls, parameters: float, convention: str, vocab_size: int) -> Outline:
        """Of N parameters; with the vocabulary among them where N counts it."""
        head = 2.0 * vocab_size if convention == "total" else 0.0
        # 12 d^3 / 64 + 2 V d = N has one positive root
        roots = np.roots([12 / ASPECT, 0.0, head, -parameters])
        width = float(roots[np.abs(roots.imag).argmin()].real)
        return cls(width / ASPECT, width, vocab_size)

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

    def flops(self, writing: SamplingCost) -> float:
        """Of one text: blocks, attention and head, a multiply-add counting 2 (cost/flops.py)."""
        blocks = 2 * self.core * writing.positions
        return blocks + self.pair * writing.pairs + 2 * self.head * writing.read

    @property
    def pair(self) -> float:
        """FLOPs of a position's attention to one other: q.k and the weighted sum of v, over all layers."""
        return 4 * self.depth * self.width

    def cache_bytes(self, slots: float) -> float:
        """Keys and values of so many positions, in bfloat16."""
        return 4 * self.depth * self.width * slots
