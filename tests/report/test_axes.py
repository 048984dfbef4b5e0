"""Axes and numbers: ticks lie in their domain, few and round; numbers keep their meaning."""

import itertools
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isodiff.record import Mean
from isodiff.report.charts import apart, around, around_log, labels, ticks
from isodiff.report.format import decimals, listed, ratio, scientific, with_error, with_interval
from isodiff.report.text import to_ascii
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.units import memory, short

positive = st.floats(1e-6, 1e24)


@settings(deadline=None)
@given(low=positive, factor=st.floats(1.02, 1e9))
def test_ticks_are_few_round_and_inside(low, factor):
    high = low * factor
    found = ticks((low, high))
    assert 2 <= len(found) <= 10
    assert all(low <= tick <= high for tick in found)
    assert found == sorted(set(found))
    assert all(float(f"{tick:.5g}") == pytest.approx(tick, rel=1e-9) for tick in found)
    assert len(set(labels(found, short))) == len(found)


@settings(deadline=None)
@given(st.lists(positive, min_size=1, max_size=5))
@example([9.999999999999399e23, 9.999999999999408e23])
def test_domains_hold_their_values_strictly_inside(values):
    low, high = around_log(values)
    assert low < min(values) and max(values) < high
    low, high = around(values)
    assert low < min(values) and max(values) < high


@settings(deadline=None)
@given(positive)
def test_numbers_are_read_back(value):
    assert float(scientific(value)) == pytest.approx(value, rel=5.1e-3)
    assert float(ratio(value)) == pytest.approx(value, rel=5.1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(0.01, 5))
def test_names_are_moved_apart_no_further_than_needed(values, gap):
    values = sorted(values)
    places = apart(values, gap)
    steps = [b - a for a, b in itertools.pairwise(places)]
    assert all(step >= gap - 1e-9 for step in steps)
    assert sum(places) == pytest.approx(sum(values), abs=1e-6)  # no drift
    if all(b - a >= gap for a, b in itertools.pairwise(values)):
        assert places == pytest.approx(values)


def test_numbers_as_people_write_them():
    assert [scientific(v) for v in (1e12, 3.16e13, 2e-4)] == ["1.0e12", "3.16e13", "2.0e-4"]
    counts = (0, 999, 1000, 3456, 999_600, 1.234e9, 2e12, 1e18)
    shown = ["0", "999", "1K", "3.46K", "1M", "1.23B", "2T", "1.0e18"]
    assert [short(v) for v in counts] == shown
    assert [memory(v) for v in (12, 1500, 8e10)] == ["12 B", "1.5 kB", "80 GB"]
    assert [ratio(v) for v in (1, 2.014, 99.96, 6758, 23456)] == [
        "1",
        "2.01",
        "100",
        "6760",
        "2.35e4",
    ]
    assert with_error(Mean(1.30039, 0.0077, 512)) == "1.3004 ± 0.0077"
    assert to_ascii("≤ 1.3 ± 0.1 –") == "<= 1.3 +- 0.1 -"
    assert with_interval(None) == "–" == with_interval(Quantity(reason="too few"))
    assert with_interval(Quantity(value=2.0)) == "2"
    assert with_interval(Quantity(value=2.0, low=1.5, high=3.25)) == "2 [1.5, 3.25]"
    assert [listed(list(t)) for t in ("a", "ab", "abc")] == ["a", "a and b", "a, b and c"]


@settings(deadline=None)
@given(st.floats(1e-5, 0.9))
def test_errors_keep_two_digits_within_reason(error):
    digits = decimals(error)
    shown = float(f"{error:.{digits}f}")
    assert 2 <= digits <= 5
    assert abs(shown - error) <= 0.5 * 10**-digits + 1e-12
    if 1e-4 <= error < 0.1:
        assert abs(shown - error) <= 0.051 * error and digits == 1 - math.floor(math.log10(error))
