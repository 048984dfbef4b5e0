"""What a verdict between families is about: one number q, in every replicate of their parametric laws.

`lead`: how far the first family is ahead of the one that may overtake it, nats at the target budget.
`multiplier`: ln of the compute that the best other family needs over what autoregressive needs for its loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.isoflop import REFERENCE
from isodiff.scaling.laws.parametric import FamilyFit
from isodiff.scaling.planning.candidate_runs import ratios

Verdict = Literal["lead", "multiplier"]
FARTHEST = 25.0
"""ln of the largest multiplier that is looked for."""
GRID = 64
"""Sizes among which the best is sought."""


@dataclass(frozen=True, slots=True)
class Question:
    """q of a verdict: [1 + replicates], row 0 as fitted, and the families it compares."""

    verdict: Verdict
    first: str
    second: str
    samples: Array

    @property
    def error(self) -> float:
        """Its standard error over the replicates that have it."""
        return float(np.nanstd(self.samples[1:], ddof=1))


def question(fits: Mapping[str, FamilyFit], verdict: Verdict, target: float) -> Question:
    """What the verdict is about: the leader and its likeliest rival, or the best family and the reference."""
    log_c = np.log([target])
    best = {name: best_nats(fit, log_c) for name, fit in fits.items()}
    ranking = sorted(best, key=lambda name: best[name][0])
    if verdict == "lead":
        leads = [
            Question("lead", ranking[0], name, best[name] - best[ranking[0]])
            for name in ranking[1:]
        ]
        return min(leads, key=lambda one: one.samples[0] / max(one.error, 1e-300))
    if REFERENCE not in fits:
        raise InputError(f"no law of {REFERENCE} to compare with; --verdict lead needs none")
    first = next(name for name in ranking if name != REFERENCE)
    needed = log_compute(fits[REFERENCE], best[first], target)
    return Question("multiplier", first, REFERENCE, log_c[0] - needed)


def best_nats(fit: FamilyFit, log_c: Array) -> Array:
    """Lowest loss at ln C [1 or 1 + replicates] of each replicate, among the sizes that candidates may have.

    Not at the law's own optimum: where few runs leave that to chance, it lies at sizes nobody would train.
    """
    log_r = np.linspace(*ratios(fit.runs), GRID)
    x = np.linspace(fit.runs.log_n.min() - FARTHEST, fit.runs.log_n.max() + FARTHEST, 100 * GRID)
    log_nd = x + fit.runs.cost.log(x)  # C = c(N) D = N c(N) r
    real = np.isfinite(log_nd)
    log_n = np.interp(log_c[:, None] - log_r, log_nd[real], x[real])
    return fit.surface.nats(log_n, log_n + log_r).min(axis=1)


def log_compute(fit: FamilyFit, nats: Array, target: float) -> Array:
    """ln C at which each replicate reaches its row of `nats`; NaN where it never does."""
    low, high = (np.full(len(nats), np.log(target) + side) for side in (-FARTHEST, FARTHEST))
    reached = best_nats(fit, high) <= nats
    for _ in range(60):
        middle = (low + high) / 2
        short = best_nats(fit, middle) > nats
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(reached, (low + high) / 2, np.nan)
