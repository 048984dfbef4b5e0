"""Planted studies: losses that are parabolas in ln N whose lowest points follow power laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from isodiff.scaling import Point

N_EXPONENT, L_EXPONENT, CURVATURE = 0.55, -0.06, 0.06


def planted_study(
    multipliers: dict[str, float] | None = None,
    *,
    budgets: Sequence[float] = tuple(np.geomspace(1e18, 1e20, 5)),
    sizes: int = 5,
    span: float = 1.2,
    off_center: float = 0.0,
    noise: float = 0.0,
    between: float = 0.0,
    irreducible: float = 0.0,
    standard_error: float | None = None,
    rng: np.random.Generator | None = None,
) -> list[Point]:
    """One run per family, budget and size.

    N* = 1e8 (C/1e19)^0.55, D = C / 6N, L* = E + 3 (C/m/1e19)^-0.06 for a family that needs m times
    the compute. `noise` is a run's, `between` shakes ln N* and ln L* of a whole curve.
    """
    rng = rng or np.random.default_rng(0)
    points = []
    for family, multiplier in (multipliers or {"autoregressive": 1.0, "masked": 20.0}).items():
        for c in budgets:
            center = np.log(1e8) + N_EXPONENT * np.log(c / 1e19)
            best_n = center + 4 * between * rng.standard_normal()
            best_l = irreducible + 3 * (c / multiplier / 1e19) ** L_EXPONENT
            best_l *= np.exp(between * rng.standard_normal() / 10)
            for log_n in center + off_center + np.linspace(-span, span, sizes):
                nats = best_l + CURVATURE * (log_n - best_n) ** 2 + noise * rng.standard_normal()
                n = float(np.exp(log_n))
                points.append(Point(family, c, c, n, c / 6 / n, float(nats), standard_error))
    return points


@pytest.fixture(scope="session")
def planted() -> Callable[..., list[Point]]:
    return planted_study
