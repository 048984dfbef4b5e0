"""Any family: its own bound, at places that cover [0, 1).

A family's `nelbo` is the integrand of its bound with the singular ends gone by a change of variables
(process/counts.py, process/gaussian.py). Its place in [0, 1) is stratified, and where it scatters is learned.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from isodiff.evaluate.estimators.queries import Found, Inquiry, Jobs, Limits
from isodiff.evaluate.estimators.stratified import KNOTS, integrate
from isodiff.rng import Key


class Bound:
    """The integrand of the family's bound."""

    def __init__(self, inquiry: Inquiry) -> None:
        self.inquiry = inquiry

    def knots(self) -> Float[Tensor, "B K1"]:
        """Nothing is known beforehand."""
        even = torch.linspace(0, 1, KNOTS + 1, dtype=torch.float64)
        return even.expand(len(self.inquiry.x), -1)

    def draw(self, rows: Jobs, keys: list[Key], places: Float[Tensor, " J"]) -> Tensor:
        """The family's own answer."""
        return self.inquiry.nelbo(rows, keys, places)


def places(inquiry: Inquiry, limits: Limits) -> Found:
    """The bound by strata of its place."""
    everyone = torch.arange(len(inquiry.x))
    mean, se, rounds = integrate(inquiry, Bound(inquiry), everyone, limits)
    how = f"{rounds} rounds of 16 noise levels in 8 strata"
    return Found(mean, se, inquiry.family.kind, how)


def exact(inquiry: Inquiry, limits: Limits) -> Found:
    """One pass."""
    everyone = torch.arange(len(inquiry.x))
    nats = inquiry.nelbo(everyone, inquiry.keys, torch.zeros(len(everyone)).double())
    return Found(nats, torch.zeros_like(nats), "exact", "one pass")
