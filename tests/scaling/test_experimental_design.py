"""Which runs to train next: the update is exact, the proposal beats chance, bad input is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.cli.plan_text import next_text
from isodiff.errors import InputError
from isodiff.network.shape import Shape
from isodiff.scaling import Point, fit_isoflop, fit_parametric, published_points
from isodiff.scaling.fitting.newton import minimize
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric import Runs
from isodiff.scaling.planning.candidate_runs import (
    CandidateRun,
    best_runs,
    budgets_below,
    budgets_to_try,
    candidate_runs,
    sizes,
    updated,
)
from isodiff.scaling.planning.experimental_design import (
    Proposal,
    best_nats,
    log_compute,
    next_runs,
    noise_of_a_run,
)
from isodiff.serialization import from_json, to_json

WORSE = 1.02  # factor on A and B of the second family


def candidate(flops: float) -> CandidateRun:
    return CandidateRun(
        family="any", flops=flops, parameters=1.0, tokens=1.0, shape=None, again=False
    )


def study(seed: int, noise: float = 0.005, times: float = 1.0) -> list[Point]:
    """24 autoregressive runs, and 12 masked ones with `times` the noise."""
    first = planted_surface(noise=noise, seed=2 * seed, sizes=4)
    worse = {"A": WORSE * A, "B": WORSE * B}
    other = planted_surface(
        "masked", noise=times * noise, seed=2 * seed + 1, num_budgets=3, sizes=4, **worse
    )
    return [*first, *other]


def test_updating_is_conditioning_a_gaussian_on_every_run_at_once() -> None:
    """Brute force: parameters with a covariance, losses and q linear in them, precisions added up."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(400, 5)) @ rng.normal(size=(5, 5))
    x, c, sigma = rng.normal(size=(8, 5)), rng.normal(size=5), rng.uniform(0.1, 2, 8)
    joint = np.cov(np.vstack([draws @ c, x @ draws.T]))
    covariance, precision = joint, np.linalg.inv(np.cov(draws.T))
    for i in (2, 5, 2, 7):
        covariance = updated(covariance, i + 1, sigma[i])
        precision = precision + np.outer(x[i], x[i]) / sigma[i] ** 2
        left = np.linalg.inv(precision)
        assert covariance[0, 0] == pytest.approx(c @ left @ c, rel=1e-9)
        np.testing.assert_allclose(covariance[1:, 1:], x @ left @ x.T, atol=1e-9)
        np.testing.assert_allclose(covariance[0, 1:], x @ left @ c, atol=1e-9)


def test_the_first_pick_is_the_best_of_all_and_each_pick_tells_what_it_leaves() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(12, 5))
    covariance, sigma = root @ root.T, rng.uniform(0.3, 1, 11)
    tried = [candidate(1.0)] * 11
    after = [updated(covariance, i + 1, sigma[i])[0, 0] for i in range(11)]
    picks = best_runs(covariance, sigma, tried, 3, 99.0)
    assert picks[0].error_after ** 2 == pytest.approx(min(after))
    best = int(np.argmin(after))
    assert picks[0].known == pytest.approx(covariance[best + 1, best + 1] ** 0.5)
    product = picks[0].known * covariance[0, 0] ** 0.5
    assert picks[0].correlation == pytest.approx(covariance[0, best + 1] / product)
    second = updated(covariance, best + 1, sigma[best])
    least = min(updated(second, i + 1, sigma[i])[0, 0] for i in range(11))
    assert picks[1].error_after ** 2 == pytest.approx(least)
    assert len(picks) == 3 and picks[2].error_after < picks[1].error_after < picks[0].error_after


def test_the_price_is_kept_and_the_better_of_both_rules_is_proposed() -> None:
    """One dear run that tells all, or ten cheap ones that tell a little each."""
    q = np.array([1.0, *np.full(10, 0.3), 0.99])
    covariance = np.outer(q, q) + np.diag([0, *np.full(10, 0.01), 0.01])
    sigma, dear = np.full(11, 1.0), 10.0
    tried = [*(candidate(1.0) for _ in range(10)), candidate(dear)]
    picks = best_runs(covariance, sigma, tried, 10, dear)
    by_one = updated(covariance, 11, 1.0)[0, 0]
    assert picks[-1].error_after ** 2 == pytest.approx(min(by_one, ten_cheap(covariance)))
    assert sum(pick.flops for pick in picks) <= dear
    assert [pick.flops for pick in best_runs(covariance, sigma, tried, 1, dear)] == [dear]
    assert [pick.flops for pick in best_runs(covariance, sigma, tried, 1, 9.0)] == [1.0]
    assert best_runs(covariance, sigma, tried, 3, 0.5) == ()


def ten_cheap(covariance: np.ndarray) -> float:
    for i in range(10):
        covariance = updated(covariance, i + 1, 1.0)
    return float(covariance[0, 0])


def test_the_noise_of_a_run_is_what_it_counts_for_in_a_robust_fit() -> None:
    """Of a mean by Huber's loss: many runs with one more, against the variance of the mean alone."""
    for scale in (2e-4, 1e-3, 5e-3):
        fit = fit_parametric(planted_surface(noise=scale, sizes=20), bootstrap=0)
        family = fit.families["autoregressive"]
        s = float(np.sqrt(family.residuals @ family.residuals / 115))
        draws = s * np.random.default_rng(0).standard_normal((3000, 40))
        middle = np.zeros((3000, 1))
        for _ in range(200):  # each mean by steps of mean psi
            middle += np.clip(draws - middle, -1e-3, 1e-3).mean(axis=1, keepdims=True)
        wanted = 40 * float(middle.var()) * 115 / 113
        assert noise_of_a_run(family) ** 2 == pytest.approx(wanted, rel=0.1)


def test_few_residuals_leave_the_noise_unsure() -> None:
    """Nine runs, four residuals beyond the parameters: twice the variance, of least absolute deviations."""
    points = planted_surface(noise=0.05, num_budgets=3, sizes=3)
    family = fit_parametric(points, bootstrap=0).families["autoregressive"]
    s = float(family.residuals @ family.residuals / 4)
    assert noise_of_a_run(family) ** 2 == pytest.approx(s * np.pi / 2 * 4 / 2, rel=0.03)


def test_the_multiplier_inverts_the_law_of_the_reference() -> None:
    fit = fit_parametric(planted_surface(noise=0.003), bootstrap=30).families["autoregressive"]
    log_c = np.log(np.geomspace(1e19, 1e22, 31))
    nats = best_nats(fit, log_c)
    best = fit.surface.optimum(log_c[:, None], fit.runs.cost).nats[:, 0]
    assert nats == pytest.approx(best, rel=1e-4) and (nats >= best - 1e-12).all()
    np.testing.assert_allclose(log_compute(fit, nats, 1e21), log_c, atol=1e-6)
    assert np.isnan(log_compute(fit, np.full(31, 0.01), 1e21)).all()


def test_a_proposal_says_what_it_knows() -> None:
    found = next_runs(study(0), 3, bootstrap=300)
    value = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert from_json(Proposal, value, "") == found
    assert found.families == ("autoregressive", "masked") and found.target == 1e21
    assert found.allowance == 3e21 >= found.flops == sum(run.flops for run in found.runs)
    errors = [found.error, *(run.error_after for run in found.runs)]
    assert errors == sorted(errors, reverse=True) and found.error_after == errors[-1]
    truth = [surface_loss(C=1e21, times=times) for times in (1.0, WORSE)]
    assert abs(found.value - (truth[1] - truth[0])) < 4 * found.error
    text = next_text(found)
    assert "At 1e+21 FLOPs autoregressive is ahead of masked by" in text and "% sure" in text
    assert next_runs(study(0), 3, bootstrap=300) == found
    assert next_runs(study(0)[::-1], 3, bootstrap=300) == found


def test_runs_go_to_the_family_that_is_known_least() -> None:
    for seed in range(3):
        found = next_runs(study(seed, times=4.0), 2, bootstrap=300)
        assert {pick.family for pick in found.runs} == {"masked"}


def surface_loss(*, C: float, times: float = 1.0) -> float:
    one = np.array([[np.log(times * A), ALPHA, np.log(times * B), BETA, np.log(E)]])
    return float(Surface.of(one).optimum(np.log([C]), SIX).nats[0, 0])


@pytest.mark.parametrize("target", [None, 3e20])
def test_the_multiplier_is_that_of_the_fit(target: float | None) -> None:
    points = published_points("published:2602.15014")
    found = next_runs(points, 1, verdict="multiplier", target=target, bootstrap=40)
    at = None if target is None else float(np.log(target))
    wanted = fit_isoflop(points).multiplier(found.families[0], at)
    assert found.multiplier == wanted
    assert np.exp(found.value) == pytest.approx(wanted.value)
    assert 0 < found.error_after < found.error
    assert f"{wanted.value:.3g} [{wanted.low:.3g}, {wanted.high:.3g}] times" in next_text(found)


def test_the_multiplier_is_a_verdict_too() -> None:
    found = next_runs(study(0), 2, verdict="multiplier", target=1e21, bootstrap=300)
    assert found.families == ("masked", "autoregressive")
    low, high = 20.0, np.log(1e24)
    wanted = surface_loss(C=1e21, times=WORSE)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if surface_loss(C=np.exp(middle)) > wanted else (low, middle)
    truth = np.log(1e21) - low
    assert abs(found.value - truth) < 4 * found.error < 4
    assert "masked needs the compute of autoregressive for equal loss" in next_text(found)


def spread(points: Sequence[Point], more: Sequence[CandidateRun], noise: dict[str, float]) -> float:
    """Standard deviation of the lead at 1e21 FLOPs over many planted studies with these runs."""
    best = {}
    for name, times in (("autoregressive", 1.0), ("masked", WORSE)):
        own = [p for p in points if p.family == name]
        own += [
            Point(name, c.flops, c.flops, c.parameters, c.tokens, 1.0)
            for c in more
            if c.family == name
        ]
        made = Runs(tuple(own)).design
        truth = made.from_families([[np.log(times * A), ALPHA, np.log(times * B), BETA, np.log(E)]])
        clean = made.terms.log_nats(truth[None])[0]
        rng = np.random.default_rng(len(name))
        fresh = clean + noise[name] * rng.standard_normal((200, len(own)))
        theta = minimize(made.terms, np.repeat(truth[None], 200, 0), fresh, tolerance=1e-8).theta
        law = Surface.of(made.of_family(theta, 0))
        best[name] = law.optimum(np.log([1e21]), SIX).nats[:, 0]
    return float(np.nanstd(best["masked"] - best["autoregressive"]))


def at_random(
    points: Sequence[Point], budgets: Sequence[float], rng: np.random.Generator
) -> list[CandidateRun]:
    """A run of any family and size at each of the budgets."""
    found = []
    for budget in budgets:
        tried = [
            one
            for name in ("autoregressive", "masked")
            for one in candidate_runs(
                name, Runs(tuple(p for p in points if p.family == name)), [budget], {}
            )
        ]
        found.append(tried[rng.integers(len(tried))])
    return found


@pytest.mark.parametrize("times", [1.0, 3.0], ids=["short", "noisy"])
def test_runs_proposed_leave_less_error_than_runs_at_random_of_the_same_price(times: float) -> None:
    """Masked runs end at a tenth of the target or scatter three times as much."""
    noise = {"autoregressive": 0.005, "masked": times * 0.005}
    rng, found = np.random.default_rng(0), []
    for seed in range(4):
        points = study(seed, times=times)
        if times == 1.0:
            long = planted_surface("masked", noise=0.005, seed=seed, num_budgets=7, sizes=3)
            short = [p for p in long if p.budget < 1.1e20]
            points = [p for p in points if p.family != "masked"] + short
        proposal = next_runs(points, 3, target=1e21, bootstrap=200)
        runs = proposal.runs
        others = (at_random(points, [run.flops for run in runs], rng) for _ in range(3))
        chance = np.mean([spread(points, some, noise) ** 2 for some in others])
        before, after = spread(points, [], noise), spread(points, runs, noise)
        predicted = proposal.error_after / proposal.error
        found.append([before**2, after**2, chance, predicted**2 * before**2])
    before, after, chance, predicted = np.mean(found, axis=0)
    assert after < 0.9 * chance < 0.9 * before
    assert 0.7 < (after / predicted) ** 0.5 < 1.3


def test_sizes_are_rungs_of_the_ladder_where_shapes_are_known() -> None:
    names = ("66M", "113M", "206M")
    core = {name: float(Shape.parse(name).core_parameters) for name in names}
    points = [
        Point("masked", c, c, 1.1 * core[name], c / 6 / core[name], 3.0, id=f"{name}{c}")
        for name in names
        for c in (1e18, 2e18)
    ]
    found = dict(sizes(Runs(tuple(points)), {p.id: core[p.id.split("M")[0] + "M"] for p in points}))
    assert {"66M", "85M", "113M", "551M", "34M"} <= set(found)
    assert "19M" not in found and "831M" not in found
    for name, log_n in found.items():
        assert log_n == pytest.approx(np.log(1.1 * Shape.parse(str(name)).core_parameters))
    plain = sizes(Runs(tuple(points)), {})
    assert {name for name, _ in plain} == {None}
    ends = np.exp([plain[0][1], plain[-1][1]])
    assert ends == pytest.approx([0.55 * core["66M"], 4.4 * core["206M"]])


def test_candidates_stay_where_a_law_can_say_something() -> None:
    points = [replace(p, unique_tokens=1e11) for p in planted_surface(num_budgets=3, sizes=4)]
    runs = Runs(tuple(points))
    budgets = budgets_to_try(points)
    assert budgets == pytest.approx([1e18, 10**19.5, 1e21, 2e21, 4e21], rel=5e-3)
    found = candidate_runs("autoregressive", runs, budgets, {})
    ratio = np.array([p.tokens / p.parameters for p in points])
    assert found
    for one in found:
        assert one.flops == pytest.approx(6 * one.parameters * one.tokens, rel=1e-6)
        assert ratio.min() * 0.999 <= one.tokens / one.parameters <= 2.001 * ratio.max()
        assert one.tokens >= min(p.tokens for p in points) * 0.999
        assert one.tokens <= 1e11 * max(4, max(p.tokens for p in points) / 1e11) * 1.001
    again = [one for one in found if one.again]
    assert all(any(abs(np.log(p.parameters / o.parameters)) < 0.01 for p in points) for o in again)
    assert len(budgets_to_try(planted_surface(num_budgets=20, sizes=1))) == 14


def test_what_gives_no_proposal() -> None:
    points = study(0)
    alone = [p for p in points if p.family == "masked"]
    for some, options, message in (
        (alone, {}, r"a verdict compares two families, and 1 of 1 has a law"),
        ([*points[:3], *alone], {}, r"1 of 2 has a law; no law: autoregressive has 3 runs"),
        (points, {"num": 0}, "--num is 0"),
        (points, {"bootstrap": 0}, "--bootstrap is 0; a proposal needs 20 replicates"),
        (points, {"target": -1.0}, "--budget is -1.0"),
        (points, {"allowance": float("nan")}, "--budget-left is nan"),
        (points, {"allowance": 1e10}, "1e.10 FLOPs buy no run worth considering; the cheapest"),
    ):
        with pytest.raises(InputError, match=message):
            next_runs(some, **{"num": 2, "bootstrap": 40, **options})
    named = [
        replace(p, family={"autoregressive": "uniform"}.get(p.family, p.family)) for p in points
    ]
    with pytest.raises(InputError, match="no law of autoregressive to compare with"):
        next_runs(named, 2, verdict="multiplier", bootstrap=40)
    assert next_runs(named, 2, bootstrap=40).families[0] == "uniform"
    third = [replace(p, family="hybrid") for p in alone[:4]]
    said = next_runs([*points, *third], 2, bootstrap=40).warnings
    assert said == ("no law: hybrid has 4 runs; a law of 5 parameters needs 6 at least",)


def test_a_multiplier_read_below_the_budgets_of_the_reference_is_answered_by_a_cheap_run() -> None:
    """Masked diffusion needs 5 times the compute: at its largest budget AR is read below its smallest."""
    first = [p for p in planted_surface(noise=0.003, sizes=4) if p.budget > 9e19]
    other = [
        replace(
            p,
            family="masked",
            budget=5 * p.budget,
            flops=5 * p.flops,
            parameters=5 * p.parameters,
        )
        for p in planted_surface(noise=0.003, seed=1, sizes=4)
        if 1e18 < p.budget < 9e19
    ]
    target = max(p.budget for p in other)
    found = next_runs([*first, *other], 2, verdict="multiplier", target=target, bootstrap=60)
    read = target / np.exp(found.value)
    smallest = min(p.budget for p in first)
    assert read < smallest
    run = found.runs[0]
    assert run.family == "autoregressive" and run.below and run.flops < smallest
    assert run.flops <= read or run.flops < smallest / 26
    assert run.flops < 0.05 * found.allowance
    best = surface_size(run.flops)
    assert 0.4 < run.parameters / best < 2.5
    assert "below its smallest budget" in next_text(found)
    lead = next_runs([*first, *other], 2, target=target, bootstrap=60)
    assert not any(run.below for run in lead.runs)


def surface_size(flops: float) -> float:
    one = np.array([[np.log(A), ALPHA, np.log(B), BETA, np.log(E)]])
    return float(np.exp(Surface.of(one).optimum(np.log([flops]), SIX).log_n[0, 0]))


@pytest.mark.parametrize(
    ("read", "wanted"),
    [(1e18, []), (5e18, []), (9e17, [3.33e17]), (5e16, [3.33e17, 1.11e17, 3.7e16]), (1.0, 3)],
)
def test_budgets_go_down_to_where_the_law_is_read(read: float, wanted: list[float] | int) -> None:
    found = budgets_below(Runs(tuple(planted_surface(num_budgets=3, sizes=3))), read)
    if isinstance(wanted, int):
        assert len(found) == wanted
    else:
        assert found == pytest.approx(wanted, rel=1e-3)


def test_what_ends_an_extrapolation_goes_first_however_little_it_tells() -> None:
    covariance = np.diag([1.0, 1.0, 1.0, 1.0]) + np.outer([1, 0.9, 0.1, 0.5], [1, 0.9, 0.1, 0.5])
    tried = [candidate(flops) for flops in (1.0, 2.0, 3.0)]
    free = best_runs(covariance, np.ones(3), tried, 2, 9.0)
    found = best_runs(covariance, np.ones(3), tried, 2, 9.0, first=1)
    assert free[0].flops == 1.0
    assert [run.flops for run in found[:2]] == [2.0, 1.0]
