"""Thousands of runs: shortcuts that give what the long way gives, and memory that does not grow as n^2."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.scaling import fit_parametric
from isodiff.scaling.fitting.newton import Terms, design, minimize
from isodiff.scaling.laws.parametric import Runs, fit_parametric_family, ordered


@pytest.fixture(scope="module")
def many() -> Runs:
    return Runs(ordered(planted_surface(num_budgets=10, sizes=120, noise=0.01)))


def test_starts_on_some_runs_find_the_optimum_of_all(many: Runs) -> None:
    found = fit_parametric_family("x", many, 0, 0)
    truth = many.design.from_families([np.array([np.log(A), ALPHA, np.log(B), BETA, np.log(E)])])
    best = minimize(many.design.terms, truth[None], many.log_nats)
    assert found.objective == pytest.approx(best.objective[0], rel=1e-9)
    assert found.theta[0] == pytest.approx(best.theta[0], rel=1e-4)


def test_what_leaving_one_of_many_runs_out_does(many: Runs) -> None:
    """One Newton step against fitting again, for the runs that matter most."""
    runs = many.keep(np.arange(1200) % 2 == 0)
    fit = fit_parametric(runs.points, bootstrap=0)
    family = fit.to_json()["families"]["autoregressive"]
    moves = np.array([row["moves_E"] for row in family["runs"]])
    assert len(moves) == 600
    for place in np.argsort(-np.abs(moves))[:6]:
        without = fit_parametric_family("x", runs.keep(np.arange(600) != place), 0, 0)
        exact = without.surface.irreducible[0] - family["E"]
        assert moves[place] == pytest.approx(exact, rel=0.3)


@pytest.mark.parametrize("shared", [(), ("log_e",), ("alpha", "beta")])
def test_curvature_of_many_runs_is_the_sum_of_its_parts(shared: tuple[str, ...]) -> None:
    """So many that products of their terms are not kept; halves of them are few enough."""
    rng, n = np.random.default_rng(0), 8000
    law = design(rng.normal(size=n), rng.normal(size=n), rng.integers(0, 3, n), shared)
    theta, residual = rng.normal(size=(2, law.num_parameters)), 1e-3 * rng.normal(size=(2, n))

    def curvature(part: slice) -> np.ndarray:
        terms, own = Terms(law.terms.x[:, part]), residual[:, part]
        return terms.slopes(terms.log_nats(theta)[1], own, np.ones_like(own))[1]

    halves = [curvature(slice(i, n, 4)) for i in range(4)]
    assert curvature(slice(n)) == pytest.approx(sum(halves), rel=1e-9, abs=1e-9)


def test_problems_are_solved_alike_however_many_there_are(many: Runs) -> None:
    runs = many.keep(np.arange(1200) % 6 == 0)
    start = np.repeat(fit_parametric_family("x", runs, 0, 0).theta, 600, axis=0)
    nats = runs.log_nats + 0.003 * np.random.default_rng(0).standard_normal((600, 200))
    every = minimize(runs.design.terms, start, nats, tolerance=1e-9)
    last = minimize(runs.design.terms, start[-20:], nats[-20:], tolerance=1e-9)
    assert every.theta[-20:] == pytest.approx(last.theta, rel=1e-9)
    assert every.objective[-20:] == pytest.approx(last.objective, rel=1e-12)


def test_a_profile_of_many_runs_is_as_wide_as_its_curvature_says() -> None:
    """Narrow beside the lattice: the ends are those of a parabola, not of a line."""
    points = planted_surface(num_budgets=10, sizes=60, noise=0.01)
    fit = fit_parametric(points, bootstrap=200, resampling="residual")
    family = fit.to_json()["families"]["autoregressive"]
    low, high = family["intervals"]["E"]
    profile = family["profiles"]["E"]
    assert profile["high"] - profile["low"] == pytest.approx(high - low, rel=0.35)
