"""Straight lines and power laws with a floor, row by row."""

from __future__ import annotations

import numpy as np
import pytest

from isodiff.scaling.fitting.power_law import PowerLaw, fit_loss, line, straight

RNG = np.random.default_rng(3)


def test_a_line_is_least_squares_over_the_kept_columns() -> None:
    x, y = RNG.normal(size=(4, 6)), RNG.normal(size=(4, 6))
    keep = RNG.random((4, 6)) < 0.7
    keep[:, :2] = True
    intercept, slope = line(x, y, keep)
    for row in range(4):
        wanted = np.polyfit(x[row, keep[row]], y[row, keep[row]], 1)
        assert [slope[row], intercept[row]] == pytest.approx(wanted)


def test_one_column_gives_no_line() -> None:
    x = np.arange(3.0)[None]
    _, slope = line(x, x, np.array([[True, False, False]]))
    assert np.isnan(slope[0])


@pytest.mark.parametrize(("floor", "exponent"), [(1.7, -0.15), (0.4, -0.06), (2.2, -0.5)])
def test_an_irreducible_loss_is_recovered(floor: float, exponent: float) -> None:
    log_c = np.log(np.geomspace(1e18, 1e22, 6))[None]
    y = floor + 1.3 * np.exp(exponent * (log_c - np.log(1e20)))
    keep = np.ones_like(y, dtype=bool)
    law = fit_loss(log_c, np.log(y), keep, irreducible=True)
    assert law.irreducible[0] == pytest.approx(floor, abs=1e-5)
    assert law.exponent[0] == pytest.approx(exponent, abs=1e-6)
    assert law(log_c[0])[0] == pytest.approx(y[0], abs=1e-9)


def test_the_floor_fit_is_the_best_of_a_fine_grid() -> None:
    log_c = np.log(np.geomspace(1e18, 1e20, 7))[None]
    y = 1.5 + np.exp(-0.1 * (log_c - np.log(1e19))) + 0.003 * RNG.normal(size=(1, 7))
    law = fit_loss(log_c, np.log(y), np.ones_like(y, dtype=bool), irreducible=True)

    def miss(exponent: float) -> float:
        design = np.stack([np.ones(7), np.exp(exponent * (log_c[0] - log_c.mean()))], axis=1)
        design /= y[0][:, None]
        beta = np.linalg.lstsq(design, np.ones(7), rcond=None)[0]
        return float(((design @ beta - 1) ** 2).sum())

    found = miss(float(law.exponent[0]))
    assert found <= min(miss(p) for p in np.linspace(-1.4, -0.01, 3000)) + 1e-15


def test_too_few_minima_or_a_negative_floor_leave_the_straight_law() -> None:
    log_c = np.log(np.geomspace(1e18, 1e20, 5))[None]
    bent_down = np.log(4 - 0.2 * (log_c - log_c.min()))  # steeper than a power law: E < 0
    keep = np.ones_like(log_c, dtype=bool)
    law = fit_loss(log_c, bent_down, keep, irreducible=True)
    assert law.irreducible[0] == 0
    assert law.exponent[0] == straight(log_c, bent_down, keep).exponent[0]
    level = np.log(2 + np.exp(-0.2 * (log_c - log_c.min())))
    three = fit_loss(log_c[:, :3], level[:, :3], keep[:, :3], irreducible=True)
    assert three.irreducible[0] == 0


def test_compute_for_a_loss_inverts_a_falling_law_only() -> None:
    law = PowerLaw(np.array([3.0, 3.0]), np.array([-0.1, 0.1]), np.array([1.5, 0.0]))
    log_c = np.array([40.0, 45.0])
    back = law.log_compute(law(log_c))
    assert back[0] == pytest.approx(log_c)
    assert np.isnan(back[1]).all()  # a rising law has no compute for a loss
    assert np.isnan(law.log_compute(np.full((2, 1), 1.5))[0, 0])  # the floor is never reached
