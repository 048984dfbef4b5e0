r"""Integrals over [0, 1) with error bars one can trust: pairs of draws, in strata that learn.

    int_0^1 f(u) du,   f(u) = E[ value drawn at u ]

A *round* cuts [0, 1) into S strata and draws two u in each, noise levels for our integrands:

    T = sum_s w_s (a_s + b_s) / 2,     v = sum_s w_s^2 (a_s - b_s)^2 / 4,                          (1)

w_s the width of a stratum. Given the cuts, T is unbiased, and so is v for its variance. The first round is
cut so that each stratum is expected to add equally to the spread (Neyman, 1934); later rounds by what earlier
ones found there. As neither the cuts nor anything else in a round depends on its own draws, what rounds are
off by is uncorrelated:

    estimate = sum_r T_r / R,     squared standard error = sum_r v_r / R^2,                        (2)

both unbiased whatever has been learned. (Weights by precision would not be, nor one mean over unequally many
draws of a stratum: high values come with high spread.) A larger budget adds rounds to the same first ones.
With `target_se` the number of rounds depends on the draws, a bias of second order; there are at least two.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.evaluate.estimators.queries import Limits, Queries, TextRows
from isodiff.rng import Key

_STRATA = 8
KNOTS = 64
_USUAL = 4  # rounds
_PRIOR = 4.0  # pairs per bin that the expected spread counts as

_Cuts = Float[Tensor, "A S1"]


class Integrand(Protocol):
    """Something that can be drawn at a noise level."""

    def knots(self) -> Float[Tensor, "B K1"]:
        """Quantiles of u at i / KNOTS: equal steps are expected to add equally to the spread."""
        ...

    def draw(
        self, rows: TextRows, keys: list[Key], levels: Float[Tensor, " Q"]
    ) -> Float[Tensor, " Q"]:
        """Values at the noise levels; what it learns from them, it may use from the next call on."""
        ...


def integrate(
    queries: Queries, integrand: Integrand, rows: Int[Tensor, " A"], limits: Limits
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], int]:
    """The integral for each of `rows` (0 for others), its standard error, and the most rounds a row took."""
    num = len(queries.x)
    mean, variance, rounds = (torch.zeros(num, dtype=torch.float64) for _ in range(3))
    knots, spread = integrand.knots(), _Spread(num)
    while len(rows):
        number = int(rounds[rows[0]])
        before = queries.cost[rows]
        along = spread.cuts(rows)
        cuts = _interpolated(knots[rows], along)
        width = cuts.diff(dim=-1)
        u = torch.stack([queries.uniform(int(r), number, num=2 * _STRATA) for r in rows])
        levels = cuts[:, :-1, None] + width[..., None] * u.view(-1, _STRATA, 2)
        keys = [(*queries.keys[int(r)], number, j) for r in rows for j in range(2 * _STRATA)]
        repeated = rows.repeat_interleave(2 * _STRATA)
        values = integrand.draw(repeated, keys, levels.flatten()).view(levels.shape)
        half = width * values.diff(dim=-1).squeeze(-1) / 2
        mean[rows] += (width * values.mean(-1)).sum(-1)
        variance[rows] += half.square().sum(-1)
        rounds[rows] += 1
        spread.learn(rows, along, half)
        cost = queries.cost[rows]
        if number == 0:
            limits.check(float(cost.max()))
        se = variance[rows].sqrt() / rounds[rows]
        rows = rows[limits.go_on(se, cost, cost - before, number + 1, usual=_USUAL)]
    taken = rounds.clamp_min(1)
    return mean / taken, variance.sqrt() / taken, int(rounds.max())


class _Spread:
    """Where the values of each text scatter, relative to what was expected: a bin for each first stratum."""

    def __init__(self, num: int) -> None:
        self.total = torch.zeros(num, _STRATA, dtype=torch.float64)
        self.pairs = torch.zeros(num, _STRATA, dtype=torch.float64)

    def cuts(self, rows: Int[Tensor, " A"]) -> _Cuts:
        """Cuts of [0, 1], in steps along the knots, between which the spread is equal."""
        total, pairs = self.total[rows], self.pairs[rows]
        usual = total.sum(-1, keepdim=True) / pairs.sum(-1, keepdim=True).clamp_min(1)
        usual = torch.where(usual > 0, usual, 1)
        density = ((total + _PRIOR * usual) / (pairs + _PRIOR)).sqrt()
        mass = torch.nn.functional.pad(density.cumsum(-1), (1, 0))
        wanted = mass[:, -1:] * torch.linspace(0, 1, _STRATA + 1, dtype=torch.float64)
        bin = (torch.searchsorted(mass, wanted.contiguous(), right=True) - 1).clamp(0, _STRATA - 1)
        part = (wanted - mass.gather(-1, bin)) / density.gather(-1, bin)
        found = (bin + part) / _STRATA
        found[:, 0], found[:, -1] = 0, 1
        return found

    def learn(self, rows: Int[Tensor, " A"], along: _Cuts, half: Float[Tensor, "A S"]) -> None:
        """Half the weighted difference of each pair, shared among the bins that its stratum covers."""
        low, high = along[:, :-1, None] * _STRATA, along[:, 1:, None] * _STRATA
        edge = torch.arange(_STRATA, dtype=torch.float64)
        overlap = (torch.minimum(high, edge + 1) - torch.maximum(low, edge)).clamp_min(0)
        local = (half / along.diff(dim=-1)).square()[..., None]  # per unit along the knots
        share = overlap / (high - low)
        self.total[rows] += (share * local).sum(1)
        self.pairs[rows] += share.sum(1)


def _interpolated(knots: Float[Tensor, "A K1"], along: _Cuts) -> _Cuts:
    scaled = along * KNOTS
    left = scaled.floor().long().clamp_max(KNOTS - 1)
    low, high = knots.gather(-1, left), knots.gather(-1, left + 1)
    return low + (high - low) * (scaled - left)
