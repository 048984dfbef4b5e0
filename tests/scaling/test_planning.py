"""Plans: what laws say of a budget, which family to train, and what is said of doubtful numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from surfaces import ALPHA, BETA, TRUTH, A, B, E, planted_surface

from isodiff.errors import InputError
from isodiff.files import write_json
from isodiff.scaling import Point, fit_isoflop, fit_parametric
from isodiff.scaling.laws.law import LawResult
from isodiff.scaling.laws.load import PRINTED, known_laws
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric_result import ParametricResult, RelativeScatter
from isodiff.scaling.planning.family_plan import NOT_COVERED
from isodiff.scaling.planning.recommend import Plan, plan
from isodiff.scaling.point_sources import PUBLISHED, published_points
from isodiff.serialization import from_json, to_json, write_result

Planted = Callable[..., list[Point]]
TRUE = Surface.of(np.array([[np.log(A), ALPHA, np.log(B), BETA, np.log(E)]]))


@pytest.fixture(scope="module")
def two_families() -> ParametricResult:
    """A family that is better at every budget, and a bound that is worse by 10 %."""
    points = [replace(p, kind="exact") for p in planted_surface(noise=0.002)]
    worse = [
        replace(p, family="masked", kind="bound", nats=1.1 * p.nats)
        for p in planted_surface(noise=0.002, seed=1)
    ]
    return fit_parametric([*points, *worse], bootstrap=100).result()


@pytest.fixture(scope="module")
def published() -> Sequence[LawResult]:
    return known_laws("published:2602.15014")


def test_a_planted_surface_gives_its_optimum(two_families: ParametricResult) -> None:
    found = plan([two_families], 1e22)
    row, best = found.families["autoregressive"], TRUE.optimum(np.log([1e22]), SIX)
    assert row.N_interval[0] < np.exp(best.log_n[0, 0]) < row.N_interval[1]
    assert row.loss_interval[0] < best.nats[0, 0] < row.loss_interval[1]
    assert pytest.approx(1e22) == row.N * row.D * 6
    assert row.tokens_per_parameter == pytest.approx(row.D / row.N)
    assert row.epochs is None and row.repetition is None
    own = two_families.families["autoregressive"]
    law = [np.log(own.A), own.alpha, np.log(own.B), own.beta, np.log(own.E)]
    fitted = Surface.of(np.array([law])).optimum(np.log([1e22]), SIX)
    assert pytest.approx(np.exp(fitted.log_n[0, 0]), rel=1e-9) == row.N
    assert row.loss == pytest.approx(fitted.nats[0, 0], rel=1e-9)
    said = found.recommendation
    assert said.family == "autoregressive" and said.confidence == 1.0
    assert any("losses of masked are upper bounds" in reason for reason in said.reasons)
    # the law fitted without noise gives the optimum itself
    clean = fit_parametric(planted_surface(), bootstrap=0).result()
    row = plan([clean], 1e22).families["autoregressive"]
    assert pytest.approx(np.exp(best.log_n[0, 0]), rel=1e-6) == row.N
    assert row.loss == pytest.approx(best.nats[0, 0], rel=1e-8)
    assert row.loss_interval is None


def test_the_interval_of_a_run_is_wider_than_that_of_the_law(
    two_families: ParametricResult,
) -> None:
    noise = RelativeScatter(rms=0.05, robust=0.05)
    noisy = replace(
        two_families,
        families={k: replace(f, noise=noise) for k, f in two_families.families.items()},
    )
    first, second = (
        plan([law], 1e21).families["autoregressive"].loss_interval for law in (two_families, noisy)
    )
    assert second[1] - second[0] > 5 * (first[1] - first[0])


def test_power_laws_are_read_at_the_budget(planted: Planted) -> None:
    law = fit_isoflop(planted(noise=0.001, sizes=6), bootstrap=300).result()
    found = plan([law], 1e21)
    row = found.families["masked"]
    assert pytest.approx(1e8 * 100**0.55, rel=0.02) == row.N
    assert pytest.approx(1e21 / 6 / row.N, rel=0.02) == row.D
    assert row.loss == pytest.approx(3 * (1e21 / 20 / 1e19) ** -0.06, rel=2e-3)
    for name in ("N_interval", "D_interval", "loss_interval"):
        low, high = getattr(row, name)
        assert low < getattr(row, name.split("_")[0]) < high
    assert found.recommendation.family == "autoregressive"


@pytest.mark.parametrize(("budget", "far"), [(1e21, False), (1.01e22, True)])
def test_extrapolation_beyond_ten_times_is_flagged(
    two_families: ParametricResult, budget: float, far: bool
) -> None:
    found = plan([two_families], budget)
    assert found.families["masked"].far is far
    assert found.families["masked"].extrapolation == pytest.approx(budget / 1e21)
    assert any("beyond 10 times a law is a guess" in line for line in found.warnings) is far


def test_text_enough_changes_nothing(two_families: ParametricResult) -> None:
    free, enough = plan([two_families], 1e21), plan([two_families], 1e21, 1e14)
    for name, row in enough.families.items():
        assert row.N == free.families[name].N and row.loss == free.families[name].loss
        assert row.epochs == 1.0


def test_little_text_raises_the_loss_and_the_size(two_families: ParametricResult) -> None:
    free, little = plan([two_families], 1e21), plan([two_families], 1e21, 1e9)
    for name in ("autoregressive", "masked"):
        before, after = free.families[name], little.families[name]
        assert after.epochs == pytest.approx(after.D / 1e9) and after.epochs > 10
        assert after.loss > before.loss and after.D < before.D * 1.001
        assert pytest.approx(1e21) == after.D * after.N * 6
    ar, masked = (little.families[n] for n in ("autoregressive", "masked"))
    assert ar.repetition == "R_D between 15 and 31.93, as printed"
    assert ar.D < masked.D  # repeating pays longer for masked diffusion
    assert ar.N > masked.N
    # R_D is known to a factor of two: the interval is wider than with text enough
    wide, narrow = ar.loss_interval, free.families["autoregressive"].loss_interval
    assert wide[1] - wide[0] > narrow[1] - narrow[0]
    reasons = " ".join(little.recommendation.reasons)
    assert "autoregressive would see the text" in reasons
    assert (
        "the budget is below the 7.1e+21 FLOPs from which masked overtook autoregressive" in reasons
    )


def test_masked_diffusion_wins_where_text_is_scarce_and_compute_is_not(
    two_families: ParametricResult,
) -> None:
    """Ten per cent behind on fresh text, ahead on text seen hundreds of times."""
    assert plan([two_families], 1e22, 1e12).recommendation.family == "autoregressive"
    found = plan([two_families], 1e22, 3e7)
    assert found.recommendation.family == "masked"
    reasons = " ".join(found.recommendation.reasons)
    assert "the budget is above" in reasons and "masked would over-fit" in reasons


def test_an_isoflop_law_gives_no_loss_where_text_repeats(planted: Planted) -> None:
    law = fit_isoflop(planted(noise=0.001), bootstrap=50).result()
    row = plan([law], 1e20, 1e9).families["masked"]
    assert row.loss is None and row.epochs > 1
    assert row.repetition == "an IsoFLOP law knows only fresh text: no loss"
    found = plan([law], 1e20, 1e9).recommendation
    assert found.family is None and found.reasons == ("no law gives a loss here",)


def test_the_published_laws_agree_and_it_is_said(published: Sequence[LawResult]) -> None:
    """Both level off: at ten times the compute each is inside the other's interval."""
    found = plan(published, 1e21)
    assert found.law == "isoflop"  # it predicted the largest budgets better
    errors = {law.law: law.held_out_error for law in found.laws}
    assert errors["isoflop"] < errors["parametric"] < 0.02
    assert set(found.families) == {"autoregressive", "masked", "uniform", "interpolating"}
    assert found.recommendation.family == "autoregressive"
    assert any("the parametric law agrees" in r for r in found.recommendation.reasons)
    (second,) = found.families["autoregressive"].other_laws
    low, high = found.families["autoregressive"].loss_interval or (0, 0)
    assert second.law == "parametric" and low < (second.loss or 0) < high
    assert plan(published, 1e21, 1e9).law == "parametric"


def test_laws_that_disagree_are_said_to(published: Sequence[LawResult]) -> None:
    """E = 0 is a form that these runs contradict by more than its interval."""
    points = published_points("published:2602.15014")
    straight = fit_isoflop(points, bootstrap=100, irreducible=False).result()
    laws = [straight, *(law for law in published if law.law == "parametric")]
    reasons = plan(laws, 1e21).recommendation.reasons
    assert any("the form of the law matters more" in reason for reason in reasons)


def test_batch_and_rate_come_with_their_source(published: Sequence[LawResult]) -> None:
    row = plan(published, 3e19).families["masked"]
    assert row.batch_tokens.value == pytest.approx(10**-2.4 * row.D**0.8225)
    assert row.batch_tokens.source == "arXiv 2512.10858" and not row.batch_tokens.beyond
    assert "LaProp" in row.learning_rate.statement
    row = plan(published, 3e19).families["autoregressive"]
    assert row.batch_tokens == NOT_COVERED and NOT_COVERED.value is None
    assert any("batch of" in line for line in plan(published, 1e22).warnings)


@pytest.mark.parametrize("arxiv", [*PUBLISHED, *PRINTED])
def test_every_published_law_makes_a_plan(arxiv: str) -> None:
    laws = known_laws(f"published:{arxiv}")
    for unique in (None, 1e9):
        found = plan(laws, 1e20, unique)
        value = json.loads(json.dumps(to_json(found), allow_nan=False))
        assert to_json(from_json(Plan, value, "")) == value
        for row in found.families.values():
            assert row.N > 1e7 and row.D > 1e8
            assert row.loss is None or 1.5 < row.loss < 4


def test_printed_laws_have_no_intervals_but_know_of_cooldown() -> None:
    found = plan(known_laws("published:2512.10858"), 1e21)
    row = found.families["masked"]
    assert row.loss == pytest.approx(2.472, abs=1e-3) and row.loss_interval is None
    assert row.loss_cooled == pytest.approx(row.loss / 1.0245)
    assert row.loss_cooled == pytest.approx(2.422, rel=0.01)  # what the 3B run reached
    assert found.recommendation.confidence is None


def test_a_law_travels_by_file(two_families: ParametricResult, tmp_path: Path) -> None:
    file = tmp_path / "laws.json"
    write_result(file, two_families)
    assert plan(known_laws(str(file)), 1e21) == plan([two_families], 1e21)


def test_bad_input_is_refused_with_the_reason(
    two_families: ParametricResult, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no published laws .*; did you mean"):
        known_laws("published:2602.15015")
    with pytest.raises(InputError, match="does not exist"):
        known_laws(str(tmp_path / "none.json"))
    write_json(tmp_path / "other.json", {"a": 1})
    with pytest.raises(InputError, match="holds no law; write one with isodiff fit"):
        known_laws(str(tmp_path / "other.json"))
    old = {"law": "isoflop", "families": {"masked": {"laws": {}}}}
    write_json(tmp_path / "old.json", old)
    with pytest.raises(InputError, match="older version"):
        known_laws(str(tmp_path / "old.json"))
    for budget in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="the budget is"):
            plan([two_families], budget)
    with pytest.raises(InputError, match="--data-limit is"):
        plan([two_families], 1e20, -5.0)


def test_families_without_a_law_are_left_out(planted: Planted) -> None:
    points = [p for p in planted() if p.family == "masked" or p.budget == 1e18]
    law = fit_isoflop(points, bootstrap=0).result()
    assert set(plan([law], 1e20).families) == {"masked"}
    alone = fit_isoflop([p for p in points if p.family == "autoregressive"], bootstrap=0).result()
    with pytest.raises(InputError, match="no law for any family"):
        plan([alone], 1e20)


def test_truth_is_what_the_tests_say() -> None:
    assert TRUTH["E"] == E and TRUE.irreducible[0] == pytest.approx(E)
