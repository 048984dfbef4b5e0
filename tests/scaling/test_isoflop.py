"""The IsoFLOP law against planted truths."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.errors import InputError
from isodiff.scaling import Point, fit_isoflop
from isodiff.scaling.fitting.parabola import Curve, curves
from isodiff.scaling.fitting.power_law import straight

Planted = Callable[..., list[Point]]


def exponents(family: dict) -> list[float]:
    return [family[f"{symbol}_exponent"]["value"] for symbol in "NDL"]


def values(fit: dict) -> dict[str, list[float]]:
    """Exponents, then multiplier, of each family."""
    return {
        name: [*exponents(family), family["multiplier_vs_autoregressive"]["value"]]
        for name, family in fit["families"].items()
    }


@pytest.mark.parametrize("off_center", [0.0, 0.6, -0.9])
def test_planted_laws_are_recovered(planted: Planted, off_center: float) -> None:
    points = planted({"autoregressive": 1.0, "masked": 20.0, "uniform": 0.5}, off_center=off_center)
    fit = fit_isoflop(points, bootstrap=0).to_json()
    for name, multiplier in (("autoregressive", 1.0), ("masked", 20.0), ("uniform", 0.5)):
        family = fit["families"][name]
        assert exponents(family) == pytest.approx([0.55, 0.45, -0.06], abs=1e-6)
        assert family["multiplier_vs_autoregressive"]["value"] == pytest.approx(multiplier, 1e-6)
        for row in family["multipliers"]:
            assert row["value"] == pytest.approx(multiplier, 1e-6)
        for row in family["budgets"]:
            c = row["flops"]
            assert row["N_opt"] == pytest.approx(1e8 * (c / 1e19) ** 0.55, rel=1e-9)
            assert row["D_opt"] == pytest.approx(c / 6 / row["N_opt"], rel=1e-9)
            assert row["L_opt"] == pytest.approx(3 * (c / multiplier / 1e19) ** -0.06, rel=1e-9)


def test_a_planted_irreducible_loss_is_recovered(planted: Planted) -> None:
    points = planted(irreducible=1.6, budgets=np.geomspace(1e18, 1e21, 6))
    fit = fit_isoflop(points, bootstrap=0, irreducible=True).to_json()
    for name, multiplier in (("autoregressive", 1.0), ("masked", 20.0)):
        family = fit["families"][name]
        assert family["irreducible_loss"]["value"] == pytest.approx(1.6, abs=1e-4)
        assert family["L_exponent"]["value"] == pytest.approx(-0.06, abs=1e-5)
        assert family["multiplier_vs_autoregressive"]["value"] == pytest.approx(multiplier, 1e-4)


def test_the_multiplier_reads_the_reference_law_at_the_loss_of_the_familys(
    planted: Planted,
) -> None:
    """The definition, by hand, where laws are not parallel and it matters."""
    reference = planted({"autoregressive": 1.0})
    steeper = [replace(p, family="masked", nats=p.nats**1.3) for p in planted({"x": 3.0})]
    fit = fit_isoflop([*reference, *steeper], bootstrap=0, irreducible=False).to_json()["families"]
    assert [row["budget"] for row in fit["masked"]["multipliers"]] == pytest.approx(
        np.geomspace(1e18, 1e20, 5)
    )

    def law(family: dict) -> np.ndarray:
        rows = family["budgets"]
        return np.polyfit(np.log([r["flops"] for r in rows]), np.log([r["L_opt"] for r in rows]), 1)

    slope, intercept = law(fit["autoregressive"])
    for row in fit["masked"]["multipliers"]:
        reached = (np.polyval(law(fit["masked"]), np.log(row["flops"])) - intercept) / slope
        assert row["value"] == pytest.approx(row["flops"] / np.exp(reached), rel=1e-3)
        assert row["extrapolation"] == pytest.approx(1e18 / np.exp(reached), rel=1e-3)
    values = [row["value"] for row in fit["masked"]["multipliers"]]
    assert values == sorted(values, reverse=True)
    headline = fit["masked"]["multiplier_vs_autoregressive"]
    assert headline["value"] == values[-1]
    assert fit["masked"]["extrapolation"] == fit["masked"]["multipliers"][-1]["extrapolation"]


@pytest.mark.parametrize(
    ("budgets", "source"), [(6, "minima"), (3, "joint surface"), (2, "joint surface")]
)
def test_losses_that_level_off_are_seen_to(budgets: int, source: str) -> None:
    """Chinchilla's surface without noise: E from the minima, or with fewer than four from the surface."""
    points = [
        *planted_surface("autoregressive", num_budgets=budgets),
        *planted_surface("masked", num_budgets=budgets, A=600.0),
    ]
    fit = fit_isoflop(points, bootstrap=100).result()
    for name, a in (("autoregressive", A), ("masked", 600.0)):
        family = fit.families[name]
        assert family.loss_from == source
        assert family.N_exponent.value == pytest.approx(BETA / (ALPHA + BETA), rel=5e-3)
        assert family.D_exponent.value == pytest.approx(ALPHA / (ALPHA + BETA), rel=5e-3)
        assert family.irreducible_loss.value == pytest.approx(E, rel=0.02)
        assert family.L_exponent.value == pytest.approx(-ALPHA * BETA / (ALPHA + BETA), rel=0.06)
        far = family.predict(name, 1e22, None)
        assert far.nats[0] == pytest.approx(lowest(1e22, a), rel=2e-3)
    (price,) = [
        one.multiplier_vs_autoregressive for n, one in fit.families.items() if n == "masked"
    ]
    assert lowest(1e21 / price.value, A) == pytest.approx(lowest(1e21, 600.0), rel=1e-3)
    assert (
        lowest(1e22, A)
        > 1.02
        * (
            fit_isoflop(points, bootstrap=0, irreducible=False)
            .result()
            .families["autoregressive"]
            .predict("autoregressive", 1e22, None)
            .nats[0]
        )
    )


def test_few_minima_leave_all_laws_to_the_surface_and_parabolas_beside_it() -> None:
    """Three budgets: the surface is far surer than a line through three minima; the parabola is its own."""
    points = [
        *planted_surface("autoregressive", num_budgets=3, sizes=5, noise=0.004),
        *planted_surface("masked", num_budgets=3, sizes=5, noise=0.004, A=900.0, seed=1),
    ]
    fit = fit_isoflop(points, bootstrap=200)
    family, found = fit.families["masked"], fit.result().families["masked"]
    by_minima = straight(family.minima.log_c, family.minima.log_n, family.minima.keep)
    low, high = np.quantile(by_minima.exponent[1:], [0.025, 0.975])
    exponent = found.N_exponent
    assert exponent.low < BETA / (ALPHA + BETA) < exponent.high
    assert exponent.high - exponent.low < (high - low) / 2
    reference = fit.families["autoregressive"].loss
    for row, nats in zip(found.multipliers, family.minima.nats[0], strict=True):
        reached = reference.log_compute(np.array([[nats]]))[0, 0]
        assert row.by_parabola.value == pytest.approx(row.flops / np.exp(reached), rel=1e-9)
        assert row.by_parabola.low < row.value < row.by_parabola.high
        assert row.by_parabola.high / row.by_parabola.low > row.high / row.low


def lowest(c: float, a: float) -> float:
    """L* of E + a/N^alpha + B/D^beta at C = 6ND."""
    n = np.exp(np.linspace(12, 30, 20001))
    return float((E + a / n**ALPHA + B / (c / 6 / n) ** BETA).min())


def test_aicc_tells_a_floor_from_none(planted: Planted) -> None:
    budgets = np.geomspace(1e18, 1e22, 7)
    plain, level = (
        fit_isoflop(
            planted(irreducible=e, budgets=budgets, noise=0.003, rng=np.random.default_rng(1)),
            bootstrap=0,
        ).to_json()
        for e in (0.0, 2.0)
    )
    assert level["families"]["masked"]["floor_aicc"] > 10
    assert plain["families"]["masked"]["floor_aicc"] < 0
    assert any("E is not told from 0" in line for line in plain["warnings"])
    three = fit_isoflop(planted(budgets=budgets[:3]), bootstrap=0).to_json()
    assert three["families"]["masked"]["floor_aicc"] is None


@pytest.mark.parametrize("off", [1e-6, 0.01, 0.028])
def test_budgets_that_hardly_differ_are_one(planted: Planted, off: float) -> None:
    points = planted({"masked": 1.0}, noise=0.001)
    near = [
        replace(p, budget=p.budget * (1 + off * (i % 2)), flops=p.flops)
        for i, p in enumerate(points)
    ]
    wanted, found = (
        fit_isoflop(p, bootstrap=0).to_json()["families"]["masked"] for p in (points, near)
    )
    assert [row["sizes"] for row in found["budgets"]] == [5] * 5
    assert exponents(found) == pytest.approx(exponents(wanted), rel=0.02)


def test_budgets_that_differ_are_not_one(planted: Planted) -> None:
    budgets = [1e18, 1.05e18, 1.1e18, 1e19]
    found = fit_isoflop(planted({"masked": 1.0}, budgets=budgets), bootstrap=0).to_json()
    assert [row["budget"] for row in found["families"]["masked"]["budgets"]] == budgets


def test_minima_count_by_how_well_they_are_known(planted: Planted) -> None:
    """The runs of one budget lie so close together that its minimum is worth next to nothing."""
    rng = np.random.default_rng(0)
    errors = {"as is": [], "all alike": []}
    for _ in range(20):
        points = planted({"masked": 1.0}, sizes=6, noise=0.003, rng=rng)
        center = 1e8 * (1e20 / 1e19) ** 0.55
        narrow = [
            replace(
                p,
                parameters=(n := center * (p.parameters / center) ** 0.25),
                tokens=p.budget / 6 / n,
            )
            if p.budget == max(q.budget for q in points)
            else p
            for p in points
        ]
        true = {p.parameters: 0.06 * np.log(p.parameters / center) ** 2 for p in narrow}
        old = {q.parameters: 0.06 * np.log(q.parameters / center) ** 2 for q in points}
        flat = [
            replace(p, nats=p.nats - old[q.parameters] + true[p.parameters]) if p is not q else p
            for p, q in zip(narrow, points, strict=True)
        ]
        fit = fit_isoflop(flat, bootstrap=0).families["masked"]
        if len(fit.accepted) < 5:
            continue
        plain = straight(fit.minima.log_c, fit.minima.log_n, fit.minima.keep)
        errors["as is"].append(fit.parameters.exponent[0] - 0.55)
        errors["all alike"].append(plain.exponent[0] - 0.55)
    rms = {key: float(np.sqrt(np.mean(np.square(found)))) for key, found in errors.items()}
    assert rms["as is"] < 0.7 * rms["all alike"]


@pytest.mark.parametrize("name", ["AR", "ar", "GPT-2", "auto-regressive", "autoregresive"])
def test_another_name_of_the_reference_is_asked_about(planted: Planted, name: str) -> None:
    points = planted({name: 1.0, "masked": 20.0})
    (said, *_) = fit_isoflop(points, bootstrap=0).result().warnings
    assert f"did you mean {name!r}" in said and "--reference" in said
    fit = fit_isoflop(points, bootstrap=0, reference=name).result()
    assert fit.reference == name
    assert fit.families["masked"].multiplier_vs_autoregressive.value == pytest.approx(20, 1e-4)
    with pytest.raises(InputError, match="--reference cannot be 'maskd'; did you mean 'masked'"):
        fit_isoflop(points, bootstrap=0, reference="maskd")


def curve(nats: list[float], sizes: list[float] | None = None) -> Curve:
    sizes = sizes or [1e6 * 2**i for i in range(len(nats))]
    points = [
        Point("x", 1e18, 1e18, n, 1e18 / 6 / n, loss) for n, loss in zip(sizes, nats, strict=True)
    ]
    return curves(points)[0]


@pytest.mark.parametrize(
    ("nats", "reason"),
    [
        ([3.0, 2.8], "too_few_sizes"),
        ([3.0, 3.2, 3.3, 3.2, 3.0], "concave"),
        ([3.0, 3.0, 3.0, 3.0], "concave"),
        ([3.4, 3.3, 3.2, 3.1], "concave"),
        ([3.8, 3.4, 3.1, 2.9, 2.8], "edge"),
        ([2.8, 2.9, 3.1, 3.4, 3.8], "edge"),
        ([3.0 + 0.1 * k * k for k in (-4, -3, -2, -1, 0)], "edge"),
        ([3.0 + 0.1 * k * k for k in (-3, -2, -1, 0, 1)], None),
        ([3.1, 3.0, 3.1], None),
    ],
)
def test_refusals(nats: list[float], reason: str | None) -> None:
    assert curve(nats).refusal == reason


def test_three_seeds_at_two_sizes_are_two_sizes() -> None:
    assert curve([3.0, 2.9, 3.1, 3.2], [1e6, 1e6, 1e6, 2e6]).refusal == "too_few_sizes"


def test_a_refused_budget_stays_visible_and_out_of_the_laws(planted: Planted) -> None:
    points = planted()
    budget = max(p.budget for p in points)
    broken = [
        replace(p, nats=9 - p.nats) if p.family == "masked" and p.budget == budget else p
        for p in points
    ]
    fit = fit_isoflop(broken, bootstrap=0).to_json()["families"]["masked"]
    without = [p for p in points if p.budget != budget or p.family != "masked"]
    assert fit["refused"] == [{"budget": budget, "flops": budget, "reason": "concave"}]
    assert [row["accepted"] for row in fit["curves"]] == [True, True, True, True, False]
    assert len(fit["curves"][-1]["points"]) == 5 and fit["curves"][-1]["line"]
    wanted = fit_isoflop(without, bootstrap=0).to_json()["families"]["masked"]
    assert exponents(fit) == exponents(wanted)


def test_one_budget_gives_no_law_and_says_so(planted: Planted) -> None:
    points = planted(budgets=[1e19], noise=0.004)
    fit = fit_isoflop(points, bootstrap=50).to_json()
    masked = fit["families"]["masked"]
    for key in ("N_exponent", "D_exponent", "L_exponent"):
        assert masked[key] == {
            "value": None,
            "low": None,
            "high": None,
            "reason": "1 accepted budgets; 2 are needed",
        }
    assert masked["multiplier_vs_autoregressive"]["value"] is None
    assert "autoregressive" in masked["multiplier_vs_autoregressive"]["reason"]
    assert masked["budgets"][0]["L_low"] < masked["budgets"][0]["L_opt"]
    assert masked["laws"] == {"N": None, "D": None, "L": None}
    assert any("no laws" in line for line in fit["warnings"])


def test_without_a_reference_there_is_no_multiplier(planted: Planted) -> None:
    fit = fit_isoflop(planted({"masked": 1.0}), bootstrap=0).to_json()
    assert fit["families"]["masked"]["multiplier_vs_autoregressive"]["value"] is None
    assert fit["families"]["masked"]["N_exponent"]["value"] == pytest.approx(0.55)
    assert any("autoregressive" in line for line in fit["warnings"])


def test_losses_below_the_reference_floor_have_no_multiplier(planted: Planted) -> None:
    points = planted({"autoregressive": 1.0}, irreducible=2.0, budgets=np.geomspace(1e18, 1e21, 6))
    better = [replace(p, family="masked", nats=p.nats - 3.3) for p in points]
    fit = fit_isoflop([*points, *better], bootstrap=0, irreducible=True).to_json()
    found = fit["families"]["masked"]["multiplier_vs_autoregressive"]
    assert found["value"] is None and "never reaches" in found["reason"]


def test_the_order_of_points_changes_nothing(planted: Planted) -> None:
    points = planted(noise=0.01)
    shuffled = random.Random(1).sample(points, len(points))
    assert fit_isoflop(points, bootstrap=100).to_json() == (
        fit_isoflop(shuffled, bootstrap=100).to_json()
    )


def test_another_family_changes_nothing(planted: Planted) -> None:
    points = planted({"autoregressive": 1.0, "masked": 20.0, "uniform": 3.0}, noise=0.01)
    two = [point for point in points if point.family != "uniform"]
    both = [fit_isoflop(p, bootstrap=100).to_json()["families"]["masked"] for p in (points, two)]
    assert both[0] == both[1]


def test_repeating_every_run_changes_no_value(planted: Planted) -> None:
    points = planted(noise=0.01)
    twice = [*points, *(replace(point, id="again") for point in points)]
    once, doubled = (values(fit_isoflop(p, bootstrap=0).to_json()) for p in (points, twice))
    for name in once:  # the scatter is known a little better, and with it the weights
        assert doubled[name] == pytest.approx(once[name], rel=0.03)


def test_units_change_no_exponent_multiplier_or_interval(planted: Planted) -> None:
    points = planted(noise=0.01)
    other = [
        replace(
            p,
            budget=p.budget * 1e3,
            flops=p.flops * 1e3,
            parameters=p.parameters / 1e6,
            tokens=p.tokens * 7,
            nats=p.nats / np.log(2),
        )
        for p in points
    ]
    fits = [fit_isoflop(p, bootstrap=200).to_json()["families"]["masked"] for p in (points, other)]
    for key in ("N_exponent", "D_exponent", "L_exponent", "multiplier_vs_autoregressive"):
        assert fits[1][key] == pytest.approx(fits[0][key], rel=1e-6)


def test_compute_under_another_convention_is_read_at_the_optimum(planted: Planted) -> None:
    """flops = budget (N / 1e6)^0.1: a straight line in log-log, so interpolation is exact."""
    points = [replace(p, flops=p.budget * (p.parameters / 1e6) ** 0.1) for p in planted()]
    family = fit_isoflop(points, bootstrap=0).to_json()["families"]["masked"]
    for row in family["budgets"]:
        assert row["flops"] == pytest.approx(row["budget"] * (row["N_opt"] / 1e6) ** 0.1)
    # N ~ C^0.55 and C' ~ C^(1 + 0.055)
    assert family["N_exponent"]["value"] == pytest.approx(0.55 / 1.055, abs=1e-9)


def test_noise_comes_from_residuals_else_from_standard_errors_else_is_unknown(
    planted: Planted,
) -> None:
    unknown = fit_isoflop(planted(sizes=3), bootstrap=100).to_json()["families"]["masked"]
    assert unknown["N_exponent"]["low"] is None
    assert "noise" in unknown["N_exponent"]["reason"]
    assert unknown["bands"]["L"][0]["low"] is None
    stated = fit_isoflop(planted(sizes=3, standard_error=0.01), bootstrap=100).to_json()
    exponent = stated["families"]["masked"]["N_exponent"]
    assert exponent["low"] < 0.55 < exponent["high"]
    assert any("not the noise between seeds" in line for line in stated["warnings"])
    exact = fit_isoflop(planted(sizes=5, standard_error=0.01), bootstrap=100).to_json()
    exponent = exact["families"]["masked"]["N_exponent"]
    assert exponent["high"] - exponent["low"] < 1e-5  # residuals are nil, and they decide


def test_bands_and_curves_are_all_a_figure_needs(planted: Planted) -> None:
    family = fit_isoflop(planted(noise=0.005), bootstrap=200).to_json()["families"]["masked"]
    for symbol, law in (("L", family["laws"]["L"]), ("N", family["laws"]["N"])):
        for row in family["bands"][symbol]:
            assert row["low"] < row["value"] < row["high"]
            assert row["value"] == pytest.approx(
                law["irreducible"] + law["k"] * row["flops"] ** law["exponent"]
            )
    for row, minimum in zip(family["curves"], family["budgets"], strict=True):
        lowest = min(row["line"], key=lambda sample: sample["nats"])
        assert lowest["nats"] == pytest.approx(minimum["L_opt"], abs=1e-3)
        u = (np.log(minimum["N_opt"]) - row["parabola"]["center"]) / row["parabola"]["width"]
        found = np.polynomial.polynomial.polyval(u, row["parabola"]["coefficients"])
        assert found == pytest.approx(minimum["L_opt"])


def test_bands_reach_half_a_decade_beyond_the_budgets(planted: Planted) -> None:
    fit = fit_isoflop(planted(), bootstrap=0).to_json()["families"]["masked"]
    for rows in fit["bands"].values():
        ends = [rows[0]["flops"], rows[-1]["flops"]]
        assert ends == pytest.approx([1e18 / 10**0.5, 1e20 * 10**0.5])


def test_the_extrapolation_of_the_reference_law_is_stated(planted: Planted) -> None:
    fit = fit_isoflop(planted({"autoregressive": 1.0, "masked": 2000.0}), bootstrap=0).to_json()
    assert fit["families"]["masked"]["extrapolation"] == pytest.approx(20.0, 1e-4)
    assert fit["families"]["autoregressive"]["extrapolation"] is None
    assert any("20 times below the smallest budget" in line for line in fit["warnings"])


def test_a_reference_without_noise_estimate_leaves_multipliers_without_interval(
    planted: Planted,
) -> None:
    points = [*planted({"autoregressive": 1.0}, sizes=3), *planted({"masked": 20.0}, noise=0.01)]
    fit = fit_isoflop(points, bootstrap=50).to_json()["families"]["masked"]
    assert fit["N_exponent"]["low"] is not None
    multiplier = fit["multiplier_vs_autoregressive"]
    assert multiplier["value"] == pytest.approx(20, rel=0.1)
    assert multiplier["low"] is None and "noise" in multiplier["reason"]


def test_families_have_noise_of_their_own(planted: Planted) -> None:
    points = planted({"masked": 1.0}, noise=0.01)
    twin = [replace(point, family="uniform") for point in points]
    fit = fit_isoflop([*points, *twin], bootstrap=50).to_json()["families"]
    assert fit["masked"]["N_exponent"]["value"] == fit["uniform"]["N_exponent"]["value"]
    assert fit["masked"]["N_exponent"]["low"] != fit["uniform"]["N_exponent"]["low"]


def test_lost_refits_are_counted_by_kind(planted: Planted) -> None:
    """Minima 0.1 inside the largest size and loud noise: many refits fall outside, some bend."""
    points = planted(off_center=-1.1, noise=0.05, rng=np.random.default_rng(8))
    fit = fit_isoflop(points, bootstrap=400)
    family = fit.families["masked"]
    found = fit.to_json()["families"]["masked"]["refits"]
    convex = family.minima.keep[1:]
    beyond = convex & ~family.minima.inside[1:]
    assert found == pytest.approx({"refused": 1 - convex.mean(), "edge": beyond.mean()})
    assert found["edge"] > 0.1 > found["refused"] > 0
    assert any("had their minimum beyond the sizes" in line for line in fit.to_json()["warnings"])


def test_a_floor_is_not_mistaken_for_scatter(planted: Planted) -> None:
    """A law that levels off leaves the straight line, but not the law with a floor."""
    budgets = np.geomspace(1e18, 1e22, 7)
    rng = np.random.default_rng(2)
    points = planted(irreducible=2.5, budgets=budgets, noise=0.0005, rng=rng)
    straight_ = fit_isoflop(points, bootstrap=200, irreducible=False).families["masked"]
    floored = fit_isoflop(points, bootstrap=200).families["masked"]
    assert straight_.spread.excess.L == 0
    assert floored.spread.excess.L > 0.05
    assert straight_.spread.excess.N == floored.spread.excess.N


def test_excess_scatter_is_seen_and_widens_the_interval(planted: Planted) -> None:
    rng = np.random.default_rng(5)
    points = planted(noise=0.002, between=0.05, sizes=6, rng=rng)
    fit = fit_isoflop(points, bootstrap=400)
    masked = fit.families["masked"]
    assert masked.spread.excess.N < 0.01
    within = np.std(masked.minima.log_n[1:], axis=0).mean()
    assert np.std(masked.spread.minima.log_n[1:], axis=0).mean() > 3 * within
    assert any("between budgets" in line for line in fit.to_json()["warnings"])


def test_the_seed_decides_the_intervals(planted: Planted) -> None:
    points = planted(noise=0.01)
    one, again, other = (
        fit_isoflop(points, bootstrap=50, seed=seed).to_json()["families"] for seed in (1, 1, 2)
    )
    assert one == again
    assert one["masked"]["N_exponent"]["low"] != other["masked"]["N_exponent"]["low"]


@pytest.mark.parametrize("seed", range(20))
def test_any_small_study_gives_strict_json(planted: Planted, seed: int) -> None:
    """Noise that swamps the curves: refusals, lost refits, wild intervals, never NaN."""
    rng = np.random.default_rng(seed)
    points = planted(
        budgets=np.geomspace(1e15, 1e16, int(rng.integers(1, 5))),
        sizes=int(rng.integers(1, 6)),
        noise=float(rng.choice([0.05, 0.5])),
        rng=rng,
    )
    value = fit_isoflop(points, bootstrap=60, irreducible=bool(seed % 2)).to_json()
    json.dumps(value, allow_nan=False)


def test_a_parabola_through_a_chinchilla_surface_is_biased_as_documented() -> None:
    """Noise-free: the exponent is right, N* is 5 to 12 % off on a grid four times off center."""
    e, a, b, alpha, beta = 1.8172, 482.01, 2085.43, 0.3478, 0.3658
    slope = beta / (alpha + beta)
    scale = (alpha * a / beta / b) ** (1 / (alpha + beta))

    def fit(off_center: float) -> tuple[float, np.ndarray]:
        points = []
        for c in np.geomspace(6e18, 1e20, 5):
            for n in scale * (c / 6) ** slope * off_center * np.geomspace(1 / 8, 8, 7):
                d = c / 6 / n
                points.append(Point("x", c, c, n, d, e + a * n**-alpha + b * d**-beta))
        family = fit_isoflop(points, bootstrap=0).to_json()["families"]["x"]
        truth = [scale * (row["flops"] / 6) ** slope for row in family["budgets"]]
        return family["N_exponent"]["value"], (
            np.array([row["N_opt"] for row in family["budgets"]]) / truth - 1
        )

    exponent, centered = fit(1.0)
    assert exponent == pytest.approx(slope, abs=1e-6)
    assert np.abs(centered).max() < 0.02
    exponent, off = fit(4.0)
    assert exponent == pytest.approx(slope, abs=1e-6)
    assert (off > 0.05).all() and (off < 0.12).all()


def test_bad_requests_are_refused(planted: Planted) -> None:
    with pytest.raises(InputError, match="no points"):
        fit_isoflop([])
    with pytest.raises(InputError, match="--bootstrap is -1"):
        fit_isoflop(planted(), bootstrap=-1)
    with pytest.raises(InputError, match="--seed is -3"):
        fit_isoflop(planted(), seed=-3)
