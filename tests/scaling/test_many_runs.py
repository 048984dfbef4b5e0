"""Thousands of runs: shortcuts that give what the long way gives, and memory that does not grow as n^2."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import planted_surface

from isodiff.scaling import fit_parametric
from isodiff.scaling.fitting import newton
from isodiff.scaling.laws import parametric, parametric_diagnostics


@pytest.fixture(scope="module")
def many() -> parametric.Runs:
    points = planted_surface(num_budgets=10, sizes=120, noise=0.01)
    return parametric.Runs(parametric.ordered(points))


def test_starts_on_some_runs_find_the_optimum_of_all(
    many: parametric.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = parametric.fit_parametric_family("x", many, 0, 0)
    monkeypatch.setattr(parametric, "_THINNED", 10_000)
    every = parametric.fit_parametric_family("x", many, 0, 0)
    assert few.objective == pytest.approx(every.objective, rel=1e-9)
    assert few.theta == pytest.approx(every.theta, rel=1e-4)


def test_a_newton_step_says_what_leaving_a_run_out_does(
    many: parametric.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = parametric.fit_parametric_family("x", many.keep(np.arange(1200) % 4 == 0), 0, 0)
    exact = parametric_diagnostics._without_each(fit) - fit.theta[0]
    monkeypatch.setattr(parametric_diagnostics, "_REFITTED", 0)
    step = parametric_diagnostics._without_each(fit) - fit.theta[0]
    for own, short in zip(exact.T, step.T, strict=True):
        assert np.corrcoef(own, short)[0, 1] > 0.98
        assert short.std() == pytest.approx(own.std(), rel=0.15)


@pytest.mark.parametrize("shared", [(), ("log_e",), ("alpha", "beta")])
def test_curvature_is_the_same_without_products(
    shared: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    n, d, family = rng.normal(size=50), rng.normal(size=50), rng.integers(0, 3, 50)
    law = newton.design(n, d, family, shared)
    theta, residual = rng.normal(size=(4, law.num_parameters)), 1e-3 * rng.normal(size=(4, 50))
    _, known = law.terms.log_nats(theta)
    whole = law.terms.slopes(known, residual, np.ones_like(residual))[1]
    monkeypatch.setattr(newton, "_PRODUCTS", 0)
    parts = law.terms.slopes(known, residual, np.ones_like(residual))[1]
    assert parts == pytest.approx(whole, abs=1e-12)


def test_problems_are_solved_alike_however_many_at_a_time(
    many: parametric.Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = many.keep(np.arange(1200) % 20 == 0)
    fit = parametric.fit_parametric_family("x", runs, 20, 0)
    monkeypatch.setattr(newton, "_TOGETHER", 300)
    again = parametric.fit_parametric_family("x", runs, 20, 0)
    assert again.theta == pytest.approx(fit.theta, rel=1e-6)


def test_a_profile_of_many_runs_is_as_wide_as_its_curvature_says() -> None:
    """Narrow beside the lattice: the ends are those of a parabola, not of a line."""
    points = planted_surface(num_budgets=10, sizes=60, noise=0.01)
    fit = fit_parametric(points, bootstrap=200, resampling="residual")
    family = fit.result().families["autoregressive"]
    low, high = family.intervals.E or (0, 0)
    assert family.profiles.E.low is not None and family.profiles.E.high is not None
    assert family.profiles.E.high - family.profiles.E.low == pytest.approx(high - low, rel=0.35)
