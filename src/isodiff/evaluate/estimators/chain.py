r"""Chain rules: texts revealed group by group, each token scored once.

    -log p(x) = sum_g sum_{i in G_g} -log p(x_i | x_{G_1}, .., x_{G_{g-1}})

*A fixed order*, or one that depends on nothing but what is known so far (DUEL, arXiv 2603.01367): with
groups of one token this is the exact likelihood of the sampler that fills masks in that order, by the same
rule (families/confidence.py). The order is computed from the predictions at the masks alone; the tokens
behind them are not shown to that code, so they cannot leak into it. Choosing by what the true token costs,
or the best of several orders, would not be a likelihood: summed over all texts, it exceeds one.

*Block chain*: N growing groups of a random order. Its mean over orders is the bound of the sampler that
decides each group in parallel. That is looser than the bound of mask counts, and takes few evaluations, as
every token is scored exactly once.

In a family of several blocks, all blocks take their steps at the same time: earlier blocks are known anyway.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.categorical import pick
from isodiff.errors import InputError
from isodiff.evaluate.estimators.mask_counts import Blocks
from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries, TextRows
from isodiff.families.base import AnyOrder
from isodiff.families.confidence import sureness, surest
from isodiff.types import Chosen

GROUPS = 8
_USUAL = 8  # orders


def _in_groups(
    queries: Queries, rows: TextRows, group: Int[Tensor, "Q L"], target: Chosen
) -> Tensor:
    """Nats of texts whose tokens to score are revealed group by group."""
    count = group.masked_fill(~target, -1).amax(-1) + 1
    text = torch.arange(len(rows)).repeat_interleave(count)
    step = torch.cat([torch.arange(int(n)) for n in count])[:, None]
    hidden = target[text] & (group[text] >= step)
    nats = queries.nats(rows[text], hidden, target[text] & (group[text] == step)).sum(-1)
    return torch.zeros(len(rows), dtype=torch.float64).index_add(0, text, nats)


def left_to_right(queries: Queries, limits: Limits) -> Estimate:
    """One token at a time, from the left of each block."""
    blocks, rows = Blocks(queries), queries.all_rows
    position = torch.arange(len(blocks.of)).double() / len(blocks.of)
    rank = blocks.rank(rows, position.expand(len(rows), -1))
    nats = _in_groups(queries, rows, rank, blocks.target)
    how = "from left to right, one token at a time: that sampler's own"
    return Estimate.exact(nats, how)


def growing_groups(
    rank: Int[Tensor, "Q L"], size: Int[Tensor, "Q L"], groups: int
) -> Int[Tensor, "Q L"]:
    """Group j of N ends at rank n (j/N)^2, and has one at least: context helps most where there is little."""
    group = torch.zeros_like(rank)
    for j in range(1, groups):
        group += rank >= (size * (j / groups) ** 2).round().long().clamp_min(j)
    return group


def block_chain(queries: Queries, limits: Limits, groups: int = GROUPS) -> Estimate:
    """Random orders, two at least, each cut into `groups` growing groups."""
    if groups < 1:
        raise InputError(f"a block chain needs at least 1 group, got {groups}")
    blocks = Blocks(queries)
    num, length = blocks.target.shape
    rows, orders = torch.arange(num), torch.zeros(num, dtype=torch.float64)
    mean, square = torch.zeros_like(orders), torch.zeros_like(orders)
    se = torch.zeros_like(orders)
    while len(rows):
        number, before = int(orders[rows[0]]), queries.cost[rows]
        u = torch.stack([queries.uniform(int(r), "order", number, num=length) for r in rows])
        group = growing_groups(blocks.rank(rows, u), blocks.sizes[rows], groups)
        nats = _in_groups(queries, rows, group, blocks.target[rows])
        orders[rows] += 1
        away = nats - mean[rows]
        mean[rows] += away / orders[rows]
        square[rows] += away * (nats - mean[rows])
        se[rows] = (square[rows] / orders[rows] / (orders[rows] - 1).clamp_min(1)).sqrt()
        cost = queries.cost[rows]
        if number == 0:
            limits.check(float(2 * cost.max()))
        rows = rows[limits.go_on(se[rows], cost, cost - before, number + 1, usual=_USUAL)]
        rows = rows[(blocks.size[rows] > 1).any(-1)]
    how = f"{int(orders.max())} random orders in {groups} growing groups"
    return Estimate(mean, se, blocks.kind, how)


def _surest_first(order: str, queries: Queries, limits: Limits) -> Estimate:
    """One token at a time, where the network is surest."""
    family, network, blocks = queries.family, queries.network, Blocks(queries)
    assert isinstance(family, AnyOrder)
    num = len(blocks.target)
    total, waiting = torch.zeros(num, dtype=torch.float64), blocks.target.clone()
    while bool(waiting.any()):
        rows = waiting.any(-1).nonzero().squeeze(-1)

        def answer(batch: TextRows, rows: TextRows = rows) -> Tensor:
            hidden, x = waiting[rows[batch]].to(queries.x.device), queries.x[rows[batch]]
            prediction, parts = family.predict(network, x, hidden, hidden), []
            for logits, token in prediction.in_pieces(x[hidden]):
                log_p = logits.log_softmax(-1)
                parts.append((sureness(log_p.exp(), order), -pick(log_p, token)))
            sure, nats = (torch.cat(part) for part in zip(*parts, strict=True))
            score = sure.new_full(x.shape, -torch.inf).masked_scatter(hidden, sure)
            return torch.stack([score, torch.zeros_like(score).masked_scatter(hidden, nats)], 1)

        score, nats = queries.run(rows, answer).unbind(1)
        for b in range(blocks.num):
            here = score.masked_fill(blocks.of != b, -torch.inf)
            now = surest(here, here.isfinite().any(-1).long())
            total[rows] += nats.masked_fill(~now, 0).sum(-1)
            waiting[rows] &= ~now
    how = f"one token at a time, the surest by {order} first: that sampler's own"
    return Estimate.exact(total, how)


STATE_DEPENDENT = {
    order: partial(_surest_first, order) for order in ("probability", "margin", "entropy")
}
