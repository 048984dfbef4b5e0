r"""Mask counts: the bound of families that lift masks in any order, with little variance.

With n tokens to score, C_k the nats of k masks among them (process/counts.py, Eq. 2),

    bound = C_n / n + int_0^1 E[ ((n-1)/k) C_k ] du,   k = 1 + floor((n-1) u).                     (1)

*All masks* have no variance: one query. *Strata*: the nats of k of n tokens, chosen without replacement,
scatter as 1/k - 1/n; strata of equal spread lie between quantiles of its root. *Control variate*: what a
token costs differs more between tokens, and between counts, than with the masks chosen around it. With
numbers c_i(k) that do not depend on the draw (control_variate.py),

    ((n-1)/k) sum_{i masked} (nats_i - c_i(k))  +  ((n-1)/n) sum_i mean_k c_i(k)                   (2)

has the same integral, as every token is among the k with chance k/n. c comes from earlier rounds, so each
round is unbiased (control variates that learn on the way: cf. arXiv 1711.00123).

In a family of several blocks, each block has its own n and k; one draw's u are spread over its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.evaluate.estimators.control_variate import ControlVariate, bin_weights
from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries, TextRows
from isodiff.evaluate.estimators.stratified import KNOTS, integrate
from isodiff.families.base import AnyOrder
from isodiff.record import Kind
from isodiff.rng import Key
from isodiff.types import Nats


class Blocks:
    """The blocks of the texts, and the tokens to score in each."""

    def __init__(self, queries: Queries) -> None:
        assert isinstance(queries.family, AnyOrder)
        length = queries.x.shape[1]
        self.of = queries.family.block(length, torch.device("cpu"))
        self.num = int(self.of[-1]) + 1
        self.target = queries.target.cpu()
        self.start = torch.searchsorted(self.of, torch.arange(self.num))
        empty = torch.zeros(len(self.target), self.num, dtype=torch.long)
        self.size = empty.index_add(1, self.of, self.target.long())

    @property
    def kind(self) -> Kind:
        """Of a bound over orders: with no more than one token a block there is one order."""
        return "bound" if bool((self.size > 1).any()) else "exact"

    @property
    def sizes(self) -> Int[Tensor, "B L"]:
        """n of the block of each position."""
        return self.size[:, self.of]

    def rank(self, rows: TextRows, u: Float[Tensor, "Q L"]) -> Int[Tensor, "Q L"]:
        """Rank of each token to score among those of its block, in the order of u; others come last."""
        key = self.of.double() * 2 + u.masked_fill(~self.target[rows], 1)
        return key.argsort(-1).argsort(-1) - self.start[self.of]


class MaskCounts:
    """The integrand of Eq. (1), less Eq. (2)."""

    def __init__(self, queries: Queries) -> None:
        self.queries, self.blocks = queries, Blocks(queries)
        target, n = self.blocks.target, self.blocks.sizes.clamp_min(1)
        self.all_masks = queries.nats(queries.all_rows, target, target)
        self.fixed = (self.all_masks / n).sum(-1)
        self.control = ControlVariate(self.all_masks)

    @property
    def random_rows(self) -> Int[Tensor, " A"]:
        """Texts whose bound all masks alone do not tell."""
        return (self.blocks.size > 1).any(-1).nonzero().squeeze(-1)

    def knots(self) -> Float[Tensor, "B K1"]:
        """Quantiles of sqrt(1/k - 1/n); blocks spread over [0, 1) anyway."""
        even = np.linspace(0, 1, KNOTS + 1)
        if self.blocks.num > 1:
            return torch.from_numpy(even).expand(len(self.blocks.size), -1)
        rows = []
        for n in self.blocks.size[:, 0].tolist():
            spread = np.sqrt(1 / np.arange(1, n) - 1 / n).cumsum() if n > 1 else np.ones(1)
            mass = np.concatenate([[0], spread / spread[-1]])
            rows.append(np.interp(even, mass, np.linspace(0, 1, len(mass))))
        return torch.from_numpy(np.stack(rows))

    def draw_bound(self, rows: TextRows, keys: Sequence[Key], u: Float[Tensor, " Q"]) -> Tensor:
        """Eq. (1) by a draw; what all masks have told is not asked again."""
        values = self.fixed[rows]
        varies = (self.blocks.size[rows] > 1).any(-1).nonzero().squeeze(-1)
        if len(varies):
            some = [keys[q] for q in varies.tolist()]
            values[varies] += self.draw(rows[varies], some, u[varies])
        return values

    def draw(self, rows: TextRows, keys: Sequence[Key], levels: Float[Tensor, " Q"]) -> Tensor:
        """Eq. (2)."""
        blocks, target = self.blocks, self.blocks.target[rows]
        masked, k = self._masks(rows, keys, levels)
        nats = self.queries.nats(rows, masked, masked)
        n = blocks.sizes[rows]
        here, mean = self._expected(rows, k)
        weight = (n - 1) / k.clamp_min(1)
        values = (weight * (nats - here)).masked_fill(~masked, 0).sum(-1)
        values += ((n - 1) / n.clamp_min(1) * mean).masked_fill(~target, 0).sum(-1)
        self.control.learn(rows, k, n, masked, nats)
        return values

    def _expected(self, rows: TextRows, k: Int[Tensor, "Q L"]) -> tuple[Nats, Nats]:
        """c_i(k), and its mean over k = 1 .. n - 1."""
        some, query = rows.unique(return_inverse=True)
        table = self.control.table(some)
        here = torch.zeros(k.shape, dtype=torch.float64)
        mean = torch.zeros(len(some), k.shape[1], dtype=torch.float64)
        for n in self.blocks.size.unique().tolist():
            if n > 1:
                row, column = (self.blocks.sizes[some] == n).nonzero(as_tuple=True)
                mean[row, column] = table[row, :, column] @ bin_weights(n).mean(0)
                row, column = (self.blocks.sizes[rows] == n).nonzero(as_tuple=True)
                weight = bin_weights(n)[k[row, column] - 1]
                here[row, column] = (table[query[row], :, column] * weight).sum(-1)
        return here, mean[query]

    def _masks(
        self, rows: TextRows, keys: Sequence[Key], levels: Float[Tensor, " Q"]
    ) -> tuple[Bool[Tensor, "Q L"], Int[Tensor, "Q L"]]:
        """k of the n tokens of every block, and k at each position."""
        blocks, rng = self.blocks, self.queries.noise(keys, levels, rows)
        u = rng.scattered(blocks.num).cpu() if blocks.num > 1 else levels[:, None]
        k = 1 + (u * (blocks.size[rows] - 1).clamp_min(0)).long()
        k = k.minimum(blocks.size[rows] - 1).clamp_min(0)[:, blocks.of]
        rank = blocks.rank(rows, rng.uniform(len(blocks.of)).cpu())
        return blocks.target[rows] & (rank < k), k


def mask_counts(queries: Queries, limits: Limits) -> Estimate:
    """Eq. (1) by strata, with Eq. (2)."""
    counts = MaskCounts(queries)
    mean, se, rounds = integrate(queries, counts, counts.random_rows, limits)
    how = f"all masks once, then {rounds} rounds of 16 mask counts in 8 strata, nats less those expected"
    return Estimate(counts.fixed + mean, se, counts.blocks.kind, how)
