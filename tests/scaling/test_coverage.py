"""95 % intervals hold the truth in 95 % of studies, and are no wider than they need be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from scipy.stats import binom

from isodiff.scaling import Point, fit_isoflop

TRUTH = {"N": 0.55, "D": 0.45, "L": -0.06, "multiplier": 20.0}
TRIALS = 200


class Trials(NamedTuple):
    hits: dict[str, int]
    width: dict[str, float]
    spread: dict[str, float]


def run(planted: Callable[..., list[Point]], **study: float) -> Trials:
    """Hits, median interval width, and standard deviation of the estimates over the trials."""
    found: dict[str, list[tuple[float, float, float]]] = {key: [] for key in TRUTH}
    for trial in range(TRIALS):
        points = planted(rng=np.random.default_rng([11, trial]), **study)
        fit = fit_isoflop(points, bootstrap=200, seed=trial)
        family = fit.families["masked"]
        estimates = {
            "N": family.estimate(family.parameters.exponent),
            "D": family.estimate(family.tokens.exponent),
            "L": family.estimate(family.loss.exponent),
            "multiplier": fit.multiplier("masked"),
        }
        for key, estimate in estimates.items():
            assert estimate.value is not None
            assert estimate.low is not None and estimate.high is not None
            found[key].append((estimate.value, estimate.low, estimate.high))
    return Trials(
        {k: sum(low <= TRUTH[k] <= high for _, low, high in v) for k, v in found.items()},
        {k: float(np.median([high - low for _, low, high in v])) for k, v in found.items()},
        {k: float(np.std([value for value, _, _ in v])) for k, v in found.items()},
    )


@pytest.mark.parametrize(
    "study",
    [
        {"sizes": 5, "noise": 0.006},
        {"sizes": 4, "noise": 0.006, "off_center": 0.3},
    ],
    ids=["five sizes", "four sizes off center"],
)
def test_intervals_cover_the_noise_of_runs(
    planted: Callable[..., list[Point]], study: dict[str, float]
) -> None:
    trials = run(planted, **study)
    fewest = binom.ppf(1e-3, TRIALS, 0.95)
    for key, hits in trials.hits.items():
        assert hits >= fewest, (key, hits)
        # An interval of 3.92 standard deviations would do if the noise were known.
        assert trials.width[key] < 2 * 3.92 * trials.spread[key], key


def test_intervals_cover_scatter_between_budgets(planted: Callable[..., list[Point]]) -> None:
    """Five budgets tell little of such scatter: the intervals cover 92 % at the least."""
    trials = run(planted, sizes=6, noise=0.004, between=0.04)
    fewest = binom.ppf(1e-3, TRIALS, 0.92)
    for key, hits in trials.hits.items():
        assert hits >= fewest, (key, hits)
