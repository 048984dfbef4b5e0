"""Replicates carry the noise that the residuals show, and no more certainty than they have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, chi2, t

from isodiff.scaling import Point
from isodiff.scaling.fitting.bootstrap import (
    Excess,
    excess_scatter,
    interval,
    replicates,
    scatter,
)
from isodiff.scaling.fitting.parabola import Curve, curves
from isodiff.scaling.fitting.power_law import straight


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


def test_replicates_hold_the_error_that_all_runs_have_in_common() -> None:
    """.03 nats on every run of the family at once; the residuals show nothing of it."""
    points = [
        replace(p, noise_error=0.03)
        for curve in noisy_curves((5, 5), noise=0.001)
        for p in curve.points
    ]
    all_curves = curves(points)
    losses = replicates(all_curves, all_curves, 4000, np.random.default_rng(1))
    assert losses is not None
    means = np.stack([nats[1:].mean(axis=1) for nats in losses])
    assert means.std(axis=1) == pytest.approx([0.03, 0.03], rel=0.05)
    assert (means[0] - means[1]).std() < 0.003


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
    assert excess.p_value == pytest.approx(float(chi2.sf(size**2, 3)), abs=0.01)
    nothing = (excess.noise == 0).all(axis=1).mean()
    wanted = float(chi2.sf(size**2, 3))
    assert nothing == pytest.approx(wanted, abs=5 * (wanted / num) ** 0.5)
    rng = np.random.default_rng(6)
    tau = np.sqrt(np.maximum(0, size**2 / rng.chisquare(3, 200_000) - 1))
    median = np.median(tau * np.abs(rng.standard_normal(200_000)))
    # five draws share a tau, so the median of the noise is good to about 2 %
    assert np.median(np.abs(excess.noise)) == pytest.approx(median, rel=0.08)
    walks = rng.standard_normal((200_000, 5)).cumsum(axis=1)
    through = np.vander(log_c, 2)
    off = walks - walks @ (through @ np.linalg.pinv(through))
    ratio = (3 / (off**2).sum(axis=1).mean()) ** 0.5  # scales of equal scatter about a line
    taken = (excess.walk > 0) & (excess.tau > 0)
    assert excess.walk[taken] / excess.tau[taken] == pytest.approx(ratio, rel=0.02)


LOG_C = np.arange(9.0)
BEND, ZIGZAG = -((LOG_C - 4) ** 2), (-1) ** LOG_C


def excess_of(off: np.ndarray, num: int = 2000) -> Excess:
    """Of minima off y = 3 x + 7 by `off`, with little noise within."""
    log_c = np.arange(float(len(off)))
    y = 3 * log_c + 7 + off
    rows = np.vstack([y, y + 0.1 * np.random.default_rng(4).standard_normal((num, len(y)))])
    return excess_scatter(log_c, rows, np.full(len(y), 0.01), 1, np.random.default_rng(0))


def test_minima_that_bend_away_are_taken_for_a_walk() -> None:
    assert (excess_of(BEND).walk > 0).mean() > 0.7
    assert (excess_of(ZIGZAG).walk > 0).mean() < 0.3


def test_a_new_minimum_is_off_the_line_as_those_before_or_walks_on() -> None:
    """A walk's variance beyond the line through equally weighted points, by hand from its steps."""
    excess, rng = excess_of(BEND), np.random.default_rng(1)
    walks = excess.walk[:, 0] > 0
    for new in (8.25, 12.0):
        off = excess.off_line(LOG_C, new, rng)
        hat = np.array([new, 1]) @ np.linalg.pinv(np.vander(LOG_C, 2))
        carried = np.array([1 - hat[i:].sum() for i in range(1, 9)])
        wanted = ((carried**2).sum() + new - 8) ** 0.5
        assert (off[walks] / excess.walk[walks, 0]).std() == pytest.approx(wanted, rel=0.1)
        assert (off[~walks] / excess.tau[~walks, 0]).std() == pytest.approx(1, rel=0.15)
    assert not excess_of(np.zeros(9)).off_line(LOG_C, 9.0, rng).any()


@pytest.mark.parametrize(("kind", "least"), [("quiet", 0.9), ("own", 0.9), ("walk", 0.88)])
def test_predictions_of_a_new_minimum_hold_it(kind: str, least: float) -> None:
    """Nine budgets and the next, which is off the law as they are."""
    rng, x, noise, held = np.random.default_rng(1), np.arange(10.0), 0.03, 0
    for _ in range(200):
        off = 0.1 * rng.standard_normal(10) * (kind != "quiet")
        off = off.cumsum() if kind == "walk" else off
        y = 0.5 * x + off + noise * rng.standard_normal(10)
        rows = np.vstack([y[:-1], y[:-1] + noise * rng.standard_normal((200, 9))])
        excess = excess_scatter(x[:-1], rows, np.full(9, noise**2), 1, rng)
        rows[1:] += excess.noise
        law = straight(np.tile(x[:-1], (201, 1)), rows, np.ones(rows.shape, bool), excess.weight)
        foretold = law.log_k + law.exponent * x[-1]
        foretold[1:] += noise * rng.standard_normal(200) + excess.off_line(x[:-1], x[-1], rng)
        low, high = interval(foretold[1:]) or (0, 0)
        held += low <= y[-1] <= high
    assert held / 200 > least


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
