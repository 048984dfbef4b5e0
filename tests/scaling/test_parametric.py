"""The parametric law: planted constants, published constants, honest checks, clear errors."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from surfaces import ALPHA, BETA, TRUTH, planted_surface

from isodiff.errors import InputError
from isodiff.scaling import fit_parametric, published_points
from isodiff.scaling.fitting.huber import temperature
from isodiff.scaling.laws.model_comparison import compare


@pytest.fixture(scope="module")
def chinchilla() -> dict:
    return fit_parametric(published_points("published:2203.15556")).to_json()


def test_planted_constants_are_recovered() -> None:
    points = planted_surface() + planted_surface("masked", E=2.1, A=170.0, alpha=0.3, beta=0.41)
    found = fit_parametric(points, bootstrap=0).to_json()["families"]
    assert {k: found["autoregressive"][k] for k in TRUTH} == pytest.approx(TRUTH, rel=1e-6)
    wanted = {**TRUTH, "E": 2.1, "A": 170.0, "alpha": 0.3, "beta": 0.41}
    assert {k: found["masked"][k] for k in TRUTH} == pytest.approx(wanted, rel=1e-6)
    for name, law in (("autoregressive", TRUTH), ("masked", wanted)):
        n = law["beta"] / (law["alpha"] + law["beta"])
        exponents = found[name]["exponents"]
        assert (exponents["N"], exponents["D"]) == pytest.approx((n, 1 - n), abs=1e-6)
        assert found[name]["starts"]["at_the_optimum"] == found[name]["starts"]["num"]


@pytest.mark.parametrize("outlier", [1.2, 0.9])
def test_a_wild_run_hardly_moves_the_law(outlier: float) -> None:
    """Huber on log loss: one run off by 10 or 20 % among 48 leaves the exponent where it was."""
    points = planted_surface(noise=0.002)
    wild = [*points[:20], replace(points[20], nats=points[20].nats * outlier), *points[21:]]
    plain, found = (
        fit_parametric(p, bootstrap=0).families["autoregressive"].exponents()[0][0]
        for p in (points, wild)
    )
    assert found == pytest.approx(plain, abs=0.01)
    assert plain == pytest.approx(BETA / (ALPHA + BETA), abs=0.02)


def test_chinchilla_is_reproduced(chinchilla: dict) -> None:
    """The refit of the 240 points of arXiv 2404.10102: the minimum of its objective."""
    assert chinchilla["num_points"] == 240
    assert chinchilla["objective"] == pytest.approx(1.0182740178e-3, rel=1e-9)
    assert chinchilla["A"] == pytest.approx(477.826, abs=1e-3)
    assert chinchilla["B"] == pytest.approx(2143.42, abs=1e-2)
    assert chinchilla["E"] == pytest.approx(1.817218, abs=1e-6)
    assert chinchilla["alpha"] == pytest.approx(0.347310, abs=1e-6)
    assert chinchilla["beta"] == pytest.approx(0.367172, abs=1e-6)
    assert chinchilla["exponents"]["N"] == pytest.approx(0.5139, abs=1e-4)
    assert chinchilla["exponents"]["D"] == pytest.approx(0.4861, abs=1e-4)


def test_all_245_points_give_the_other_optimum() -> None:
    """What leaving out the five highest losses does (reference objective 1.82601e-3)."""
    from isodiff.scaling.point_sources import chinchilla_points

    points = chinchilla_points()
    assert len(points) == 245
    found = fit_parametric(points, bootstrap=0).to_json()
    assert found["objective"] == pytest.approx(1.82601e-3, rel=1e-5)
    assert {k: found[k] for k in TRUTH} == pytest.approx(
        {"E": 1.89134, "A": 495.73, "B": 12845.6, "alpha": 0.34931, "beta": 0.45305}, rel=1e-4
    )


def test_chinchillas_intervals_are_the_published_ones(chinchilla: dict) -> None:
    """95 % intervals from drawing the runs again: A (285, 744), B (1042, 5810), E (1.769, 1.871)."""
    wanted = {
        "A": (285, 744),
        "B": (1042, 5810),
        "E": (1.769, 1.871),
        "alpha": (0.317, 0.373),
        "beta": (0.331, 0.415),
    }
    for name, ends in wanted.items():
        assert chinchilla["intervals"][name] == pytest.approx(ends, rel=0.15), name
    # Hoffmann et al. printed alpha = .34, beta = .28: the second is far outside.
    assert not chinchilla["intervals"]["beta"][0] < 0.28 < chinchilla["intervals"]["beta"][1]


def test_the_largest_budgets_of_chinchilla_are_foretold(chinchilla: dict) -> None:
    checked = chinchilla["families"]["autoregressive"]["validation"]
    assert checked["rule"].startswith("the 24 runs of most compute")
    assert abs(checked["bias"]) < 0.005 and checked["rmse"] < 0.015
    assert checked["extrapolation"] > 10


def test_the_json_says_what_it_promises(chinchilla: dict) -> None:
    text = json.dumps(chinchilla, allow_nan=False)
    assert len(text) < 200_000
    family = chinchilla["families"]["autoregressive"]
    for key in (
        "E",
        "A",
        "B",
        "alpha",
        "beta",
        "objective",
        "exponents",
        "intervals",
        "num_points",
    ):
        assert chinchilla[key] == family[key]
    assert set(chinchilla["intervals"]) == {"E", "A", "B", "alpha", "beta", "N", "D"}
    assert len(family["draws"]["rows"]) == 200 and len(family["draws"]["rows"][0]) == 5
    for row in family["optima"]:
        assert (
            row["L_interval_of_a_run"][0] < row["L_interval"][0] < row["L"] < row["L_interval"][1]
        )
        assert row["N"] * row["D"] * 6 == pytest.approx(row["flops"])
    assert [row["flops"] for row in family["optima"]] == [1e19, 1e20, 1e21, 1e22, 1e23]


def test_order_and_company_change_nothing() -> None:
    points = planted_surface(noise=0.01) + planted_surface("masked", noise=0.01, seed=1)
    shuffled = random.Random(0).sample(points, len(points))
    alone = [p for p in points if p.family == "masked"]
    first = fit_parametric(points, bootstrap=30).to_json()["families"]["masked"]
    for other in (shuffled, alone):
        assert fit_parametric(other, bootstrap=30).to_json()["families"]["masked"] == first


def test_influence_is_leaving_out(chinchilla: dict) -> None:
    points = planted_surface(noise=0.01, sizes=5)
    fitted = fit_parametric(points, bootstrap=0)
    fit = fitted.families["autoregressive"]
    moved = fitted.to_json()["families"]["autoregressive"]["runs"]
    for i in (0, 7, 29):
        rest = [p for p in fit.runs.points if p is not fit.runs.points[i]]
        without = fit_parametric(rest, bootstrap=0).families["autoregressive"]
        shift = without.exponents()[0][0] - fit.exponents()[0][0]
        assert moved[i]["moves_N_exponent"] == pytest.approx(shift, abs=1e-6)
        floor = without.surface.irreducible[0] - fit.surface.irreducible[0]
        assert moved[i]["moves_E"] == pytest.approx(floor, abs=1e-5)


def test_profiles_are_objectives_and_say_what_is_not_identified() -> None:
    points = planted_surface(noise=0.004, seed=2)
    fit = fit_parametric(points, bootstrap=0)
    found, residuals = fit.to_json(), fit.families["autoregressive"].residuals
    profiles = found["families"]["autoregressive"]["profiles"]
    for name, truth in (("E", TRUTH["E"]), ("alpha", ALPHA), ("beta", BETA)):
        profile = profiles[name]
        assert profile["identified"] and profile["low"] < truth < profile["high"]
        objectives = np.array([objective for _, objective in profile["curve"]])
        assert objectives.min() >= found["objective"] * (1 - 1e-9)
        inside = [v for v, _ in profile["curve"] if profile["low"] < v < profile["high"]]
        ratio = 2 * (objectives - found["objective"]) / temperature(residuals, 5)
        kept = [v for (v, _), e in zip(profile["curve"], ratio, strict=True) if e < 3.8415]
        assert inside == kept
    # A thin study at two budgets close together cannot tell where the loss levels off.
    thin = planted_surface(num_budgets=8, noise=0.03, sizes=4)
    few = [p for p in thin if 1e18 <= p.budget < 1e19]
    said = fit_parametric(few, bootstrap=0).to_json()
    assert said["families"]["autoregressive"]["profiles"]["E"]["low"] is None
    assert any("E is not identified" in line for line in said["warnings"])


def shared_study(same_floor: bool) -> list:
    """Two families with one pair of exponents, and one floor or two."""
    return planted_surface(noise=0.002) + planted_surface(
        "masked", noise=0.002, seed=1, A=800.0, B=4000.0, E=1.8172 if same_floor else 2.1
    )


@pytest.mark.parametrize("same_floor", [True, False])
def test_the_comparison_finds_what_families_share(same_floor: bool) -> None:
    found = compare(fit_parametric(shared_study(same_floor), bootstrap=0))
    assert found is not None
    models = {row.model: row for row in found.models}
    assert found.best_by_aicc == ("shared E and exponents" if same_floor else "shared exponents")
    assert models["separate"].parameters == 10
    assert models["shared E and exponents"].parameters == 7
    # a freer model fits no worse
    for free, bound in (("separate", "shared E"), ("shared E", "shared E and exponents")):
        assert models[free].objective <= models[bound].objective * (1 + 1e-9)
    assert models["shared exponents"].shared == pytest.approx(
        {"alpha": ALPHA, "beta": BETA}, rel=0.05
    )
    for row in found.models:
        assert (row.held_out_rmse < 0.01) or (row.shared.get("log_e") and not same_floor)


def test_one_family_is_compared_with_nothing(chinchilla: dict) -> None:
    assert chinchilla["comparison"] is None


def test_bad_points_are_refused_with_the_reason() -> None:
    points = planted_surface()
    with pytest.raises(
        InputError, match="autoregressive has 5 runs; a law of 5 parameters needs 6"
    ):
        fit_parametric(points[::9][:5])
    with pytest.raises(InputError, match="one budget only"):
        fit_parametric([p for p in points if p.budget == points[0].budget])
    with pytest.raises(InputError, match="no points"):
        fit_parametric([])
    with pytest.raises(InputError, match="exact in some runs and bounds"):
        fit_parametric(
            [replace(points[0], kind="bound"), *(replace(p, kind="exact") for p in points[1:])]
        )
    with pytest.raises(InputError, match="--bootstrap is -1"):
        fit_parametric(points, bootstrap=-1)


@pytest.mark.parametrize("resampling", ["case", "residual"])
def test_an_error_that_runs_have_in_common_is_in_the_replicates(resampling) -> None:
    """.03 nats on all losses at once, which no residual shows: E takes most of it."""
    points = [replace(p, noise_error=0.03) for p in planted_surface(noise=0.0005)]
    for own, expected in ((points, 0.03), ([replace(p, noise_error=None) for p in points], 0.0)):
        fit = fit_parametric(own, bootstrap=300, resampling=resampling).families["autoregressive"]
        nats = fit.surface.nats(fit.runs.log_n, fit.runs.log_d)[1:].mean(axis=1)
        assert nats.std() == pytest.approx(expected, rel=0.15, abs=0.002)


def test_two_budgets_fit_but_cannot_be_validated() -> None:
    points = [p for p in planted_surface(num_budgets=2, noise=0.002)]
    family = fit_parametric(points, bootstrap=20).to_json()["families"]["autoregressive"]
    assert "one budget only" in family["validation"]["reason"]
