"""Intervals of a share of successes: Wilson's, which holds near 0 and 1 and with few trials.

All p that a test at the given confidence would not reject, (k/n - p)^2 <= z^2 p (1 - p) / n (Wilson, 1927).
Recommended over k/n +- z standard errors, which covers too little and ends outside [0, 1], by Newcombe,
Statistics in Medicine 17, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

from isodiff.errors import InputError


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper end.

    Raises:
        InputError: no trials, more successes than trials, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= trials or trials < 1:
        raise InputError(f"{successes} successes of {trials} trials have no interval")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie in (0, 1), got {confidence}")
    from scipy.stats import binomtest  # a second to import, which training need not wait for

    low, high = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True, slots=True)
class SuccessRate:
    """So many successes of so many trials, with the interval at 95 %."""

    successes: int
    trials: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, trials: int) -> SuccessRate:
        """The share and its interval.

        Raises:
            InputError: no trials.
        """
        low, high = wilson(successes, trials)
        value = successes / trials
        return cls(successes=successes, trials=trials, value=value, low=low, high=high)

    @property
    def interval(self) -> tuple[float, float]:
        """At 95 %."""
        return self.low, self.high

    def __str__(self) -> str:
        counts = f"({self.successes} of {self.trials})"
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}] {counts}"
