r"""Enumeration: all subsets of a short target, for its bound or its likelihood over all orders, no noise.

With l_i(M) = -log p(x_i | what is not in M) for i in M, and n tokens to score,

    bound  = sum_{M not empty} sum_{i in M} l_i(M) / (|M| C(n, |M|)),                              (1)
    orders = -log f(all),   f(M) = sum_{i in M} P(i is next, as x_i | masks M) f(M - i),   f({}) = 1.  (2)

Eq. (1) is the bound that mask counts estimate. Eq. (2) is the exact likelihood of a sampler that lifts one
mask at a time. Of a random one, P = exp(-l_i(M)) / |M|; by Jensen it is never above the bound. If a token is
drawn at every mask j and the one of largest p_j, or the leftmost within NEAR of it, is kept
(families/confidence.py), the others have to lose against s = p_i(x_i). With d_j the token drawn at j and
G(t) = prod_{j > i} P(p_j(d_j) <= t),

    P = s int_{t <= s + NEAR} prod_{j < i} P(p_j(d_j) < max(s, t) - NEAR) dG(t).                     (3)

All take 2^n - 1 network evaluations, for all blocks of a text at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from isodiff.categorical import pick
from isodiff.errors import InputError
from isodiff.evaluate.estimators.mask_counts import Blocks
from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries, TextRows
from isodiff.families.base import AnyOrder
from isodiff.families.confidence import NEAR
from isodiff.types import Nats

_MOST = 12  # tokens: 4095 network evaluations
_SubsetNats = Float[Tensor, "B N M I"]
"""l_i(M) for every text and block; M is a bit mask of the block's tokens to score, from left to right."""
_Ask = Callable[[TextRows, Bool[Tensor, "Q L"]], Nats]
"""Nats at the hidden positions of some texts."""


def _subset_nats(queries: Queries, blocks: Blocks, ask: _Ask) -> _SubsetNats:
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
    nats = ask(row, hidden)
    table = torch.zeros(len(texts), blocks.num, 2**most, most, dtype=torch.float64)
    query, column = hidden.nonzero(as_tuple=True)
    block = blocks.of[column]
    inside = subset[query] < 2 ** blocks.size[row[query], block]
    query, column, block = query[inside], column[inside], block[inside]
    table[row[query], block, subset[query], rank[row[query], column]] = nats[query, column]
    return table


def _own_nats(queries: Queries) -> _Ask:
    return lambda row, hidden: queries.nats(row, hidden, hidden)


def _popcount(num: int) -> Int[Tensor, " {num}"]:
    """Number of masks of the subsets 0 .. num - 1."""
    return ((torch.arange(num)[:, None] >> torch.arange(_MOST)) & 1).sum(-1)


def enumeration(queries: Queries, limits: Limits) -> Estimate:
    """The bound, Eq. (1).

    Raises:
        InputError: too many tokens to score.
    """
    blocks = Blocks(queries)
    sums = _subset_nats(queries, blocks, _own_nats(queries)).sum(-1)  # B N M
    popcount = _popcount(sums.shape[-1])
    weight = torch.zeros(_MOST + 1, sums.shape[-1], dtype=torch.float64)
    for n in range(1, _MOST + 1):
        for k in range(1, n + 1):
            weight[n, popcount == k] = 1 / (k * math.comb(n, k))
    nats = (weight[blocks.size] * sums).sum((-1, -2))
    return Estimate.exact(nats, "all subsets of masks", blocks.kind)


def _over_orders(blocks: Blocks, nats: _SubsetNats) -> Float[Tensor, " B"]:
    """-log f(all), Eq. (2), for nats = -log P."""
    total = torch.zeros(len(nats), dtype=torch.float64)
    for n in blocks.size.unique().tolist():
        row, block = (blocks.size == n).nonzero(as_tuple=True)
        left = [torch.zeros(len(row), dtype=torch.float64)]
        for masks in range(1, 2**n):
            members = [i for i in range(n) if masks >> i & 1]
            ways = [left[masks ^ 1 << i] - nats[row, block, masks, i] for i in members]
            left.append(torch.stack(ways).logsumexp(0))
        total.index_add_(0, row, -left[-1])
    return total


def all_orders(queries: Queries, limits: Limits) -> Estimate:
    """The likelihood of the random order, Eq. (2).

    Raises:
        InputError: too many tokens to score.
    """
    blocks = Blocks(queries)
    nats = _subset_nats(queries, blocks, _own_nats(queries))
    one_of = _popcount(nats.shape[2]).clamp_min(1).double().log()
    how = "all orders, one token at a time: the sampler that lifts masks at random"
    return Estimate.exact(_over_orders(blocks, nats + one_of[:, None]), how)


def most_confident(queries: Queries, limits: Limits) -> Estimate:
    """The likelihood of the order by confidence in what is drawn, Eqs. (2) and (3).

    Raises:
        InputError: too many tokens to score.
    """
    blocks = Blocks(queries)
    family, device = queries.family, queries.x.device
    assert isinstance(family, AnyOrder)

    def ask(rows: TextRows, hidden: Bool[Tensor, "Q L"]) -> Nats:
        def answer(batch: TextRows) -> Nats:
            x, masked = queries.x[rows[batch]], hidden[batch].to(device)
            prediction = family.predict(queries.denoiser(rows[batch]), x, masked, masked)
            row, column = masked.cpu().nonzero(as_tuple=True)
            rivals = (row * blocks.num + blocks.of[column]).unique_consecutive(return_counts=True)
            sizes = rivals[1].tolist()
            each = zip(prediction.probs().split(sizes), x[masked].split(sizes), strict=True)
            nats = -torch.cat([_chance_to_be_next(p, token) for p, token in each]).log()
            return nats.new_zeros(x.shape).masked_scatter(masked, nats)

        return queries.run(rows, answer)

    how = "all orders, one token at a time, of those drawn the most probable first: that sampler's own"
    return Estimate.exact(_over_orders(blocks, _subset_nats(queries, blocks, ask)), how)


def _chance_to_be_next(p: Float[Tensor, "I V"], token: Int[Tensor, " I"]) -> Float[Tensor, " I"]:
    """P of Eq. (3): of the masks of a block, from left to right, i is the next and its token this one."""
    p = p.double()
    s, ladder = pick(p, token)[:, None], p.flatten().sort().values.expand(len(p), -1)
    rungs = p.sort(-1).values
    mass = pad(rungs.cumsum(-1), (1, 0))

    def chance(t: Float[Tensor, "I K"], *, equal: bool) -> Float[Tensor, "I K"]:
        """Of drawing a token less probable than t, or `equal`."""
        return mass.gather(1, torch.searchsorted(rungs, t.contiguous(), right=equal))

    one = p.new_ones(1, ladder.shape[1])
    left = torch.cat([one, chance(ladder - NEAR, equal=False)[:-1]]).cumprod(0)
    right = torch.cat([chance(ladder, equal=True)[1:], one]).flip(0).cumprod(0).flip(0)
    at_s = torch.searchsorted(ladder.contiguous(), s)
    weight = torch.where(ladder <= s, left.gather(1, at_s), left)
    steps = right.diff(dim=1, prepend=torch.zeros_like(s))
    return (s * weight * steps.masked_fill(ladder > s + NEAR, 0)).sum(-1)
