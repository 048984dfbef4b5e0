"""One surface of all families: planted constants, ties, and draws that a linear law would have exactly."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.scaling.laws.joint_surface import fit_joint_surface
from isodiff.scaling.laws.parametric import Runs, ordered


def runs(seed: int = 0, noise: float = 0.0, **study: int) -> dict[str, Runs]:
    return {
        name: Runs(ordered(planted_surface(name, noise=noise, seed=seed + i, A=a, **study)))
        for i, (name, a) in enumerate({"autoregressive": A, "masked": 2 * A}.items())
    }


def test_runs_without_noise_give_the_planted_surfaces() -> None:
    found = fit_joint_surface(runs(num_budgets=3), 0, np.random.default_rng(0))
    assert found is not None
    for name, a in (("autoregressive", A), ("masked", 2 * A)):
        assert [part[0] for part in vars_of(found.surfaces[name])] == pytest.approx(
            [np.log(a), ALPHA, np.log(B), BETA, np.log(E)], rel=1e-3
        )
        law = found.loss_law(name, np.log([1e18, 1e21]))
        assert law.exponent[0] == pytest.approx(-ALPHA * BETA / (ALPHA + BETA), rel=1e-3)


def vars_of(surface) -> list[np.ndarray]:
    return [surface.log_a, surface.alpha, surface.log_b, surface.beta, surface.log_e]


def test_a_family_of_one_run_is_as_unsure_as_the_ties() -> None:
    """It borrows alpha, which the other knows: .09 about a mean that is itself within .09 of the other's."""
    own = runs(noise=0.003, num_budgets=4, sizes=6)
    few = own["masked"].keep(np.arange(24) == 10)
    found = fit_joint_surface({**own, "masked": few}, 400, np.random.default_rng(0))
    assert found is not None
    rich, poor = (found.surfaces[name].alpha for name in ("autoregressive", "masked"))
    assert abs(rich[0] - ALPHA) < 3 * rich[1:].std() < 0.1
    assert abs(poor[0] - ALPHA) < 0.1
    assert poor[1:].std() == pytest.approx(np.sqrt(2) * 0.09, rel=0.35)


def test_noise_is_found_with_the_freedom_that_is_left() -> None:
    scatter = []
    for seed in range(12):
        found = fit_joint_surface(
            runs(seed=10 * seed, noise=0.01, num_budgets=3, sizes=4), 0, np.random.default_rng(0)
        )
        assert found is not None and 24 - 10 < found.freedom < 24 - 5
        scatter.append(found.scatter)
    assert np.sqrt(np.mean(np.square(scatter))) == pytest.approx(0.01, rel=0.2)


def test_one_budget_gives_no_surface() -> None:
    own = {name: one.keep(np.arange(8) < 8) for name, one in runs(num_budgets=1).items()}
    assert fit_joint_surface(own, 0, np.random.default_rng(0)) is None
