"""Ends of a profile lie where its likelihood ratio passes what is allowed, however coarse its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from isodiff.scaling.fitting.huber import temperature
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.fitting.profile_likelihood import profile

X = np.linspace(-1, 1, 200)


class Line:
    """ln L = a + b x by least squares: every likelihood ratio is a parabola."""

    delta = float("inf")

    def log_nats(self, theta: Array) -> tuple[Array, Any]:
        return theta[:, :1] + theta[:, 1:] * X, None

    def slopes(self, known: Any, residual: Array, weight: Array) -> tuple[Array, Array, Array]:
        design = np.stack([np.ones_like(X), X], axis=1)
        hessian = np.einsum("bn,ni,nj->bij", weight, design, design)
        return (weight * residual) @ design, hessian, np.einsum("bii->bi", hessian)


@pytest.mark.parametrize("spacing", [2.0, 7.0, 20.0])
def test_profile_ends_are_those_of_a_parabola(spacing: float) -> None:
    y = 1 + 0.5 * X + 1e-4 * np.random.default_rng(0).standard_normal(len(X))
    slope, intercept = np.polyfit(X, y, 1)
    residuals = intercept + slope * X - y
    half = (temperature(residuals, 2) * chi2.ppf(0.95, 1) / (X @ X)) ** 0.5
    values = slope + half * spacing * np.linspace(-3, 3, 7)
    found = profile(Line(), np.array([[intercept, slope]]), y, 1, values, log=False)
    ends = np.array([found.low, found.high], float)
    assert ends - slope == pytest.approx([-half, half], rel=1e-4)
