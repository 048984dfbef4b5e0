"""The parametric law's terms, its allocation, and what tokens cost."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.scaling.fitting.huber import rho
from isodiff.scaling.fitting.newton import design, minimize
from isodiff.scaling.laws.loss_surface import SIX, Cost, Surface, fit_cost

COSTS = [SIX, Cost(5.9, 300.0, 3e5), Cost(6.0, 0.0, -5e4), Cost(6.1, 2e3, 0.0)]


def surface(*rows: list[float]) -> Surface:
    """From E, A, B, alpha, beta."""
    e, a, b, alpha, beta = np.array(rows).T
    return Surface(np.log(a), alpha, np.log(b), beta, np.log(e))


def test_slopes_are_those_of_the_objective() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(19, 1, 30), rng.normal(22, 1, 30)
    family = np.arange(30) % 3
    law = design(x, y, family, ("log_e", "beta")).terms
    theta = rng.normal(0.3, 0.1, (2, law.x.shape[2]))
    target = law.log_nats(theta)[0] + rng.normal(0, 8e-4, (2, 30))
    weight = rng.exponential(size=(2, 30))

    def objective(at: np.ndarray) -> np.ndarray:
        return (weight * rho(law.log_nats(at)[0] - target)).sum(axis=1)

    values, known = law.log_nats(theta)
    gradient, hessian, scale = law.slopes(known, values - target, weight)
    assert (scale > 0).all()
    for k in range(theta.shape[1]):
        step = np.zeros(theta.shape[1])
        step[k] = 1e-7
        slope = (objective(theta + step) - objective(theta - step)) / 2e-7
        assert gradient[:, k] == pytest.approx(slope, rel=1e-5, abs=1e-9)
        up, down = (
            law.slopes(law.log_nats(at)[1], law.log_nats(at)[0] - target, weight)[0]
            for at in (theta + step, theta - step)
        )
        assert hessian[:, k] == pytest.approx((up - down) / 2e-7, rel=1e-4, abs=1e-7)


def test_families_and_theta_are_each_others_inverse() -> None:
    law = design(np.array([18.0, 20, 19, 21]), np.array([22.0, 24, 23, 25]), np.array([0, 0, 1, 1]))
    own = [np.array([6.0, 0.3, 7.0, 0.4, 0.5]), np.array([5.0, 0.2, 8.0, 0.5, 0.7])]
    theta = law.from_families(own)
    for family in (0, 1):
        assert law.of_family(theta[None], family)[0] == pytest.approx(own[family])
    shared = design(law.terms.x[0][:, 1], law.terms.x[1][:, 3], np.array([0, 0, 1, 1]), ("beta",))
    assert shared.num_parameters == 9
    assert shared.columns[0][3] == shared.columns[1][3]


def test_a_fixed_parameter_stays_and_the_others_are_best() -> None:
    points = planted_surface(noise=0.01)
    x, y = (np.log([getattr(p, q) for p in points]) for q in ("parameters", "tokens"))
    log_nats = np.log([p.nats for p in points])
    law = design(x, y)
    start = law.from_families([np.array([np.log(A), ALPHA, np.log(B), BETA, np.log(E)])])[None]
    start[0, 1] = 0.3
    fixed = np.arange(5) == 1
    found = minimize(law.terms, start, log_nats, fixed=fixed)
    assert found.best[1] == 0.3
    values, known = law.terms.log_nats(found.theta)
    gradient = law.terms.slopes(known, values - log_nats, np.ones_like(values))[0][0]
    assert np.abs(gradient[~fixed]).max() < 1e-6 * abs(gradient[1])


@pytest.mark.parametrize("cost", COSTS)
def test_the_optimum_is_the_lowest_loss_at_that_cost(cost: Cost) -> None:
    law = surface([E, A, B, ALPHA, BETA], [1.2, 30.0, 3000.0, 0.18, 0.38])
    log_c = np.log([1e18, 1e20, 1e23])
    best = law.optimum(log_c, cost)
    assert best.log_d + cost.log(best.log_n) == pytest.approx(np.broadcast_to(log_c, (2, 3)))
    for row in (0, 1):
        one = Surface(*(np.array([getattr(law, f)[row]]) for f in Surface.__dataclass_fields__))
        for j, c in enumerate(log_c):

            def loss(x: float, one=one, c=c) -> float:
                at = np.array([x])
                return float(one.nats(at, c - cost.log(at))[0, 0])

            found = minimize_scalar(
                loss, bounds=(15, 30), method="bounded", options={"xatol": 1e-9}
            )
            assert best.log_n[row, j] == pytest.approx(found.x, abs=1e-4)
            assert best.nats[row, j] <= found.fun + 1e-12


@pytest.mark.parametrize("cost", COSTS)
def test_exponents_are_the_slopes_of_the_optimum(cost: Cost) -> None:
    law, at, step = surface([E, A, B, ALPHA, BETA]), np.log(1e19), 1e-4
    below, above = (law.optimum(np.array([at + s]), cost) for s in (-step, step))
    n, d = law.exponents(at, cost)
    assert n[0] == pytest.approx((above.log_n - below.log_n)[0, 0] / (2 * step), rel=1e-6)
    assert d[0] == pytest.approx((above.log_d - below.log_d)[0, 0] / (2 * step), rel=1e-6)


def test_at_6nd_they_are_the_closed_forms() -> None:
    law = surface([E, A, B, ALPHA, BETA])
    n, d = law.exponents(np.log(1e20), SIX)
    assert (n[0], d[0]) == pytest.approx((BETA / (ALPHA + BETA), ALPHA / (ALPHA + BETA)), abs=1e-12)
    g = (ALPHA * A / BETA / B) ** (1 / (ALPHA + BETA))
    best = law.optimum(np.log([1e21]), SIX)
    assert np.exp(best.log_n[0, 0]) == pytest.approx(g * (1e21 / 6) ** n[0], rel=1e-10)
    assert np.exp(best.log_d[0, 0]) == pytest.approx((1e21 / 6) ** d[0] / g, rel=1e-10)


@pytest.mark.parametrize("cost", COSTS)
def test_costs_are_recovered(cost: Cost) -> None:
    log_n = np.log(np.geomspace(5e6, 2e9, 25))
    log_d = np.full(25, 23.0)
    found = fit_cost(log_n, log_d, log_d + cost.log(log_n))
    assert found.misfit < 1e-6
    wide = np.log(np.geomspace(1e7, 1e11, 9))
    assert found.log(wide) == pytest.approx(cost.log(wide), abs=2e-4)
    slope = (cost.log(wide + 1e-5) - cost.log(wide - 1e-5)) / 2e-5
    assert cost.slope(wide) == pytest.approx(slope, rel=1e-6)
    bend = (cost.slope(wide + 1e-5) - cost.slope(wide - 1e-5)) / 2e-5
    assert cost.bend(wide) == pytest.approx(bend, rel=1e-4, abs=1e-9)


def test_a_cost_that_no_law_describes_says_how_far_it_is_off() -> None:
    log_n = np.log(np.geomspace(1e7, 1e9, 11))
    per_token = np.log(6e7) + 1.5 * (log_n - log_n[0])
    assert fit_cost(log_n, np.zeros(11), per_token).misfit > 0.2
