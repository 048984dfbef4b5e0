"""Noise schedules: alpha(t), the probability that a token is still clean at time t.

t = 0 is clean, t = 1 is noise; alpha falls. Bounds depend on a schedule only through its ends
(arXiv 2107.00630, Section 5.1; 2406.07524, Section 3.4); samplers depend on its shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from isodiff.types import Time


class Schedule(ABC):
    """alpha(t) on [0, 1], with alpha(0) = 1."""

    @abstractmethod
    def alpha(self, t: Time) -> Time:
        """Probability that a token is still clean."""


@dataclass(frozen=True, slots=True)
class Linear(Schedule):
    """alpha_t = 1 - (1 - end) t. Published code calls it log-linear and stops at end = 0.001."""

    end: float = 0.0

    def alpha(self, t: Time) -> Time:
        """1 - (1 - end) t."""
        return 1 - (1 - self.end) * t
