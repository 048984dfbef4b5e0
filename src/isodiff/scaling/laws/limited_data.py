"""The best network under a compute budget when the text is limited: how large, how many epochs.

    min over N of E + A/N'^alpha + B/D'^beta,  D = C / c(N),  N' and D' of D tokens from a text of U   (1)

and the compute from which one family is better than another on the same text: where these are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.power_law import GOLDEN, Array, exp
from isodiff.scaling.laws.effective_data import Form, Repeats, Saturating
from isodiff.scaling.laws.law import Forecast
from isodiff.scaling.laws.loss_surface import Allocation, Surface
from isodiff.scaling.laws.token_flops import Cost

_LATTICE = 161
"""Sizes among which the lowest loss is looked for before it is refined."""
SMALLEST, LARGEST = np.log(1e3), np.log(1e14)


@dataclass(frozen=True)
class Limited:
    """A surface, the worth of repetitions [replicates, q] and a cost."""

    surface: Surface
    form: Form
    shape: Array
    cost: Cost

    def nats(self, log_n: Array, log_c: float, log_unique: float) -> Array:
        """Loss at ln N [replicates, sizes] when all of C is spent on a text of U tokens."""
        log_d = log_c - self.cost.log(log_n)
        log_new = np.minimum(log_unique, log_d)
        at = Repeats.of(log_n, log_d, log_new, self.surface.size_for(log_new))
        worth = self.form.effective(self.shape, at)
        return self.surface.nats(worth.log_n, worth.log_d)

    def optimum(self, log_c: float, log_unique: float) -> Allocation:
        """Eq. (1) for every replicate: [replicates, 1]. A lattice first, then golden section."""
        rows = len(self.surface.alpha)
        lattice = np.linspace(SMALLEST, LARGEST, _LATTICE)
        losses = self.nats(np.tile(lattice, (rows, 1)), log_c, log_unique)
        best = np.nan_to_num(losses, nan=np.inf).argmin(axis=1)
        low = lattice[np.maximum(best - 1, 0)][:, None]
        high = lattice[np.minimum(best + 1, _LATTICE - 1)][:, None]
        for _ in range(40):  # the bracket shrinks by 0.618^40 < 1e-8
            left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            go_left = self.nats(left, log_c, log_unique) <= self.nats(right, log_c, log_unique)
            low, high = np.where(go_left, low, left), np.where(go_left, right, high)
        log_n = (low + high) / 2
        return Allocation(log_n, log_c - self.cost.log(log_n), self.nats(log_n, log_c, log_unique))


def crossover(
    family: Limited, reference: Limited, log_unique: float, within: tuple[float, float]
) -> float | None:
    """Least ln C within a range from which `family` is better on a text of U tokens; None where never.

    Only the first replicate of each is looked at.
    """

    def ahead(log_c: float) -> bool:
        ours, theirs = (
            float(one.optimum(log_c, log_unique).nats[0, 0]) for one in (family, reference)
        )
        return ours < theirs

    lattice = np.linspace(*within, 31)
    first = next((i for i, log_c in enumerate(lattice) if ahead(float(log_c))), None)
    if first is None:
        return None
    if first == 0:
        return float(lattice[0])
    low, high = float(lattice[first - 1]), float(lattice[first])
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if ahead(middle) else (middle, high)
    return high


def forecast(
    surface: Surface,
    shape: Array,
    cost: Cost,
    budget: float,
    unique_tokens: float | None,
    repetition: str,
) -> Forecast:
    """The optimum at a budget: of fresh text, or of a text that repeats, by constants ln R_D and ln R_N."""
    log_c = float(np.log(budget))
    found, how = surface.optimum(np.array([log_c]), cost), None
    if unique_tokens is not None and float(np.exp(found.log_d[0, 0])) > unique_tokens:
        limited = Limited(surface, Saturating(), shape, cost)
        found, how = limited.optimum(log_c, float(np.log(unique_tokens))), repetition
    return Forecast(exp(found.log_n[:, 0]), exp(found.log_d[:, 0]), found.nats[:, 0], how)
