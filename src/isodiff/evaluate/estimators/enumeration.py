r"""All subsets of a short target: its bound, and its likelihood over all orders, without any noise.

With l_i(M) = -log p(x_i | what is not in M) for i in M, and n tokens to score,

    bound  = sum_{M not empty} sum_{i in M} l_i(M) / (|M| C(n, |M|)),                              (1)
    orders = -log f(all),   f(K) = mean_{i in K} f(K - i) exp(-l_i(all - (K - i))),   f({}) = 1.   (2)

Eq. (1) is the bound that mask counts estimate. Eq. (2), K being what is known, is the exact likelihood of
the sampler that lifts one mask at a time in random order; by Jensen it is never above the bound. Both take
2^n - 1 network evaluations, for all blocks of a text at once.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.errors import InputError
from isodiff.evaluate.estimators.mask_counts import Blocks
from isodiff.evaluate.estimators.queries import Found, Inquiry, Limits

MOST = 12  # tokens: 4095 network evaluations
Table = Float[Tensor, "B N M I"]
"""l_i(M) for every text and block; M is a bit mask of the block's tokens to score, from left to right."""


def table(inquiry: Inquiry, blocks: Blocks) -> Table:
    """Ask for every subset, of all blocks at once."""
    most = int(blocks.size.max())
    if most > MOST:
        raise InputError(
            f"{most} tokens to score have 2^{most} subsets; all of them are asked for up to {MOST} tokens"
        )
    everyone = torch.arange(len(inquiry.x))
    rank = blocks.rank(everyone, place(blocks).expand(len(everyone), -1) / len(blocks.of))
    row, subset = everyone.repeat_interleave(2**most - 1), torch.arange(1, 2**most)
    subset = subset.repeat(len(everyone))
    fits = subset < 2 ** blocks.size.max(-1).values[row]
    row, subset = row[fits], subset[fits]
    bit = (subset[:, None] >> rank[row].clamp_max(MOST)) & 1
    # In a block with fewer tokens, a subset with bits beyond them says what a smaller one said.
    hidden = blocks.target[row] & (bit == 1)
    nats = inquiry.nats(row, hidden, hidden)
    found = torch.zeros(len(everyone), blocks.num, 2**most, most, dtype=torch.float64)
    job, column = hidden.nonzero(as_tuple=True)
    block = blocks.of[column]
    inside = subset[job] < 2 ** blocks.size[row[job], block]
    job, column, block = job[inside], column[inside], block[inside]
    found[row[job], block, subset[job], rank[row[job], column]] = nats[job, column]
    return found


def place(blocks: Blocks) -> Int[Tensor, " L"]:
    """0 .. L - 1."""
    return torch.arange(len(blocks.of))


def all_subsets(inquiry: Inquiry, limits: Limits) -> Found:
    """Eq. (1)."""
    blocks = Blocks(inquiry)
    sums = table(inquiry, blocks).sum(-1)  # B N M
    number = torch.arange(sums.shape[-1])
    popcount = ((number[:, None] >> torch.arange(MOST)) & 1).sum(-1)
    weight = torch.zeros(MOST + 1, sums.shape[-1], dtype=torch.float64)
    for n in range(1, MOST + 1):
        for k in range(1, n + 1):
            weight[n, popcount == k] = 1 / (k * math.comb(n, k))
    nats = (weight[blocks.size] * sums).sum((-1, -2))
    return Found(nats, torch.zeros_like(nats), "bound", "all subsets of masks")


def all_orders(inquiry: Inquiry, limits: Limits) -> Found:
    """Eq. (2)."""
    blocks = Blocks(inquiry)
    nats = table(inquiry, blocks)
    total = torch.zeros(len(nats), dtype=torch.float64)
    for n in blocks.size.unique().tolist():
        row, block = (blocks.size == n).nonzero(as_tuple=True)
        known = [torch.zeros(len(row), dtype=torch.float64)]
        for subset in range(1, 2**n):
            members = [i for i in range(n) if subset >> i & 1]
            ways = [
                known[subset ^ 1 << i] - nats[row, block, 2**n - 1 - (subset ^ 1 << i), i]
                for i in members
            ]
            known.append(torch.stack(ways).logsumexp(0) - math.log(len(members)))
        total.index_add_(0, row, -known[-1])
    how = "all orders, one token at a time: the sampler that lifts masks at random"
    return Found(total, torch.zeros_like(total), "exact", how)
