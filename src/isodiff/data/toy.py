"""A known joint distribution over short sequences: everything about it can be summed.

p(x) is given for all V^L sequences, so that entropies, marginals and conditionals are exact. A family
is right when, shown the conditionals of a toy, its bound is -log p(x) and its sampler draws from p.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.categorical import draw
from isodiff.rng import Rows, stream
from isodiff.types import Tokens


@dataclass(frozen=True, eq=False)
class Toy:
    """A joint distribution over {0..V-1}^L.

    Attributes:
        p: probabilities, float64, one axis of V per position.
    """

    p: Float[Tensor, "..."]

    @classmethod
    def random(cls, vocab_size: int, length: int, *, seed: int, spread: float = 1.5) -> Toy:
        """softmax of `spread` times standard normal numbers: no zeros, no independence."""
        shape = (vocab_size,) * length
        noise = torch.randn(shape, generator=stream(seed, "toy"), dtype=torch.float64)
        return cls((spread * noise).flatten().softmax(0).view(shape))

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.p.shape[0]

    @property
    def length(self) -> int:
        """L."""
        return self.p.ndim

    @cached_property
    def sequences(self) -> Int[Tensor, "X L"]:
        """All V^L sequences, the last position fastest."""
        return torch.cartesian_prod(*[torch.arange(self.vocab_size)] * self.length).view(
            -1, self.length
        )

    @property
    def entropy(self) -> float:
        """Nats per sequence."""
        return float(-torch.xlogy(self.p, self.p).sum())

    def log_p(self, x: Tokens) -> Float[Tensor, " B"]:
        """log p(x), nats."""
        return self.p[tuple(x.T)].log()

    def sample(self, rng: Rows) -> Tokens:
        """One exact draw per row."""
        weights = self.p.flatten().expand(len(rng), -1)
        return self.sequences[draw(weights, rng.uniform())]

    @cached_property
    def marginals(self) -> Float[Tensor, "..."]:
        """p with an index V on every axis that means "any token"."""
        table = self.p
        for axis in range(self.length):
            table = torch.cat([table, table.sum(axis, keepdim=True)], axis)
        return table

    def conditional(
        self, known: Int[Tensor, "M L"], position: Int[Tensor, " M"]
    ) -> Float[Tensor, "M V"]:
        """p(x_position | the known tokens). V in `known` means unknown; what is known is certain."""
        token = torch.arange(self.vocab_size)
        own = known.gather(1, position[:, None])
        guess = known[:, None].repeat(1, self.vocab_size, 1)
        index = position[:, None, None].expand(-1, self.vocab_size, 1)
        guess = guess.scatter(2, index, token[None, :, None].expand(len(known), -1, 1))
        weights = self.marginals[guess.unbind(-1)]
        weights = weights * ((own == token) | (own == self.vocab_size))
        return weights / weights.sum(-1, keepdim=True)
