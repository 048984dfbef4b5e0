"""Who may attend to whom, and the attention itself on the plain path.

A pattern is data: it answers `allowed(q, k)` for index tensors (usable as a FlexAttention mask
function) and counts its pairs exactly, which is what FLOP accounting uses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Index = Int[Tensor, "..."]

# In training, below this many positions, the two matrix products written out beat the fused kernel on a
# CPU (docs: benchmarks/results); its backward pass is the slow part.
_PLAIN_LENGTH = 512


class Attention(ABC):
    """A pattern over n positions."""

    @abstractmethod
    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "..."]:
        """Whether query q may attend to key k; broadcasts."""

    @abstractmethod
    def pairs(self, n: int) -> int:
        """Number of allowed (query, key) pairs."""

    def pairs_in(self, batch: int, n: int) -> int:
        """Number of allowed pairs in a batch."""
        return batch * self.pairs(n)

    def mask(self, n: int, device: torch.device) -> Bool[Tensor, "*B N N"] | None:
        """The pattern written out, True where attention is allowed; None where all is allowed."""
        return _mask(self, n, device)

    def bias(
        self, n: int, device: torch.device, dtype: torch.dtype
    ) -> Float[Tensor, "*B N N"] | None:
        """The same as what is added to the scores: 0 where attention is allowed, -inf elsewhere."""
        return _bias(self, n, device, dtype)


@lru_cache(maxsize=16)
def _mask(pattern: Attention, n: int, device: torch.device) -> Tensor:
    index = torch.arange(n, device=device)
    return pattern.allowed(index[:, None], index[None, :], n)


def _as_bias(pattern: Attention, n: int, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    allowed = pattern.mask(n, device)
    if allowed is None:
        return None
    return torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, float("-inf"))


_bias = lru_cache(maxsize=16)(_as_bias)
_bias_by_row = lru_cache(maxsize=1)(_as_bias)  # for all layers of one pass; another follows at once


@dataclass(frozen=True, slots=True)
class Full(Attention):
    """Everyone sees everyone."""

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "..."]:
        """Always."""
        return (q >= 0) & (k >= 0)

    def pairs(self, n: int) -> int:
        """n^2."""
        return n * n

    def mask(self, n: int, device: torch.device) -> None:
        """Nothing to mask."""
        return None


@dataclass(frozen=True, slots=True)
class Causal(Attention):
    """Each position sees itself and what comes before."""

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "..."]:
        """k <= q."""
        return k <= q

    def pairs(self, n: int) -> int:
        """n (n + 1) / 2."""
        return n * (n + 1) // 2


@dataclass(frozen=True, slots=True)
class BlockCausal(Attention):
    """Each block sees all of itself and the blocks before it, the last `reach` with its own (None: all)."""

    block: int = 1
    reach: int | None = None

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "..."]:
        """By block of both ends."""
        q_block, k_block = q // self.block, k // self.block
        seen = k_block <= q_block
        return seen if self.reach is None else seen & (k_block > q_block - self.reach)

    def pairs(self, n: int) -> int:
        """Own block, and every earlier one within reach."""
        return sum(
            size * (size + self.block * (i if self.reach is None else min(i, self.reach - 1)))
            for i, size in enumerate(block_sizes(n, self.block))
        )


@dataclass(frozen=True, slots=True)
class TwoStream(Attention):
    """A noisy copy, then a clean copy of the same tokens in blocks (arXiv 2503.09573, Figure 2).

    A noisy block sees itself and earlier clean blocks; a clean block sees itself and earlier clean
    blocks. With blocks of one token it is the sequential mask of Eso-LM (arXiv 2506.01928). The clean
    copy may lack its last `hidden` tokens: nobody else looks at its last block.
    """

    block: int = 1
    hidden: int = 0

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "..."]:
        """By stream and block of both ends."""
        half = (n + self.hidden) // 2
        q_clean, k_clean = q >= half, k >= half
        q_block, k_block = q % half // self.block, k % half // self.block
        own = (q_clean == k_clean) & (q_block == k_block)
        return own | (k_clean & (k_block < q_block))

    def pairs(self, n: int) -> int:
        """Both streams: own block, and every earlier clean block."""
        noisy = (n + self.hidden) // 2
        clean = n - noisy
        return BlockCausal(self.block).pairs(clean) + sum(
            size * (size + min(i * self.block, clean))
            for i, size in enumerate(block_sizes(noisy, self.block))
        )


def block_sizes(length: int, block: int) -> list[int]:
    """Of the blocks of a text; the last may be smaller."""
    return [min(block, length - start) for start in range(0, length, block)]


class BySequence(Attention):
    """A pattern that differs between the sequences of a batch; `allowed` has a batch axis in front."""

    def pairs(self, n: int) -> int:
        """Of a batch of one."""
        return self.pairs_in(1, n)

    def mask(self, n: int, device: torch.device) -> Bool[Tensor, "B 1 N N"]:
        """One for each sequence, the same for every head."""
        index = torch.arange(n, device=device)
        return self.allowed(index[:, None], index[None, :], n)[:, None]

    def bias(
        self, n: int, device: torch.device, dtype: torch.dtype
    ) -> Float[Tensor, "B 1 N N"] | None:
        """Made anew for every batch."""
        return _bias_by_row(self, n, device, dtype)


@dataclass(frozen=True, slots=True)
class BidirectionalPrefix(BySequence):
    """`base`, and the first `clean[b]` clean tokens of sequence b all see each other.

    Clean tokens start the sequence, or under `TwoStream` its second half: Eso-LM's variant A
    (arXiv 2506.01928, in its code `mixed2` and `mixed`).
    """

    base: Causal | TwoStream
    clean: tuple[int, ...]

    def allowed(self, q: Index, k: Index, n: int) -> Bool[Tensor, "B ..."]:
        """By `base`, or both among the clean tokens of their sequence; a batch axis in front."""
        first = n // 2 if isinstance(self.base, TwoStream) else 0
        end = first + torch.tensor(self.clean, device=q.device)[:, None, None]
        return self.base.allowed(q, k, n) | ((q >= first) & (k >= first) & (q < end) & (k < end))

    def pairs_in(self, batch: int, n: int) -> int:
        """Those of `base`, and c (c - 1) / 2 more where c clean tokens see what comes after them."""
        assert batch == len(self.clean), (batch, self.clean)
        return batch * self.base.pairs(n) + sum(c * (c - 1) // 2 for c in self.clean)


def attend(
    q: Float[Tensor, "B H N C"],
    k: Float[Tensor, "B H N C"],
    v: Float[Tensor, "B H N C"],
    pattern: Attention,
    relative: Float[Tensor, "*B H N N"] | None = None,
) -> Float[Tensor, "B H N C"]:
    """Softmax attention under `pattern`, scaled by 1 / sqrt(C); `relative` is added to the scores."""
    n = q.shape[-2]
    if q.device.type == "cpu" and n <= _PLAIN_LENGTH and q.requires_grad:
        return plain_attention(q, k, v, pattern, relative)
    if isinstance(pattern, Causal) and relative is None:
        return scaled_dot_product_attention(q, k, v, is_causal=True)
    bias = biased(pattern.bias(n, q.device, q.dtype), relative, q.dtype)
    if bias is not None and bias.ndim == 3:
        bias = bias[None]  # of two or four axes: with three the fused kernel is passed over
    return scaled_dot_product_attention(q, k, v, attn_mask=bias)


def plain_attention(
    q: Float[Tensor, "B H N C"],
    k: Float[Tensor, "B H N C"],
    v: Float[Tensor, "B H N C"],
    pattern: Attention,
    relative: Float[Tensor, "*B H N N"] | None = None,
) -> Float[Tensor, "B H N C"]:
    """The same with every score written out: the reference."""
    n, width = q.shape[-2:]
    scale = width**-0.5
    q_rows, k_rows = q.flatten(0, 1), k.flatten(0, 1)
    bias = biased(pattern.bias(n, q.device, q.dtype), relative, q.dtype)
    if bias is None:
        scores = (q_rows * scale) @ k_rows.transpose(1, 2)
    else:
        bias = bias.expand(*q.shape[:2], n, n).flatten(0, 1)
        scores = torch.baddbmm(bias, q_rows, k_rows.transpose(1, 2), alpha=scale)
    return (scores.softmax(-1) @ v.flatten(0, 1)).unflatten(0, q.shape[:2])


def biased(
    pattern: Float[Tensor, "*B N N"] | None,
    relative: Float[Tensor, "*B H N N"] | None,
    dtype: torch.dtype,
) -> Float[Tensor, "*B H N N"] | None:
    """All that is added to the scores: the pattern's 0 or -inf, and what a head adds of its own."""
    if relative is None:
        return pattern
    return relative.to(dtype) if pattern is None else relative.to(dtype) + pattern


def attend_to_slots(
    q: Float[Tensor, "B H M C"],
    k: Float[Tensor, "B H N C"],
    v: Float[Tensor, "B H N C"],
    bias: Float[Tensor, "... M N"] | None,
) -> Float[Tensor, "B H M C"]:
    """Attention of a few new positions to all slots of a cache; `bias` is 0 or -inf, None allows all."""
    if q.device.type != "cpu":
        return scaled_dot_product_attention(q, k, v, attn_mask=bias)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (scores if bias is None else scores + bias).softmax(-1) @ v


def attention_of(
    columns: Int[Tensor, "B M"],
    q: Float[Tensor, "B H M C"],
    k: Float[Tensor, "B H N C"],
    pattern: Attention,
    relative: Float[Tensor, "B H M N"] | None = None,
) -> Float[Tensor, "B H M N"]:
    """How the positions `columns` of each sequence weigh all others under `pattern`."""
    index = torch.arange(k.shape[-2], device=q.device)
    allowed = pattern.allowed(columns[..., None], index, len(index))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if relative is not None:
        scores = scores + relative
    return scores.masked_fill_(~allowed[:, None], float("-inf")).softmax(-1)
