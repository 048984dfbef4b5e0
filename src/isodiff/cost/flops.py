"""Training FLOPs and parameters from (shape, backbone, views): counted, never measured.

A multiply-add is 2 FLOPs. Counted are the matrix products of the blocks, the attention scores and their
use, the conditioning network, and the head on the positions that are read; where vectors are shown, their
way in, their evidence, and the mean of their table. The backward pass costs twice the forward, but for
gradients that nothing needs; a view that is not trained has none. Norms, activations, the embedding
look-up and the optimizer are not counted.

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
    """FLOPs of one forward pass, by part.

    Attributes:
        spared: what the backward pass does not compute of its two products for each of the forward pass.
    """

    blocks: int
    attention: int
    dense_attention: int
    condition: int
    head: int
    vectors: int
    spared: int

    @property
    def exact(self) -> int:
        """Attended pairs only."""
        return self.blocks + self.attention + self.condition + self.head + self.vectors

    @property
    def dense(self) -> int:
        """Every pair."""
        return self.exact - self.attention + self.dense_attention


def _block_parameters(shape: Shape, backbone: Backbone) -> int:
    """Matrix entries of one block that every position passes through."""
    d, hidden = shape.width, backbone.mlp_width(shape.width)
    return 4 * d * d + (3 if backbone.mlp == "swiglu" else 2) * d * hidden


def forward_flops(
    view: View, *, shape: Shape, backbone: Backbone, vocab_size: int, timed: bool
) -> Forward:
    """FLOPs of showing `view` to the network once."""
    batch, n = view.inputs.shape[:2]
    d = shape.width
    blocks = 2 * batch * n * shape.depth * _block_parameters(shape, backbone)
    pair = 4 * batch * shape.depth * d  # q.k and the weighted sum of v, over all heads
    vectors, spared = _vector_flops(view, width=d)
    condition = 0
    if backbone.conditioned(timed):
        c = min(backbone.condition_width, d)
        rows = batch if view.time is not None else 1
        sinusoids = 2 * rows * 2 * c * c
        condition = sinusoids + 2 * rows * (c * c + (6 * shape.depth + 2) * c * d)
        spared += sinusoids if view.time is None or not view.time.requires_grad else 0
    head = 2 * view.num_read * d * vocab_size
    attention, dense = pair // batch * view.attention.pairs_in(batch, n), pair * n * n
    return Forward(blocks, attention, dense, condition, head, vectors, spared)


def _vector_flops(view: View, *, width: int) -> tuple[int, int]:
    """FLOPs of what a view does with vectors, and what of it the backward pass is spared."""
    vectors = spared = 0
    if view.inputs.is_floating_point():
        vectors = 2 * view.inputs.numel() * width
        spared = 0 if view.inputs.requires_grad else vectors
    if view.table is not None:
        products = 2 * view.num_read * view.table.numel()
        constant = 0 if view.table.requires_grad else products
        vectors, spared = vectors + products, spared + constant
        if view.evidence is not None:
            vectors, spared = vectors + products, spared + constant
            spared += 0 if view.evidence.requires_grad else products
    return vectors, spared


def training_flops(
    views: Sequence[View], *, shape: Shape, backbone: Backbone, vocab_size: int, timed: bool
) -> tuple[int, int]:
    """(exact, dense) FLOPs of one step, forward and backward, over all its views."""
    exact = dense = 0
    for view in views:
        part = forward_flops(
            view, shape=shape, backbone=backbone, vocab_size=vocab_size, timed=timed
        )
        passes, spared = (3, part.spared) if view.trained else (1, 0)
        exact += passes * part.exact - spared
        dense += passes * part.dense - spared
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
    matrices = shape.depth * _block_parameters(shape, backbone) + vocab_size * shape.width
    return {
        "exact": float(exact),
        "no_attention": 6.0 * tokens * matrices,
        "6ND": 6.0 * non_embedding * tokens,
    }
