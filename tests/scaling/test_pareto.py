"""The frontier: domination, the staircase and its area, who wins and how surely."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from isodiff.errors import InputError
from isodiff.scaling.pareto import Frontier, FrontierPoint, at_rate, dominates, staircase_area
from isodiff.scaling.pareto_result import FrontierResult, frontier_result
from isodiff.scaling.sampler_points import STEADY, SamplerPoint, TextStatistics
from isodiff.serialization import from_json, to_json


def point(speed: float, loss: float, name: str = "a", **changes) -> FrontierPoint:
    parts = {
        "run": f"{name}-{speed}",
        "family": name,
        "sampler": "plain",
        "steps": 4,
        "budget": 1e12,
        "tokens_per_second": speed,
        "log_speed_se": 0.0,
        "loss": loss,
        "loss_se": 0.0,
    }
    return FrontierPoint(**{**parts, **changes})


values = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.booleans()), min_size=1, max_size=12
)


@given(values)
def test_domination_and_verdict_by_brute_force(rows):
    points = [
        point(float(speed), float(loss), f"f{i}", degenerate=poor)
        for i, (speed, loss, poor) in enumerate(rows)
    ]
    frontier = Frontier(points, replicates=0)
    good = [p for p in points if not p.degenerate]
    for one, flag in zip(points, frontier.dominated(), strict=True):
        better = [
            o
            for o in good
            if o.tokens_per_second >= one.tokens_per_second
            and o.loss <= one.loss
            and (o.tokens_per_second, o.loss) != (one.tokens_per_second, one.loss)
        ]
        assert flag == bool(better)
    if not good:
        return
    ranges = frontier.verdict()
    assert ranges[0].tokens_per_second_from == 0 and ranges[-1].tokens_per_second_to == max(
        p.tokens_per_second for p in good
    )
    for before, after in itertools.pairwise(ranges):
        assert before.tokens_per_second_to == after.tokens_per_second_from
        assert (before.family, before.sampler) != (after.family, after.sampler)
    for one in ranges:
        for rate in np.linspace(max(one.tokens_per_second_from, 0.5), one.tokens_per_second_to, 7)[
            1:
        ]:
            fast = [p.loss for p in good if p.tokens_per_second >= rate]
            assert math.isclose(min(fast), winning(ranges, good, rate))


def winning(ranges, good, rate: float) -> float:
    """Loss of the best point of the family that the verdict names at `rate`."""
    (named,) = [r for r in ranges if r.tokens_per_second_from < rate <= r.tokens_per_second_to]
    own = [
        p for p in good if p.way == (named.family, named.sampler) and p.tokens_per_second >= rate
    ]
    return min(p.loss for p in own)


@given(values)
def test_area_is_the_integral_under_the_staircase(rows):
    speed = np.array([math.log(s) for s, _, _ in rows])
    loss = np.array([float(x) for _, x, _ in rows])
    found = staircase_area(speed, loss, 8.0, 0.0)
    grid = (np.arange(4000) + 0.5) / 4000 * math.log(9)
    best = np.array([min(loss[speed >= g - 1e-9], default=np.inf) for g in grid])
    wanted = np.maximum(0, 8.0 - best)[np.isfinite(best)].sum() * math.log(9) / 4000
    assert found == pytest.approx(wanted, abs=0.02)


def test_confidence_is_the_chance_to_be_right():
    """Two points as fast as each other, a gap of one standard error of the difference: Phi(1)."""
    error = 1 / math.sqrt(2)
    points = [
        point(100, 3.0, "a", loss_se=0.1 * error),
        point(100, 3.1, "b", loss_se=0.1 * error),
    ]
    (only,) = Frontier(points, replicates=20_000).verdict()
    assert only.family == "a"
    assert only.confidence == pytest.approx(norm.cdf(1), abs=0.01)


def test_an_uncertain_speed_costs_confidence_near_its_end():
    points = [point(10, 1.0, "a", log_speed_se=0.2), point(100, 2.0, "b")]
    slow, fast = Frontier(points, replicates=4000).verdict()
    assert (slow.tokens_per_second_from, slow.tokens_per_second_to) == (0, 10)
    assert (fast.tokens_per_second_from, fast.tokens_per_second_to) == (10, 100)
    # From 5 to 10 and from 10 to 100, both lose E max(0, N(0, 0.2)) of the range in ln r to the other.
    lost = 0.2 / math.sqrt(2 * math.pi)
    assert slow.confidence == pytest.approx(1 - lost / math.log(2), abs=0.01)
    assert fast.confidence == pytest.approx(1 - lost / math.log(10), abs=0.01)


def test_degenerate_points_win_nothing_and_dominate_nobody():
    points = [point(100, 0.1, "cheat", degenerate=True), point(10, 3.0, "a")]
    frontier = Frontier(points, replicates=50)
    assert [one.family for one in frontier.verdict()] == ["a"]
    assert frontier.dominated() == [False, False]
    assert frontier.area(lambda p: p.family == "cheat").value == 0


def test_interpolation_is_linear_in_the_logarithm_of_speed():
    points = [point(10, 1.0), point(1000, 3.0), point(20, 5.0)]
    assert at_rate(points, 100) == pytest.approx(2.0)
    assert at_rate(points, 1) == 1.0
    assert at_rate(points, 1000) == 3.0
    assert at_rate(points, 1001) is None
    assert at_rate([], 1) is None


def test_recommendations_respect_speed_and_budget():
    points = [point(10, 1.0, "a", budget=1e13), point(10, 2.0, "b"), point(50, 3.0, "c")]
    frontier = Frontier(points, replicates=0)
    assert frontier.recommend(5).family == "a"
    assert frontier.recommend(5, budget=1e12).family == "b"
    assert frontier.recommend(20).family == "c"
    with pytest.raises(InputError, match="nothing measured here writes 60 tokens/s; the fastest"):
        frontier.recommend(60)
    with pytest.raises(InputError, match="no run was trained within 1e\\+11 FLOPs; the cheapest"):
        frontier.recommend(5, budget=1e11)


def test_domination_needs_an_advantage():
    assert dominates(point(2, 1), point(1, 1)) and dominates(point(1, 1), point(1, 2))
    assert not dominates(point(1, 1), point(1, 1)) and not dominates(point(2, 2), point(1, 1))


def measured(speed: float, nats: float, name: str, **changes) -> SamplerPoint:
    means = {
        "nats_per_token": nats,
        "generative_perplexity": math.exp(nats),
        "bits_per_byte": nats / math.log(2),
        "entropy": 3.0,
        **dict.fromkeys(("distinct_2", "repetition", "divergence"), 0.5),
    }
    parts = {
        "run": name,
        "family": name,
        "sampler": "plain",
        "steps": 8,
        "budget": 1e12,
        "tokens_per_second": speed,
        "tokens_per_second_low": speed * 0.95,
        "tokens_per_second_high": speed * 1.05,
        "calls": 4,
        "calls_alone": 3,
        "latency_seconds": 3.0 - nats / 2,
        "latency_seconds_low": 2.9 - nats / 2,
        "latency_seconds_high": 3.1 - nats / 2,
        "nfe": 8.0,
        **means,
        **{f"{mean}_se": 0.02 for mean in means},
        "num_texts": 128,
        "length": 64,
        "reference_model": "autoregressive run x",
        "device": "cpu",
        "dtype": "float32",
        "threads": 1,
        "workers": 2,
    }
    return SamplerPoint(**{**parts, **changes})


def held_out(entropy: float) -> TextStatistics:
    shared = {
        field.name: getattr(measured(1, 1, "a"), field.name) for field in fields(TextStatistics)
    }
    return TextStatistics(**{**shared, "entropy": entropy})


ratios = st.floats(1.0, 3.0)


@given(st.lists(st.tuples(ratios, ratios), min_size=1, max_size=6))
def test_a_speed_that_repeats_disagree_on_wins_nothing(spreads):
    rows = [
        measured(
            100.0 * (i + 1),
            2.0 + 0.1 * i,
            f"f{i}",
            tokens_per_second_low=100.0,
            tokens_per_second_high=100.0 * batch,
            latency_seconds_low=1.0,
            latency_seconds_high=1.0 * alone,
        )
        for i, (batch, alone) in enumerate(spreads)
    ]
    if all(batch > STEADY and alone > STEADY for batch, alone in spreads):
        with pytest.raises(InputError, match="the machine is busy"):
            frontier_result(rows, held_out=held_out(3.05), replicates=0)
        return
    found = frontier_result(rows, held_out=held_out(3.05), replicates=0)
    for way, verdict, alone in ((0, found.verdict, False), (1, found.verdict_alone, True)):
        off = {row.run for row, spread in zip(rows, spreads, strict=True) if spread[way] > STEADY}
        named = {setting.run for one in verdict for setting in one.settings}
        on = {one.run for one in found.points if one.on_frontier(alone=alone)}
        assert named == on and not on & off and bool(on) == (len(off) < len(rows))
        flag = "unsteady_alone" if alone else "unsteady"
        assert {one.run for one in found.points if getattr(one, flag)} == off


def test_a_result_says_everything_and_travels_by_file():
    rows = [
        measured(100, 2.0, "a"),
        measured(1000, 3.0, "b"),
        measured(5000, 1.0, "c", entropy=2.0),
        measured(50, 2.5, "d", budget=1e13),
    ]
    found = frontier_result(rows, held_out=held_out(3.05), replicates=200)
    assert [one.dominated for one in found.points] == [False, False, False, True]
    assert [one.degenerate for one in found.points] == [False, False, True, False]
    assert [one.family for one in found.verdict] == ["a", "b"]
    assert all(0.9 < one.confidence <= 1 for one in found.verdict[1:])
    assert [(one.family, one.budget) for one in found.budgets] == [
        ("a", 1e12),
        ("b", 1e12),
        ("d", 1e13),
    ]
    assert found.recommend(500).family == "b"
    # Alone, b is the fastest and worst, d in between, a the slowest and best.
    assert [one.family for one in found.verdict_alone] == ["a", "d", "b"]
    assert [one.dominated_alone for one in found.points] == [False] * 4
    assert found.recommend(40, alone=True).family == "b"
    for area in found.areas.values():
        assert area.low is None or (area.high is not None and area.low <= area.high)
    value = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert value["points"][0]["judge"] == "autoregressive run x"
    assert value["verdict"][0]["settings"][0].keys() == {
        *("run", "budget", "sampler", "steps", "tokens_per_second", "loss"),
    }
    again = from_json(FrontierResult, value, "frontier.json")
    assert again.points == found.points and to_json(again) == value
    in_bits = frontier_result(rows, held_out=held_out(3.05), measure="bits_per_byte", replicates=50)
    assert [one.settings[0].loss for one in in_bits.verdict] == pytest.approx([2.0, 3.0])


def test_nothing_to_draw_from_is_an_error():
    with pytest.raises(InputError, match="no run was sampled"):
        frontier_result([], held_out=held_out(3.0))
    with pytest.raises(InputError, match=r"every sampler's texts have an entropy below 9\.50 nats"):
        frontier_result([measured(1, 1, "a")], held_out=held_out(10.0))
