"""Huber's loss: its slopes, and what a difference of objectives means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom, chi2
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.scaling.fitting.huber import DELTA, aicc, rho, slopes_of_rho, temperature
from isodiff.scaling.fitting.newton import design, minimize

Draw = Callable[..., np.ndarray]


def draws(law: str, rng: np.random.Generator) -> Draw:
    return {
        "normal": rng.standard_normal,
        "laplace": rng.laplace,
        "t3": lambda size: rng.standard_t(3, size),
    }[law]


def test_rho_is_smooth_and_its_slopes_are_its_own() -> None:
    r = np.array([-0.02, -DELTA, -3e-4, 0.0, 2e-4, 0.999999e-3, 1.000001e-3, 0.5])
    first, second, soft = slopes_of_rho(r, np.full(8, 2.0))
    step = 1e-9
    assert first == pytest.approx(2 * (rho(r + step) - rho(r - step)) / (2 * step), rel=1e-5)
    assert second.tolist() == [0, 2, 2, 2, 2, 2, 0, 0]
    # the majorant touches rho and lies above it
    for at, bend, slope in zip(r, soft / 2, first / 2, strict=True):
        to = np.linspace(-1, 1, 2001) * 0.5
        above = rho(np.array(at)) + slope * (to - at) + 0.5 * bend * (to - at) ** 2
        assert (above >= rho(to) - 1e-15).all()


def test_temperature_is_the_variance_or_the_density_at_zero() -> None:
    rng = np.random.default_rng(0)
    small = 1e-5 * rng.standard_normal(20_000)
    assert temperature(small, 5) == pytest.approx(1e-10, rel=0.03)
    wide = 0.1 * rng.laplace(size=20_000)  # density at zero: 1 / 0.2
    assert temperature(wide, 5) == pytest.approx(
        DELTA * 0.1, rel=0.15
    )  # smoothed: a little low at the peak
    wide = 0.1 * rng.standard_normal(20_000)
    assert temperature(wide, 5) == pytest.approx(DELTA * 0.1 * np.sqrt(np.pi / 2), rel=0.05)
    assert temperature(small[:10], 5) == pytest.approx(2 * temperature(small[:10], 0))


@pytest.mark.parametrize("law", ["normal", "laplace", "t3"])
@pytest.mark.parametrize("scale", [3e-3, 3e-4])
def test_the_likelihood_ratio_is_chi_squared(law: str, scale: float) -> None:
    """Whatever the law of the noise: holding true values is rejected in about 5 % of studies."""
    trials = 300
    points = planted_surface()
    x, y = (np.log([getattr(p, q) for p in points]) for q in ("parameters", "tokens"))
    made = design(x, y)
    true = made.from_families([np.array([np.log(A), ALPHA, np.log(B), BETA, np.log(E)])])
    noise = scale * draws(law, np.random.default_rng(0))(size=(trials, len(points)))
    log_nats = np.log([p.nats for p in points]) + noise
    start = np.repeat(true[None], trials, axis=0)
    free = minimize(made.terms, start, log_nats)
    residuals = log_nats - made.terms.log_nats(free.theta)[0]
    scales = np.array([temperature(r, 5) for r in residuals])
    for held in ((1,), (4,), (1, 3)):
        fixed = np.isin(np.arange(5), held)
        bound = minimize(made.terms, start, log_nats, fixed=fixed)
        ratio = 2 * (bound.objective - free.objective) / scales
        kept = (ratio < chi2.ppf(0.95, len(held))).sum()
        assert binom.ppf(1e-3, trials, 0.93) <= kept <= binom.ppf(1 - 1e-3, trials, 0.97)


def test_aicc_has_the_small_sample_term() -> None:
    assert aicc(1e-3, 1e-5, 30, 5) == pytest.approx(200 + 10 * 30 / 24)
    assert aicc(1e-3, 1e-5, 6, 5) == float("inf")
