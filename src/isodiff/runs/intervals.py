"""Intervals of a share of successes: Wilson's, which holds near 0 and 1 and with few trials.

All p that a test at the given confidence would not reject, (k/n - p)^2 <= z^2 p (1 - p) / n, are

    (k + z^2/2 +- z sqrt(k (n - k) / n + z^2/4)) / (n + z^2)                                        (1)

(Wilson, 1927; recommended over k/n +- z standard errors, which covers too little and ends outside [0, 1], by
Newcombe, Statistics in Medicine 17, 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from isodiff.errors import InputError


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper end, Eq. (1).

    Raises:
        InputError: no trials, more successes than trials, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"{successes} successes of {trials} trials have no interval")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie in (0, 1), got {confidence}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    middle = successes + z**2 / 2
    half = z * math.sqrt(successes * (trials - successes) / trials + z**2 / 4)
    # Without a failure or without a success one end is 1 or 0, but for rounding.
    low = 0.0 if successes == 0 else (middle - half) / (trials + z**2)
    high = 1.0 if successes == trials else (middle + half) / (trials + z**2)
    return low, high


@dataclass(frozen=True, slots=True)
class Share:
    """So many successes of so many trials."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        """Of them all."""
        return self.successes / self.trials

    def to_json(self) -> dict[str, Any]:
        """`{"successes", "trials", "value", "low", "high"}`, the interval at 95 %."""
        low, high = wilson(self.successes, self.trials)
        counts = {"successes": self.successes, "trials": self.trials}
        return {**counts, "value": self.value, "low": low, "high": high}

    def __str__(self) -> str:
        low, high = wilson(self.successes, self.trials)
        return f"{self.value:.1%} [{low:.1%}, {high:.1%}] ({self.successes} of {self.trials})"
