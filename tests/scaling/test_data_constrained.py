"""Repeated data: planted R_D and R_N, the published objective and its flat profile, limited text."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.errors import InputError
from isodiff.scaling import Point, fit_data_constrained, published_points
from isodiff.scaling.laws.data_constrained import fit_worth
from isodiff.scaling.laws.effective_data import AS_NEW, Limited, Repeats, Saturating, crossover
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric import Runs, ordered

FRESH = Surface.of(np.array([[np.log(A), ALPHA, np.log(B), BETA, np.log(E)]]))


def repeated_study(
    r_d: float, r_n: float, *, noise: float = 0.0, family: str = "autoregressive", seed: int = 0
) -> list[Point]:
    """Sizes, texts and epochs crossed; losses by the saturating form."""
    rng = np.random.default_rng(seed)
    crossed = list(product(np.geomspace(1e7, 3e9, 5), (1e8, 1e9, 1e10), (1.0, 2, 5, 12, 40, 150)))
    n, u, e = (np.log(x) for x in zip(*crossed, strict=True))
    at = Repeats.of(n, u + e, u, FRESH.size_for(u)[0])
    worth = Saturating().effective(np.log([[r_d, r_n]]), at)
    nats = FRESH.nats(worth.log_n, worth.log_d)[0] * np.exp(noise * rng.standard_normal(len(n)))
    return [
        Point(family, 6 * x * t, 6 * x * t, x, t, float(loss), kind=None, unique_tokens=float(text))
        for x, t, text, loss in zip(np.exp(n), np.exp(u + e), np.exp(u), nats, strict=True)
    ]


@pytest.fixture(scope="module")
def published() -> dict:
    return fit_data_constrained(published_points("published:2305.16264"), bootstrap=20).to_json()


@pytest.mark.parametrize("printed", [FRESH, None], ids=["constants given", "fitted together"])
def test_planted_decay_is_recovered(printed: Surface | None) -> None:
    points = repeated_study(15.0, 5.0)
    found = fit_worth("x", Runs(ordered(points)), printed, 0, 0).saturating
    assert np.exp(found.theta[5:]) == pytest.approx([15.0, 5.0], rel=1e-6)
    assert found.surface.alpha[0] == pytest.approx(ALPHA, rel=1e-6)
    assert found.objective < 1e-15


def test_the_published_objective_and_a_better_one(published: dict) -> None:
    assert published["published"] == {"R_D": 15.387756, "R_N": 5.309743, "objective": 0.0158259}
    assert published["objective"] == pytest.approx(0.01580466, rel=1e-6)
    assert published["R_D"] == pytest.approx(95.4, abs=0.1)
    assert published["R_N"] == pytest.approx(1.706, abs=1e-3)
    assert published["num_points"] == 182


def test_our_objective_at_the_published_constants_is_the_published_one() -> None:
    from isodiff.scaling.fitting.huber import rho
    from isodiff.scaling.laws.load import fresh_constants

    data = published_points("published:2305.16264")
    runs = Runs(ordered(data.points))
    printed = fresh_constants(data.source, "autoregressive")
    fit = fit_worth("x", runs, printed, 0, 0)
    theta = fit.saturating.theta.copy()
    theta[5:] = np.log([15.387756, 5.309743])
    there = rho(fit.saturating.law.log_nats(theta[None])[0] - runs.log_nats).sum()
    assert there == pytest.approx(0.0158259, rel=5e-6)
    useful = fit.saturating.law.at
    largest = useful.log_un < useful.log_n
    assert np.exp(useful.log_un - useful.log_u)[largest] == pytest.approx(0.05099, rel=2e-3)
    # repeated tokens as good as new, all else equal: what ignoring repetition would cost
    assert fit.as_new.objective > 2 * fit.saturating.objective


def test_the_profile_is_flat(published: dict) -> None:
    """Objectives along R_D, from the reference; none of R_D >= 8 is rejected, however large."""
    r, objective = np.array(published["profile"]).T
    for at, wanted in (
        (8, 0.015958),
        (12, 0.015855),
        (30, 0.015821),
        (50, 0.015808),
        (200, 0.015816),
    ):
        assert np.interp(np.log(at), np.log(r), objective) == pytest.approx(wanted, rel=1e-3)
    for at, wanted in ((500, 0.015857), (1e4, 0.015917)):
        assert np.interp(np.log(at), np.log(r), objective) == pytest.approx(wanted, rel=1e-3)
    low, high = published["intervals"]["R_D"]
    assert 3 < low < 8 and high is None
    family = published["families"]["autoregressive"]
    assert family["identified"] == {"R_D": False, "R_N": True}
    assert any("R_D is not identified" in line for line in published["warnings"])


def test_all_seven_constants_together(published: dict) -> None:
    """Reference: objective .00657 at R_D about 25, R_N without end."""
    found = published["families"]["autoregressive"]["all_fitted_together"]
    assert found["objective"] == pytest.approx(0.00657, rel=2e-3)
    assert found["R_D"] == pytest.approx(25, abs=1)
    assert found["R_N"] > 1e6


def test_the_json_is_json(published: dict) -> None:
    assert json.loads(json.dumps(published, allow_nan=False)) == published
    assert {"R_D", "R_N", "objective", "published", "profile"} <= published.keys()
    rows = published["families"]["autoregressive"]["draws"]
    assert len(rows["rows"]) == 20 and len(rows["rows"][0]) == len(rows["parameters"]) == 7


def test_a_study_that_repeats_enough_identifies_the_decay() -> None:
    found = fit_data_constrained(repeated_study(15.0, 5.0, noise=0.003), bootstrap=20).to_json()
    family = found["families"]["autoregressive"]
    assert family["identified"]["R_D"]
    low, high = found["intervals"]["R_D"]
    assert low < 15 < high < 30
    best = min(family["models"], key=lambda row: row["aicc"])
    assert best["model"] == "saturating"
    assert family["validation"]["rmse"] < 0.01
    assert found["overtaking"] == []


def test_bad_points_are_refused_with_the_reason() -> None:
    points = repeated_study(15.0, 5.0)
    with pytest.raises(InputError, match="do not say how long their text is"):
        fit_data_constrained([replace(points[0], unique_tokens=None), *points[1:]])
    with pytest.raises(InputError, match="no run of autoregressive sees its text more than once"):
        fit_data_constrained([replace(p, unique_tokens=p.tokens) for p in planted_surface()])
    with pytest.raises(InputError, match="9 runs; up to 10 constants"):
        fit_data_constrained(points[::10])


def limited(r_d: float, r_n: float = 1e17, **constants: float) -> Limited:
    observed = {"E": E, "A": A, "B": B, **constants}
    law = np.array(
        [[np.log(observed["A"]), ALPHA, np.log(observed["B"]), BETA, np.log(observed["E"])]]
    )
    return Limited(Surface.of(law), Saturating(), np.log([[r_d, r_n]]), SIX)


def test_with_text_enough_the_limited_optimum_is_the_free_one() -> None:
    law = limited(15.0)
    free = law.surface.optimum(np.log([1e20]), SIX)
    found = law.optimum(np.log(1e20), np.log(1e15))
    assert found.log_n[0, 0] == pytest.approx(free.log_n[0, 0], abs=1e-6)
    assert found.nats[0, 0] == pytest.approx(free.nats[0, 0], rel=1e-12)


def test_little_text_wants_a_larger_network_and_costs_loss() -> None:
    law, log_c = limited(15.0), float(np.log(1e20))
    free, bound = (law.optimum(log_c, float(np.log(u))) for u in (1e15, 1e9))
    assert bound.log_n[0, 0] > free.log_n[0, 0]
    assert bound.nats[0, 0] > free.nats[0, 0]

    def loss(x: float) -> float:
        return float(law.nats(np.array([[x]]), log_c, float(np.log(1e9)))[0, 0])

    at = bound.log_n[0, 0]
    best = minimize_scalar(
        loss, bounds=(at - 2, at + 2), method="bounded", options={"xatol": 1e-10}
    )
    assert at == pytest.approx(best.x, abs=1e-5)


def test_a_family_that_repeats_better_overtakes_where_it_should() -> None:
    """A floor 5 % higher but a text worth 30 times more: behind on little compute, ahead on much."""
    reference, family = limited(15.0), limited(500.0, B=B * 1.4)
    log_u = float(np.log(1e8))
    found = crossover(family, reference, log_u, (np.log(1e15), np.log(1e24)))
    assert found is not None
    before, after = (
        float(
            family.optimum(found + s, log_u).nats[0, 0]
            - reference.optimum(found + s, log_u).nats[0, 0]
        )
        for s in (-0.05, 0.05)
    )
    assert before > 0 > after
    larger = crossover(family, reference, log_u + 2, (np.log(1e15), np.log(1e26)))
    assert larger is not None and larger > found + 2
    assert crossover(reference, family, log_u, (found + 1, found + 3)) is None


def test_a_study_of_two_families_says_who_overtakes_whom() -> None:
    diffusion = [
        replace(p, nats=p.nats * 1.03)
        for p in repeated_study(400.0, 1e15, noise=0.002, family="masked")
    ]
    found = fit_data_constrained(
        [*repeated_study(8.0, 1e15, noise=0.002), *diffusion], bootstrap=0
    ).to_json()
    rows = found["overtaking"]
    assert [row["family"] for row in rows] == ["masked"] * 3
    assert rows[0]["unique_tokens"] == pytest.approx(1e8)
    assert rows[0]["flops"] is not None and rows[0]["flops"] < 1e23
    assert np.log(found["families"]["masked"]["R_D"]) <= AS_NEW
