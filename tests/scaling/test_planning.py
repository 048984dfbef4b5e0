"""Plans: what laws say of a budget, which family to train, and what is said of doubtful numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from surfaces import ALPHA, BETA, TRUTH, A, B, E, planted_surface

from isodiff.cli.plan import workloads
from isodiff.errors import InputError
from isodiff.files import write_json
from isodiff.network.shape import Shape
from isodiff.runs.spec import Recipe
from isodiff.scaling import Point, fit_isoflop, fit_parametric
from isodiff.scaling.laws.law import LawResult, Ranges
from isodiff.scaling.laws.load import PRINTED, known_laws
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric_result import ParametricResult, RelativeScatter
from isodiff.scaling.planning.hardware import Devices, Setting
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


@pytest.mark.parametrize(
    ("budget", "times", "said"),
    [
        (1e21, 1.0, ""),
        (1e18, 1.0, ""),
        (5e21, 5.0, "5 times the largest"),
        (2e17, 0.2, "5 times below the smallest"),
        (1.01e22, 10.1, "10.1 times the largest"),
        (0.99e17, 0.099, "10.1 times below the smallest"),
    ],
)
def test_extrapolation_is_flagged_on_both_sides(
    two_families: ParametricResult, budget: float, times: float, said: str
) -> None:
    found = plan([two_families], budget)
    row, far = found.families["masked"], not 0.1 < times < 10
    assert row.far is far and row.extrapolation == pytest.approx(times)
    warnings = " ".join(found.warnings)
    assert ("beyond 10 times a law is a guess" in warnings) is far
    assert said in warnings and ("fitted budget" in warnings) is bool(said)


@pytest.mark.parametrize("budget", [1.0, 0.9e16, 1.1e23, 1e30])
def test_no_law_is_read_beyond_a_hundred_times_unless_asked(
    two_families: ParametricResult, budget: float
) -> None:
    with pytest.raises(InputError, match=r"fitted budget; laws are read up to 100 times beyond"):
        plan([two_families], budget)
    found = plan([two_families], budget, extrapolate=True)
    assert found.families["masked"].far and "a law is a guess" in " ".join(found.warnings)


@pytest.mark.parametrize("budget", [1.1e16, 0.9e23])
def test_within_a_hundred_times_it_is(two_families: ParametricResult, budget: float) -> None:
    assert plan([two_families], budget).recommendation.family == "autoregressive"


def test_families_whose_runs_are_too_far_are_left_out(two_families: ParametricResult) -> None:
    short = replace(two_families.families["masked"], range=Ranges(C=(1e16, 1e18)))
    law = replace(two_families, families={**two_families.families, "masked": short})
    found = plan([law], 1e21)
    assert set(found.families) == {"autoregressive"}
    assert "masked left out: 1e+21 FLOPs are 1e+03 times" in found.warnings[0]
    assert set(plan([law], 1e21, extrapolate=True).families) == {"autoregressive", "masked"}


@pytest.mark.parametrize("limit", [1.6e11, 2e11, 1e15])
@pytest.mark.parametrize("source", ["two_families", "published"])
def test_a_limit_that_does_not_bind_changes_nothing(
    source: str, limit: float, request: pytest.FixtureRequest
) -> None:
    fixture = request.getfixturevalue(source)
    laws = [fixture] if source == "two_families" else fixture
    free, enough = plan(laws, 1e21), plan(laws, 1e21, limit)
    assert max(row.D for row in free.families.values()) < limit
    rows = {name: replace(row, epochs=None) for name, row in enough.families.items()}
    assert all(row.epochs == 1.0 for row in enough.families.values())
    assert replace(enough, data_limit=None, families=rows) == free


@pytest.mark.parametrize("limit", [2.5e7, 1e8, 1e9, 1e10])
def test_what_was_never_measured_on_repeated_text_is_not_ranked(
    published: Sequence[LawResult], limit: float
) -> None:
    found = plan(published, 1e21, limit)
    for name in ("uniform", "interpolating"):
        row = found.families[name]
        assert row.epochs > 1 and row.loss is None and row.loss_interval is None
        assert "no R_D was measured" in (row.unranked or "") and row.least_loss > 2
        assert all(other.loss is None for other in row.other_laws)
        assert found.recommendation.family != name
    assert any("the parametric law is followed" in line for line in found.warnings)


@pytest.mark.parametrize(
    ("budget", "limit"), [(1e21, 2.5e7), (1e21, 1e8), (3e20, 1e8), (1e22, 1e9)]
)
def test_laws_against_published_evidence_leave_it_open(
    published: Sequence[LawResult], budget: float, limit: float
) -> None:
    """AR is first by the laws, where masked diffusion was found to have overtaken it."""
    found = plan(published, budget, limit)
    critical = found.families["masked"].critical_compute
    assert budget > critical.value
    said = found.recommendation
    assert said.family is None and said.confidence is None
    assert said.undetermined[:2] == ("autoregressive", "masked")
    assert said.title.startswith("Not determined: autoregressive or masked")
    lowest = found.families["autoregressive"].loss
    unknown = {n for n, row in found.families.items() if (row.least_loss or 9) < lowest}
    assert unknown <= set(said.undetermined)


def test_evidence_that_agrees_recommends(published: Sequence[LawResult]) -> None:
    found = plan(published, 1e20, 1e9)  # C_crit is 7e21
    assert found.recommendation.family == "autoregressive" and not found.recommendation.undetermined
    assert any("below the 7.1e+21 FLOPs" in reason for reason in found.recommendation.reasons)


@pytest.mark.parametrize("limit", [2.5e7, 1e8])
def test_no_loss_is_ranked_at_epochs_that_over_fit(
    published: Sequence[LawResult], limit: float
) -> None:
    row = plan(published, 1e21, limit).families["masked"]
    assert row.epochs > row.best_epochs.value
    assert row.loss is None and "to over-fit" in row.unranked
    few = plan(published, 1e20, 1e9).families["masked"]
    assert 1 < few.epochs < few.best_epochs.value and few.loss is not None


def test_another_law_that_picks_another_family_leaves_it_open(
    two_families: ParametricResult,
) -> None:
    own = two_families.families
    swapped = {"autoregressive": own["masked"], "masked": own["autoregressive"]}
    other = replace(two_families, law="other", families=swapped)
    said = plan([two_families, other], 1e21).recommendation
    assert said.family is None and set(said.undetermined) == {"autoregressive", "masked"}
    assert any("law would pick" in reason for reason in said.reasons)


def test_laws_are_compared_on_the_lowest_loss_of_the_same_budget(
    published: Sequence[LawResult],
) -> None:
    """Runs that scatter about a law do not count against it: both are held to the minimum."""
    parametric = next(law for law in published if law.law == "parametric")
    isoflop = next(law for law in published if law.law == "isoflop")
    for name, family in parametric.families.items():
        held = family.validation
        log_n = np.log([run.parameters for run in held.runs])
        low = [
            np.polynomial.Polynomial.fit(log_n, [getattr(run, what) for run in held.runs], 2)
            for what in ("predicted", "observed")
        ]
        seen, wanted = (float(p(p.deriv().roots()[0])) for p in low)
        assert family.held_out_error == pytest.approx(abs(seen / wanted - 1), rel=1e-6)
        assert wanted == pytest.approx(isoflop.families[name].validation.L.observed, rel=2e-3)


def test_errors_are_compared_over_the_families_that_all_laws_have(
    two_families: ParametricResult,
) -> None:
    alone = replace(two_families, law="alone", families={"masked": two_families.families["masked"]})
    first, second = plan([two_families, alone], 1e21).laws
    assert first.held_out_error == second.held_out_error
    assert first.held_out_error == two_families.families["masked"].held_out_error


def test_a_recommendation_can_be_carried_out(published: Sequence[LawResult]) -> None:
    setting = workloads(published, Setting(devices=Devices.parse("h100x8"), price=2.0))
    found = plan(published, 1e20, None, setting)
    row = found.families[found.recommendation.family]
    shape = Shape.parse(row.shape)
    assert shape.core_parameters == pytest.approx(row.N, rel=0.05)
    recipe = Recipe(
        optimizer=row.optimizer,
        batch_size=row.batch_size,
        learning_rate=row.learning_rate.value,
        width_power=0.0,
    )
    assert recipe.peak(shape.width) == pytest.approx(row.learning_rate.value)
    assert row.batch_size == round(row.batch_tokens.value / 2048)
    assert row.training.price == pytest.approx(2 * row.training.device_hours)
    assert row.training.device_hours == pytest.approx(8 * row.training.hours)
    served = row.serving
    assert served.tokens_per_second == pytest.approx(8 * row.inference.tokens_per_second)
    assert served.price_per_million_tokens == pytest.approx(
        1e6 * 8 * 2 / 3600 / served.tokens_per_second
    )
    reasons = " ".join(found.recommendation.reasons)
    for said in (f"train {row.shape} with adamw", "GPU-hours, for", "for a million tokens"):
        assert said in reasons


def test_what_cannot_be_served_fast_enough_is_not_recommended(
    published: Sequence[LawResult],
) -> None:
    best = plan(published, 1e21, None, workloads(published, Setting()))
    speeds = {name: row.serving.tokens_per_second for name, row in best.families.items()}
    fastest = max(speeds, key=speeds.__getitem__)
    assert best.recommendation.family != fastest
    needed = 1.01 * speeds["autoregressive"]
    found = plan(published, 1e21, None, workloads(published, Setting(throughput=needed)))
    assert found.recommendation.family == fastest
    assert any("cannot be served" in reason for reason in found.recommendation.reasons)
    nobody = plan(published, 1e21, None, workloads(published, Setting(throughput=1e12)))
    assert nobody.recommendation.family is None
    assert nobody.recommendation.reasons[0] == "no family is fast enough"


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
    said = found.recommendation  # but at more epochs than were ever useful
    assert said.family is None and "masked" in said.undetermined
    reasons = " ".join(said.reasons)
    assert "the budget is above" in reasons and "masked is not ranked" in reasons
    fewer = plan([two_families], 1e21, 1e9).families["masked"]
    assert fewer.loss is not None and fewer.unranked is None


def test_an_isoflop_law_gives_no_loss_where_text_repeats(planted: Planted) -> None:
    law = fit_isoflop(planted(noise=0.001), bootstrap=50).result()
    row = plan([law], 1e20, 1e9).families["masked"]
    assert row.loss is None and row.epochs > 1
    assert row.repetition == "an IsoFLOP law knows only fresh text: no loss"
    found = plan([law], 1e20, 1e9).recommendation
    assert found.family is None and found.title == "Recommended: nothing"
    assert found.reasons == ("no law gives a loss here that can be ranked",)


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


def test_batch_and_rate_are_of_an_optimizer_that_exists_here(
    published: Sequence[LawResult],
) -> None:
    found = plan(published, 1e20)
    for name, row in found.families.items():
        assert row.batch_tokens.value == pytest.approx(0.58 * row.D**0.571)
        assert row.learning_rate.value == pytest.approx(1.79 * row.N**-0.713 * row.D**0.307)
        assert row.batch_tokens.source == row.learning_rate.source == "arXiv 2503.04715"
        assert "AdamW" in row.learning_rate.statement
        # measured on autoregressive models only
        assert row.learning_rate.beyond is row.batch_tokens.beyond is (name != "autoregressive")
    masked = found.families["masked"]
    assert masked.critical_batch_tokens.value == pytest.approx(10**-2.4 * masked.D**0.8225)
    assert masked.critical_batch_tokens.source == "arXiv 2512.10858"
    assert found.families["autoregressive"].critical_batch_tokens is None
    assert any("batch and learning rate of" in line for line in found.warnings)


@pytest.mark.parametrize("arxiv", [*PUBLISHED, *PRINTED])
def test_every_published_law_makes_a_plan(arxiv: str) -> None:
    laws = known_laws(f"published:{arxiv}")
    for unique in (None, 1e9):
        found = plan(laws, 1e20, unique, extrapolate=True)
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
