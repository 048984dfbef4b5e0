"""The stateless permutation: a bijection, uniform, a different one for every epoch and seed."""

import math

import numpy as np
import pytest
from scipy.stats import chi2

from isodiff.data import permutation
from isodiff.data.permutation import permute


@pytest.mark.parametrize("size", [*range(1, 70), 255, 256, 257, 1000, 4099, 65536, 100_003])
def test_bijection(size):
    for seed, epoch in ((0, 0), (-1, 3), (2**80 + 5, 10**9)):
        assert np.array_equal(np.sort(permute(seed, epoch, np.arange(size), size)), np.arange(size))


def test_bijection_before_cycle_walking():
    a, b = 13, 17
    x, key = np.arange(a * b, dtype=np.uint64), np.full(a * b, 99, np.uint64)
    y = permutation.encrypt(x, key, a, b)
    assert np.array_equal(np.sort(y), x) and not np.array_equal(y, x)


def test_largest_size_stays_inside():
    size = 2**62
    index = np.array([0, 1, size // 2, size - 1])
    values = permute(5, 0, index, size)
    assert values.dtype == np.int64 and (values >= 0).all() and (values < size).all()
    assert len(set(values.tolist())) == 4


@pytest.mark.parametrize("size", [3, 4, 5])
def test_every_order_is_equally_likely(size):
    """Chi-square over all size! orders; 10 rounds fail this for size 5 with p < 1e-45."""
    num = 60_000
    orders = permute(11, np.arange(num)[:, None], np.arange(size)[None], size)
    codes = (orders * size ** np.arange(size)).sum(1)
    counts = np.unique(codes, return_counts=True)[1]
    kinds = math.factorial(size)
    assert len(counts) == kinds
    statistic = ((counts - num / kinds) ** 2 / (num / kinds)).sum()
    assert 1e-4 < chi2.sf(statistic, kinds - 1) < 1 - 1e-4


def test_the_uniformity_test_can_fail(monkeypatch):
    monkeypatch.setattr(permutation, "ROUNDS", 6)
    orders = permute(11, np.arange(60_000)[:, None], np.arange(5)[None], 5)
    counts = np.unique((orders * 5 ** np.arange(5)).sum(1), return_counts=True)[1]
    statistic = ((counts - 500) ** 2 / 500).sum() + 500 * (120 - len(counts))
    assert chi2.sf(statistic, 119) < 1e-20


def test_place_of_one_window_is_uniform_over_epochs_and_pairs_are_independent():
    size, num = 100, 50_000
    places = permute(3, np.arange(num)[:, None], np.array([[0, 1]]), size)
    table = np.zeros((10, 10))
    np.add.at(table, tuple((places // 10).T), 1)
    # Two distinct places: P(same tenth) = 10/100 * 9/99 per tenth, 10/100 * 10/99 for two tenths.
    wanted = num * np.where(np.eye(10, dtype=bool), 0.1 * 9 / 99, 0.1 * 10 / 99)
    assert 1e-4 < chi2.sf(((table - wanted) ** 2 / wanted).sum(), 99) < 1 - 1e-4


def test_epochs_and_seeds_differ():
    index = np.arange(1000)
    orders = [permute(seed, epoch, index, 1000) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            # Coincidences of two random permutations are Poisson(1): 12 or more has p < 1e-9.
            assert (one == other).sum() < 12


def test_broadcast_equals_one_by_one():
    epoch, index = np.array([0, 4, 4, 7]), np.array([5, 5, 6, 0])
    together = permute(1, epoch, index, 9)
    alone = [int(permute(1, int(e), int(i), 9)) for e, i in zip(epoch, index, strict=True)]
    assert together.tolist() == alone


def test_known_values():
    """Frozen: another order would silently change what every stored run was trained on."""
    assert permute(0, 0, np.arange(10), 10).tolist() == [5, 1, 9, 0, 8, 2, 3, 6, 4, 7]
    assert permute(1234, 5, np.array([0, 10**5]), 10**6).tolist() == [456118, 460227]


@pytest.mark.parametrize(("index", "size"), [(5, 5), (-1, 5), (0, 0), (0, 2**63)])
def test_out_of_range_is_refused(index, size):
    with pytest.raises(ValueError, match="not in"):
        permute(0, 0, index, size)
