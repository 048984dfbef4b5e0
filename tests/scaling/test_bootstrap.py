"""Replicates carry the noise that the residuals show, and no more certainty than they have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2, t

from isodiff.scaling import Point
from isodiff.scaling.fitting.bootstrap import excess_scatter, interval, replicates, scatter
from isodiff.scaling.fitting.parabola import Curve, curves


def noisy_curves(sizes: tuple[int, ...], noise: float = 0.01, seed: int = 0) -> tuple[Curve, ...]:
    rng = np.random.default_rng(seed)
    points = []
    for budget, count in enumerate(sizes, start=1):
        for x in np.linspace(-1, 1, count):
            nats = 3 + 0.1 * x * x + noise * rng.standard_normal()
            points.append(Point("x", budget, budget, float(np.exp(x)), 1.0, nats))
    return curves(points)


def test_scatter_pools_residuals_over_curves() -> None:
    all_curves = noisy_curves((6, 5, 3))
    total, count = 0.0, 0
    for curve in all_curves[:2]:
        fitted = np.polyval(np.polyfit(curve.log_n, curve.nats, 2), curve.log_n)
        total += ((curve.nats - fitted) ** 2).sum()
        count += len(curve.points) - 3
    noise = scatter(all_curves)
    assert noise.degrees_of_freedom == count == 5
    assert noise.nats == pytest.approx((total / count) ** 0.5)
    assert scatter(all_curves[2:]).nats is None


def test_replicates_are_the_parabola_plus_students_t_noise() -> None:
    all_curves = noisy_curves((5, 5))
    num = 20_000
    losses = replicates(all_curves, all_curves, num, np.random.default_rng(1))
    assert losses is not None
    noise = scatter(all_curves)
    assert noise.nats is not None
    for curve, nats in zip(all_curves, losses, strict=True):
        assert (nats[0] == curve.nats).all()
        pivots = (nats[1:] - curve.parabola(curve.log_n)) / noise.nats
        for level in (0.025, 0.5, 0.975):
            below = (pivots < t.ppf(level, noise.degrees_of_freedom)).sum(axis=0)
            low, high = binom.ppf([1e-5, 1 - 1e-5], num, level)
            assert ((low <= below) & (below <= high)).all()


def test_an_interval_ignores_lost_replicates_until_too_few_are_left() -> None:
    samples = np.concatenate([np.arange(1001.0), [np.nan, np.inf]])
    assert interval(samples) == pytest.approx((25, 975))
    assert interval(np.concatenate([np.zeros(19), np.full(1000, np.nan)])) is None


def line_with_scatter(size: float, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Minima off their line by `size` in a fixed pattern; replicates with unit noise."""
    log_c = np.arange(5.0)
    off = np.array([1.0, -1, 0, -1, 1])  # orthogonal neither to the line nor of unit length
    design = np.vander(log_c, 2)
    off -= design @ np.linalg.lstsq(design, off, rcond=None)[0]
    measured = 3 * log_c + 7 + size * off / np.linalg.norm(off)
    noise = np.random.default_rng(4).standard_normal((num, 5))
    return log_c, np.vstack([measured, measured + noise])


def test_scatter_within_noise_adds_nothing() -> None:
    log_c, y = line_with_scatter(1.0, 4000)
    excess = excess_scatter(log_c, y, np.ones(5), 1, np.random.default_rng(0))
    assert excess.p_value == pytest.approx(chi2.sf(1.0, 3), abs=4 * (0.25 / 4000) ** 0.5)
    assert not excess.noise.any()


def test_excess_scatter_is_what_exceeds_the_noise() -> None:
    """tau = 0 in the share of draws with size^2 / chi^2_3 below the noise's variance, 1."""
    num, size = 4000, 3.2
    log_c, y = line_with_scatter(size, num)
    excess = excess_scatter(log_c, y, np.ones(5), 1, np.random.default_rng(0))
    assert excess.p_value == pytest.approx(chi2.sf(size**2, 3), abs=0.01)
    nothing = (excess.noise == 0).all(axis=1).mean()
    wanted = chi2.sf(size**2, 3)
    assert nothing == pytest.approx(wanted, abs=5 * (wanted / num) ** 0.5)
    rng = np.random.default_rng(6)
    tau = np.sqrt(np.maximum(0, size**2 / rng.chisquare(3, 200_000) - 1))
    median = np.median(tau * np.abs(rng.standard_normal(200_000)))
    # five draws share a tau, so the median of the noise is good to about 2 %
    assert np.median(np.abs(excess.noise)) == pytest.approx(median, rel=0.08)


def test_weights_hold_the_noise_within_and_between() -> None:
    """Without excess those of the noise alone; far beyond it all alike; tau^2 by hand for equal variances."""
    log_c, y = line_with_scatter(0.0, 100)
    variance = np.array([1.0, 2, 3, 4, 5])
    quiet = excess_scatter(log_c, y, variance, 1, np.random.default_rng(0))
    assert quiet.weight == pytest.approx(1 / variance)
    loud = excess_scatter(
        log_c, line_with_scatter(1e3, 100)[1], variance, 1, np.random.default_rng(0)
    )
    assert loud.weight / loud.weight[0] == pytest.approx(np.ones(5), rel=1e-3)
    alike = excess_scatter(
        log_c, line_with_scatter(3.2, 100)[1], np.ones(5), 1, np.random.default_rng(0)
    )
    assert alike.weight == pytest.approx(1 / (1 + (3.2**2 - 3) / 3))


def test_two_budgets_cannot_tell_scatter() -> None:
    log_c, y = line_with_scatter(9.0, 100)
    excess = excess_scatter(log_c[:2], y[:, :2], np.ones(2), 1, np.random.default_rng(0))
    assert excess.p_value is None and not excess.noise.any()
