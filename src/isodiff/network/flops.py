"""Training FLOPs and parameters from (shape, backbone, views): counted, never measured.

A multiply-add is 2 FLOPs. Counted are the matrix products of the blocks, the attention scores and their
use, the conditioning network, and the head on the positions that are read; the backward pass costs twice
the forward. Norms, activations, the embedding look-up and the optimizer are not counted.

Conventions:
    exact         attended pairs only, head only where it is read: what the mathematics needs
    no_attention  3 x 2 L (core + V d): blocks and a head at every clean position, no attention scores, as
                  arXiv 2602.15014 budgets its runs (there measured as 5.3026e10 a forward at 6M)
    6ND           6 x non-embedding parameters x clean tokens
`dense` is what the plain attention path executes: every pair, allowed or not. It equals PyTorch's
FlopCounterMode, and with `pairs` = n^2 it equals `exact`; tests hold both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isodiff.network.shape import Backbone, Shape
from isodiff.record import Convention

if TYPE_CHECKING:
    from isodiff.network.view import View


@dataclass(frozen=True, slots=True)
class Forward:
    """FLOPs of one forward pass, by part."""

    blocks: int
    attention: int
    dense_attention: int
    condition: int
    condition_input: int
    head: int

    @property
    def exact(self) -> int:
        """Attended pairs only."""
        return self.blocks + self.attention + self.condition + self.head

    @property
    def dense(self) -> int:
        """Every pair."""
        return self.exact - self.attention + self.dense_attention


def block_parameters(shape: Shape, backbone: Backbone) -> int:
    """Matrix entries of one block that every position passes through."""
    d, hidden = shape.width, backbone.mlp_width(shape.width)
    return 4 * d * d + (3 if backbone.mlp == "swiglu" else 2) * d * hidden


def forward_flops(
    view: View, *, shape: Shape, backbone: Backbone, vocab_size: int, timed: bool
) -> Forward:
    """FLOPs of showing `view` to the network once."""
    batch, n = view.inputs.shape
    d = shape.width
    blocks = 2 * batch * n * shape.depth * block_parameters(shape, backbone)
    pair = 4 * batch * shape.depth * d  # q.k and the weighted sum of v, over all heads
    condition = condition_input = 0
    if backbone.conditioned(timed):
        c = min(backbone.condition_width, d)
        rows = batch if view.time is not None else 1
        condition_input = 2 * rows * 2 * c * c
        condition = condition_input + 2 * rows * (c * c + (6 * shape.depth + 2) * c * d)
    head = 2 * view.num_read * d * vocab_size
    attention, dense = pair // batch * view.attention.pairs_in(batch, n), pair * n * n
    return Forward(blocks, attention, dense, condition, condition_input, head)


def training_flops(
    views: Sequence[View], *, shape: Shape, backbone: Backbone, vocab_size: int, timed: bool
) -> tuple[int, int]:
    """(exact, dense) FLOPs of one step, forward and backward, over all its views."""
    exact = dense = 0
    for view in views:
        part = forward_flops(
            view, shape=shape, backbone=backbone, vocab_size=vocab_size, timed=timed
        )
        # The sinusoids need no gradient, so their layer's backward pass has one product, not two.
        exact += 3 * part.exact - part.condition_input
        dense += 3 * part.dense - part.condition_input
    return exact, dense


def conventions(
    *,
    exact: float,
    tokens: float,
    shape: Shape,
    backbone: Backbone,
    vocab_size: int,
    non_embedding: int,
) -> dict[Convention, float]:
    """Training FLOPs of a run of `tokens` clean tokens under every convention."""
    matrices = shape.depth * block_parameters(shape, backbone) + vocab_size * shape.width
    return {
        "exact": float(exact),
        "no_attention": 6.0 * tokens * matrices,
        "6ND": 6.0 * non_embedding * tokens,
    }
