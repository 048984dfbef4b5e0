"""One surface of all families: planted constants, ties, and draws that a linear law would have exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, law, planted_surface

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
        size, tokens, loss = found.laws(name, np.log([1e18, 1e21]))
        assert size.exponent[0] == pytest.approx(BETA / (ALPHA + BETA), rel=1e-3)
        assert tokens.exponent[0] == pytest.approx(ALPHA / (ALPHA + BETA), rel=1e-3)
        assert loss.exponent[0] == pytest.approx(-ALPHA * BETA / (ALPHA + BETA), rel=1e-3)
        n = size(np.log([1e20]))[0, 0]
        assert law(n, 1e20 / 6 / n, a=a) == pytest.approx(loss(np.log([1e20]))[0, 0], rel=1e-4)


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
    assert poor[0] == pytest.approx(rich[0], abs=0.01)
    assert poor[1:].std() == pytest.approx(np.sqrt(2) * 0.09, rel=0.35)


def test_noise_is_found_with_the_freedom_that_is_left() -> None:
    scatter = []
    for seed in range(12):
        found = fit_joint_surface(
            runs(seed=10 * seed, noise=0.01, num_budgets=3, sizes=4), 0, np.random.default_rng(0)
        )
        assert found is not None and 24 - 10 < sum(found.freedom.values()) < 24 - 5
        scatter += found.scatter.values()
    assert np.sqrt(np.mean(np.square(scatter))) == pytest.approx(0.01, rel=0.2)


def test_a_family_scatters_as_its_own_runs_say_and_a_little_as_the_others() -> None:
    quiet, loud = [], []
    for seed in range(12):
        own = runs(seed=10 * seed, noise=0.002, num_budgets=3, sizes=4)
        own["masked"] = runs(seed=10 * seed, noise=0.02, num_budgets=3, sizes=4)["masked"]
        found = fit_joint_surface(own, 300, np.random.default_rng(0))
        assert found is not None
        quiet.append(found.scatter["autoregressive"])
        loud.append(found.scatter["masked"])
        width = {
            name: np.log(surface.nats(np.log([1e9]), np.log([3e10]))[1:, 0]).std()
            for name, surface in found.surfaces.items()
        }
        assert width["masked"] > 1.2 * width["autoregressive"]
    # (4 s^2 + sum r^2) / (4 + 8) with s^2 = (.002^2 + .02^2) / 2 and about 8 residuals each
    assert np.sqrt(np.mean(np.square(quiet))) == pytest.approx(0.0084, rel=0.2)
    assert np.sqrt(np.mean(np.square(loud))) == pytest.approx(0.0183, rel=0.2)


def test_an_error_that_a_familys_runs_have_in_common_is_in_its_draws() -> None:
    """It is not in the residuals: .03 nats on every loss of one family, none on the other's."""
    own = runs(noise=0.001, num_budgets=3, sizes=5)
    own["masked"] = Runs(tuple(replace(p, noise_error=0.03) for p in own["masked"].points))
    found = fit_joint_surface(own, 400, np.random.default_rng(0))
    assert found is not None
    spread = {
        name: surface.nats(own[name].log_n, own[name].log_d)[1:].mean(axis=1).std()
        for name, surface in found.surfaces.items()
    }
    assert spread["masked"] == pytest.approx(0.03, rel=0.15)
    assert spread["autoregressive"] < 0.002


def test_one_budget_gives_no_surface() -> None:
    own = {name: one.keep(np.arange(8) < 8) for name, one in runs(num_budgets=1).items()}
    assert fit_joint_surface(own, 0, np.random.default_rng(0)) is None
