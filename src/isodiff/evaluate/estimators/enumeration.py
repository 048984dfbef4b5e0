r"""Enumeration: all subsets of a short target, for its bound or its likelihood over all orders, no noise.

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
from jaxtyping import Float
from torch import Tensor

from isodiff.errors import InputError
from isodiff.evaluate.estimators.mask_counts import Blocks
from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries

_MOST = 12  # tokens: 4095 network evaluations
_SubsetNats = Float[Tensor, "B N M I"]
"""l_i(M) for every text and block; M is a bit mask of the block's tokens to score, from left to right."""


def _subset_nats(queries: Queries, blocks: Blocks) -> _SubsetNats:
    """One query per subset, of all blocks at once."""
    most = int(blocks.size.max())
    if most > _MOST:
        raise InputError(
            f"{most} tokens to score have 2^{most} subsets; all of them are asked for up to {_MOST} tokens"
        )
    texts = queries.all_rows
    left_to_right = torch.arange(len(blocks.of)) / len(blocks.of)
    rank = blocks.rank(texts, left_to_right.expand(len(texts), -1))
    row, subset = texts.repeat_interleave(2**most - 1), torch.arange(1, 2**most).repeat(len(texts))
    fits = subset < 2 ** blocks.size.max(-1).values[row]
    row, subset = row[fits], subset[fits]
    bit = (subset[:, None] >> rank[row].clamp_max(_MOST)) & 1
    # In a block with fewer tokens, a subset with bits beyond them says what a smaller one said.
    hidden = blocks.target[row] & (bit == 1)
    nats = queries.nats(row, hidden, hidden)
    table = torch.zeros(len(texts), blocks.num, 2**most, most, dtype=torch.float64)
    query, column = hidden.nonzero(as_tuple=True)
    block = blocks.of[column]
    inside = subset[query] < 2 ** blocks.size[row[query], block]
    query, column, block = query[inside], column[inside], block[inside]
    table[row[query], block, subset[query], rank[row[query], column]] = nats[query, column]
    return table


def enumeration(queries: Queries, limits: Limits) -> Estimate:
    """The bound, Eq. (1).

    Raises:
        InputError: too many tokens to score.
    """
    blocks = Blocks(queries)
    sums = _subset_nats(queries, blocks).sum(-1)  # B N M
    number = torch.arange(sums.shape[-1])
    popcount = ((number[:, None] >> torch.arange(_MOST)) & 1).sum(-1)
    weight = torch.zeros(_MOST + 1, sums.shape[-1], dtype=torch.float64)
    for n in range(1, _MOST + 1):
        for k in range(1, n + 1):
            weight[n, popcount == k] = 1 / (k * math.comb(n, k))
    nats = (weight[blocks.size] * sums).sum((-1, -2))
    return Estimate.exact(nats, "all subsets of masks", "bound")


def all_orders(queries: Queries, limits: Limits) -> Estimate:
    """The likelihood over all orders, Eq. (2).

    Raises:
        InputError: too many tokens to score.
    """
    blocks = Blocks(queries)
    nats = _subset_nats(queries, blocks)
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
    return Estimate.exact(total, how)
