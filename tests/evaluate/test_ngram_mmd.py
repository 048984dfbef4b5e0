"""The distance of n-gram ngram_features: unbiased, zero for like text, its standard error honest."""

import numpy as np
import pytest

from isodiff.evaluate.ngram_mmd import ORDERS, WIDTH, counts, ngram_features, squared_mmd


def plain(x: np.ndarray, y: np.ndarray) -> float:
    """The double sums written out."""
    n, m = len(x), len(y)
    within = [
        sum(float(g[i] @ g[j]) for i in range(len(g)) for j in range(len(g)) if i != j)
        for g in (x, y)
    ]
    return within[0] / (n * (n - 1)) + within[1] / (m * (m - 1)) - 2 * float((x @ y.T).mean())


def jackknife(x: np.ndarray, y: np.ndarray) -> float:
    """Leaving out each text in turn, computed anew."""
    variance = 0.0
    for group, rebuilt in ((x, lambda rest: plain(rest, y)), (y, lambda rest: plain(x, rest))):
        n = len(group)
        left = np.array([rebuilt(np.delete(group, i, 0)) for i in range(n)])
        variance += (n - 1) / n * float(((left - left.mean()) ** 2).sum())
    return variance**0.5


def test_it_is_the_double_sum_and_its_jackknife():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 5)), rng.normal(size=(9, 5)) + 0.5
    found = squared_mmd(x, y)
    assert found.value == pytest.approx(plain(x, y), rel=1e-12)
    assert found.standard_error == pytest.approx(jackknife(x, y), rel=1e-9)


def test_it_is_unbiased_and_its_error_is_honest():
    rng = np.random.default_rng(1)
    center = np.array([0.6, 0.0, 0.3])
    found = [
        squared_mmd(rng.normal(size=(20, 3)), rng.normal(size=(30, 3)) + center)
        for _ in range(1500)
    ]
    values = np.array([one.value for one in found])
    z = (values.mean() - float(center @ center)) / (values.std() / len(values) ** 0.5)
    assert abs(z) < 4
    spread = np.mean([one.standard_error**2 for one in found]) ** 0.5
    assert 0.95 < spread / values.std() < 1.2  # the jackknife errs upwards (Efron and Stein, 1981)


def test_profiles_count_strings_of_bytes():
    one, empty = ngram_features([b"abab", b""])
    assert float((one**2).sum()) == pytest.approx(1)
    assert not empty.any()
    pairs = one.reshape(len(ORDERS), WIDTH)[1]
    assert sorted(pairs[pairs > 0] / pairs[pairs > 0].min()) == pytest.approx([1, 2])  # ba, ab ab
    codes = np.frombuffer(b"abcabc", np.uint8).astype(np.uint64)
    assert counts(codes, 3).sum() == 4 and counts(codes, 3).max() == 2
    assert counts(codes[:2], 3).sum() == 0


def test_equal_texts_are_at_zero_and_strange_ones_far():
    rng = np.random.default_rng(2)
    words = [b"the ", b"senate ", b"and ", b"people ", b"of ", b"states "]
    text = [b"".join(rng.choice(words, 40)) for _ in range(80)]
    noise = [rng.integers(0, 256, 200).astype(np.uint8).tobytes() for _ in range(40)]
    same = squared_mmd(ngram_features(text[:40]), ngram_features(text[40:]))
    assert abs(same.value) < 4 * same.standard_error
    far = squared_mmd(ngram_features(noise), ngram_features(text[40:]))
    assert far.value > 0.3
