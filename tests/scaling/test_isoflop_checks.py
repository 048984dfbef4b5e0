"""The IsoFLOP law's own checks: the budget foretold, the parabola's bias, the robust regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from surfaces import TRUTH, planted_surface

from isodiff.scaling import Point, fit_isoflop
from isodiff.scaling.fitting.parabola import curves, huber_coefficients, huber_threshold, winsorized

Planted = Callable[..., list[Point]]


def test_the_largest_budget_is_foretold_by_the_others(planted: Planted) -> None:
    found = fit_isoflop(planted(), bootstrap=0).to_json()["families"]["masked"]["validation"]
    last = 1e20
    assert found["N"]["observed"] == pytest.approx(1e8 * 10**0.55, rel=1e-9)
    for symbol in "NDL":
        assert found[symbol]["predicted"] == pytest.approx(found[symbol]["observed"], rel=1e-6)
        assert found[symbol]["low"] is None
    assert found["rule"] == f"the largest budget, {last:.3g} FLOPs"
    assert found["extrapolation"] == pytest.approx(10**0.5)


def test_a_law_that_breaks_is_found_out(planted: Planted) -> None:
    """The largest budget 3 % worse than the law of the others: outside its interval."""
    points = planted(noise=0.002, sizes=6)
    last = max(p.budget for p in points)
    broken = [replace(p, nats=p.nats * 1.03) if p.budget == last else p for p in points]
    whole, found = (
        fit_isoflop(p, bootstrap=200).to_json()["families"]["masked"]["validation"]["L"]
        for p in (points, broken)
    )
    assert whole["low"] < whole["observed"] < whole["high"]
    assert found["observed"] > found["high"]
    assert found["relative_error"] == pytest.approx(-0.03, abs=0.005)


def test_the_prediction_does_not_see_what_it_foretells(planted: Planted) -> None:
    points = planted(noise=0.004)
    last = max(p.budget for p in points)
    changed = [replace(p, nats=p.nats * 1.5) if p.budget == last else p for p in points]
    first, second = (
        fit_isoflop(p, bootstrap=0).to_json()["families"]["masked"]["validation"]["L"]["predicted"]
        for p in (points, changed)
    )
    assert first == pytest.approx(second, rel=1e-12)


def test_two_budgets_cannot_be_validated(planted: Planted) -> None:
    found = fit_isoflop(planted(budgets=[1e19, 1e20]), bootstrap=0).to_json()
    reason = found["families"]["masked"]["validation"]["reason"]
    assert reason == "2 accepted budgets; 3 are needed to leave one out"


def moved(off: float) -> list[Point]:
    """A planted surface on sizes centered `off` in ln N from the optimum, 1/8 to 8 times the middle."""
    points = planted_surface(sizes=9, span=np.log(8))
    return [
        replace(
            p,
            parameters=n,
            tokens=d,
            nats=TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"],
        )
        for p in points
        for n, d in [(p.parameters * np.exp(off), p.tokens / np.exp(off))]
    ]


@pytest.mark.parametrize(("off", "bias"), [(0.0, -0.01), (np.log(4), 0.08), (-np.log(4), -0.07)])
def test_the_bias_of_parabolas_is_measured(off: float, bias: float) -> None:
    """Without noise: what docs/laws.md says, and equal to N* of the law over the true N*."""
    found = fit_isoflop(moved(off), bootstrap=0).to_json()["families"]["autoregressive"]
    assert {name: found["surface"][name] for name in TRUTH} == pytest.approx(TRUTH, rel=1e-3)
    n = TRUTH["beta"] / (TRUTH["alpha"] + TRUTH["beta"])
    g = (TRUTH["alpha"] * TRUTH["A"] / TRUTH["beta"] / TRUTH["B"]) ** (
        1 / (TRUTH["alpha"] + TRUTH["beta"])
    )
    for row in found["budgets"]:
        assert row["parabola_bias_N"] == pytest.approx(bias, abs=0.012)
        true = g * (row["flops"] / 6) ** n
        assert row["N_opt"] / true - 1 == pytest.approx(row["parabola_bias_N"], abs=1e-3)


def test_the_bias_is_unknown_where_no_surface_fits(planted: Planted) -> None:
    """Planted parabolas in ln N whose optimum moves with C are no surface of that form at two budgets."""
    found = fit_isoflop(planted(budgets=[1e19], sizes=5), bootstrap=0).to_json()
    family = found["families"]["masked"]
    assert family["surface"] is None
    assert [row["parabola_bias_N"] for row in family["budgets"]] == [None]


def test_hubers_regression_is_the_minimum_of_its_sum() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(9), np.linspace(-1, 1, 9), np.linspace(-1, 1, 9) ** 2], axis=1)
    nats = 3 + 0.1 * x[:, 2] + 0.01 * rng.standard_t(2, (4, 9))

    def total(c: np.ndarray, y: np.ndarray) -> float:
        r = np.abs(y - x @ c)
        return float(np.where(r <= 0.008, r * r / 2, 0.008 * (r - 0.004)).sum())

    for c, y in zip(huber_coefficients(x, nats, 0.008), nats, strict=True):
        options = {"xatol": 1e-9, "fatol": 1e-15, "maxiter": 4000}
        best = minimize(total, c + 0.01, args=(y,), method="Nelder-Mead", options=options)
        assert total(c, y) <= best.fun + 1e-9
        assert c == pytest.approx(best.x, abs=1e-4)


def test_variances_of_minima_are_those_of_replicates(planted: Planted) -> None:
    """To first order, off center, where the bend of the parabola matters too."""
    (curve,) = curves(planted({"x": 1.0}, budgets=[1e19], sizes=7, off_center=0.7))
    rng, noise = np.random.default_rng(0), 1e-4
    nats = curve.nats + noise * rng.standard_normal((20_000, 7))
    log_n, lowest, _ = curve.minima(nats)
    found = np.var(log_n) / noise**2, np.var(lowest) / noise**2
    assert found == pytest.approx(curve.variances, rel=0.05)


def test_the_threshold_is_that_of_normal_noise() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([np.ones(9), np.linspace(-1, 1, 9), np.linspace(-1, 1, 9) ** 2], axis=1)
    nats = 3 + 0.02 * rng.standard_normal((200, 9))
    assert huber_threshold([x] * 200, list(nats)) == pytest.approx(1.345 * 0.02, rel=0.12)


def test_cut_residuals_keep_the_variance_of_normal_ones() -> None:
    r = 0.02 * np.random.default_rng(0).standard_normal(200_000)
    assert winsorized(r, 1.345 * 0.02).std() == pytest.approx(0.02, rel=0.01)


def test_a_few_bad_runs_bend_plain_parabolas_but_not_robust_ones(planted: Planted) -> None:
    points = planted(sizes=7, noise=0.004)
    bad = [replace(p, nats=p.nats + 0.15) if i in (38, 66) else p for i, p in enumerate(points)]
    assert {p.family for p in points[35:]} == {"masked"}
    found = {}
    for name, observed, huber in (
        ("good", points, False),
        ("plain", bad, False),
        ("robust", bad, True),
    ):
        fit = fit_isoflop(observed, bootstrap=200, huber=huber)
        family = fit.families["masked"]
        found[name] = (family.estimate(family.parameters.exponent), fit.multiplier("masked"))
    for which, scale in ((0, 0.01), (1, 0.6)):
        good, plain, robust = (found[name][which] for name in ("good", "plain", "robust"))
        assert abs(robust.value - good.value) < scale  # type: ignore[operator]
        assert robust.high - robust.low < 0.5 * (plain.high - plain.low)  # type: ignore[operator]
    assert abs(found["plain"][1].value - found["good"][1].value) > 4  # type: ignore[operator]


def test_robust_intervals_cover(planted: Planted) -> None:
    hits, trials = 0, 60
    for trial in range(trials):
        rng = np.random.default_rng([5, trial])
        points = planted({"masked": 1.0}, sizes=6, noise=0.006, rng=rng)
        fit = fit_isoflop(points, bootstrap=80, seed=trial, huber=True)
        family = fit.families["masked"]
        found = family.estimate(family.parameters.exponent)
        assert found.low is not None and found.high is not None
        hits += found.low <= 0.55 <= found.high
    assert hits >= 52  # binomial: below this less than 1 time in 100 at 95 %


def test_three_sizes_are_not_robust() -> None:
    points = [
        Point("x", 1e18, 1e18, n, 1e18 / 6 / n, loss)
        for n, loss in ((1e6, 3.1), (2e6, 3.0), (4e6, 3.1))
    ]
    (curve,) = curves(points, huber=True)
    assert curve.threshold is None and curve.refusal is None
