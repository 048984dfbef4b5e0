r"""Random orders: the bound of a sampler that decides one token at a time, in an order of its own.

Where one network evaluation tells -log p(x | o) for an order o that the sampler may take
(`Family.cached_sampler`), a round draws K orders and takes the mean of their likelihoods,

    E [ -log (1/K) sum_k p(x | o_k) ]  >=  -log p(x),                                             (1)

as E_o p(x | o) = p(x) and -log is convex. It falls in K, to -log p(x) (importance weighting, arXiv
1509.00519; Eso-LM's any-order loss, arXiv 2506.01928). Rounds are independent draws of Eq. (1): their mean is
unbiased for the bound with that K, and their scatter is its standard error.
"""

from __future__ import annotations

import math

import torch

from isodiff.errors import InputError
from isodiff.evaluate.estimators.queries import Estimate, Limits, Queries
from isodiff.families.base import kind_and_law

_USUAL = 8  # orders, in 4 rounds at least
_MOST = 4096


def any_order(queries: Queries, limits: Limits, orders: int = 1) -> Estimate:
    """Eq. (1) with so many orders.

    Raises:
        InputError: no order, or a family in which they take more than a network evaluation.
    """
    law = queries.family.cached_sampler
    if law is None:
        raise InputError(
            f"{queries.family.name} as it is has no sampler whose orders take one network evaluation each; "
            "any_order is for the interpolating family of variant B"
        )
    if not 1 <= orders <= _MOST:
        raise InputError(f"any_order takes 1 to {_MOST} orders, got {orders}")
    limits.check(2 * orders)
    rows, rounds = queries.all_rows, torch.zeros(len(queries.x), dtype=torch.float64)
    mean, square, se = (torch.zeros_like(rounds) for _ in range(3))
    while len(rows):
        number, before = int(rounds[rows[0]]), queries.cost[rows]
        keys = [
            (*queries.keys[row], "order", number, k) for row in rows.tolist() for k in range(orders)
        ]
        level = torch.zeros(len(keys), dtype=torch.float64)
        nats = queries.bound(law.nelbo, rows.repeat_interleave(orders), keys, level)
        found = math.log(orders) - (-nats.view(-1, orders)).logsumexp(-1)
        rounds[rows] += 1
        away = found - mean[rows]
        mean[rows] += away / rounds[rows]
        square[rows] += away * (found - mean[rows])
        se[rows] = (square[rows] / rounds[rows] / (rounds[rows] - 1).clamp_min(1)).sqrt()
        cost = queries.cost[rows]
        usual = max(4, _USUAL // orders)
        rows = rows[limits.go_on(se[rows], cost, cost - before, number + 1, usual=usual)]
    weighted = f", {orders} random orders weighted in each" if orders > 1 else " of a random order"
    how = f"{kind_and_law(law)}: {int(rounds.max())} rounds{weighted}"
    return Estimate(mean, se, law.kind, how)
