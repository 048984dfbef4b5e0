"""Which positions are predictions where some tokens are given: nobody asks the vocabulary for the others."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from isodiff.types import Chosen, Nats, Tokens


def positions_to_read(observed: Chosen | None) -> Int[Tensor, " M"] | None:
    """Which of the B L positions shown are predictions: those not given; None for all."""
    return None if observed is None else (~observed).flatten().nonzero().squeeze(-1)


def gather_read(values: Tensor, read: Int[Tensor, " M"] | None) -> Tensor:
    """The entries of `values` (B, L) at the positions read."""
    return values.flatten() if read is None else values.flatten()[read]


def scatter_read(values: Float[Tensor, " M"], read: Int[Tensor, " M"] | None, x: Tokens) -> Nats:
    """Values of the positions read, where they belong; 0 elsewhere."""
    if read is None:
        return values.view_as(x)
    return values.new_zeros(x.numel()).index_put((read,), values).view_as(x)
