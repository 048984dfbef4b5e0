"""Wilson's interval: published values, the equation it solves, and its coverage."""

import math

import pytest
from scipy import stats

from isodiff.errors import InputError
from isodiff.intervals import SuccessRate, wilson

NEWCOMBE = {  # Statistics in Medicine 17, 857 (1998), Table I, method 3
    (81, 263): (0.2553, 0.3662),
    (15, 148): (0.0624, 0.1605),
    (0, 20): (0.0000, 0.1611),
    (1, 29): (0.0061, 0.1718),
}


@pytest.mark.parametrize("counts", NEWCOMBE, ids=str)
def test_published_intervals(counts):
    assert wilson(*counts) == pytest.approx(NEWCOMBE[counts], abs=5e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_ends_are_shares_that_a_test_just_rejects(confidence):
    z = stats.norm.ppf(0.5 + confidence / 2)
    for k, n in ((1, 7), (350, 1319), (6, 7)):
        for end in wilson(k, n, confidence):
            assert abs(k / n - end) == pytest.approx(z * math.sqrt(end * (1 - end) / n), rel=1e-9)


def test_as_scipy_has_it():
    for n in (1, 2, 30, 1319):
        for k in {0, 1, n // 3, n}:
            theirs = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
            assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_nothing_and_everything_right_end_at_0_and_1():
    for n in (1, 3, 1319):
        assert wilson(0, n)[0] == 0.0
        assert wilson(n, n)[1] == 1.0


def test_it_covers_what_it_says_on_average_over_shares():
    """Exactly, by summing over all outcomes."""
    n, shares = 40, [i / 200 for i in range(1, 200)]
    ends = [wilson(k, n) for k in range(n + 1)]
    covered = [
        sum(stats.binom.pmf(k, n, p) for k, (low, high) in enumerate(ends) if low <= p <= high)
        for p in shares
    ]
    assert sum(covered) / len(covered) == pytest.approx(0.95, abs=0.01)


def test_a_share_says_its_interval():
    rate = SuccessRate.of(350, 1319)
    assert str(rate) == "26.5% [24.2%, 29.0%] (350 of 1319)"
    assert rate.interval == wilson(350, 1319)


def test_what_has_no_interval():
    for counts in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(InputError, match="have no interval"):
            wilson(*counts)
    with pytest.raises(InputError, match=r"confidence must lie in \(0, 1\), got 95"):
        wilson(1, 2, 95)
