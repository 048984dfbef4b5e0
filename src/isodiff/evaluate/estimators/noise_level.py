"""Any family: its own bound, at noise levels that cover [0, 1).

A family's `nelbo` is the integrand of its bound, with the singular ends gone by a change of variables
(process/counts.py, process/gaussian.py). Its noise level in [0, 1) is stratified, and where the integrand
scatters is learned.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries, TextRows
from isodiff.evaluate.estimators.stratified import KNOTS, integrate
from isodiff.families.base import kind_and_law
from isodiff.rng import Key


class _Bound:
    def __init__(self, queries: Queries) -> None:
        self.queries = queries

    def knots(self) -> Float[Tensor, "B K1"]:
        """Evenly: nothing is known beforehand."""
        even = torch.linspace(0, 1, KNOTS + 1, dtype=torch.float64)
        return even.expand(len(self.queries.x), -1)

    def draw(self, rows: TextRows, keys: list[Key], levels: Float[Tensor, " Q"]) -> Tensor:
        """The family's own answer."""
        return self.queries.nelbo(rows, keys, levels)


def noise_level(queries: Queries, limits: Limits) -> Estimate:
    """The bound by stratified noise levels."""
    mean, se, rounds = integrate(queries, _Bound(queries), queries.all_rows, limits)
    how = f"{rounds} rounds of 16 noise levels in 8 strata"
    if queries.family.law:
        how = f"{kind_and_law(queries.family)}: {how}"
    return Estimate(mean, se, queries.family.kind, how)


def one_pass(queries: Queries, limits: Limits) -> Estimate:
    """The likelihood of a family that has an exact one."""
    rows = queries.all_rows
    return Estimate.exact(
        queries.nelbo(rows, queries.keys, torch.zeros(len(rows)).double()), "one pass"
    )
