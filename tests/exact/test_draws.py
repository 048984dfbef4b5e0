"""Claim 5c: categorical draws are exact, tails included; rows of a batch have the law they claim."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor

from isodiff.categorical import IN_CACHE, Truncation, draw, pick
from isodiff.process import counts
from isodiff.rng import Rows, stream

LAST = 1 - 2**-53  # the largest number torch.rand gives in float64


def rows(total: int, *purpose: str | int) -> Rows:
    return Rows.of(stream(0, *purpose), total)


def test_frequencies_follow_the_weights_and_zero_weights_never_occur() -> None:
    weights = torch.tensor([0.0, 3.0, 0.0, 0.0, 1.0, 0.5, 5.5, 0.0], dtype=torch.float64)
    n = 200_000
    x = draw(weights.expand(n, -1), rows(n, "draw").uniform())
    observed = torch.bincount(x, minlength=len(weights)).double()
    assert not observed[weights == 0].any()
    some = weights > 0
    expected = n * weights[some] / weights.sum()
    assert scipy.stats.chisquare(observed[some].numpy(), expected.numpy()).pvalue > 1e-3


def test_zero_weights_never_occur_at_the_edges_of_u() -> None:
    weights = torch.tensor([0.0, 0.0, 1.0, 0.0, 2.0, 0.0])
    u = torch.tensor([0.0, 5e-324, 1 / 3, LAST], dtype=torch.float64)
    x = draw(weights.expand(len(u), -1), u)
    assert (weights[x] > 0).all()
    assert x[0] == 2 and x[-1] == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_category_owns_an_interval_of_its_own_length(dtype: torch.dtype) -> None:
    """Tails are not cut: a category of weight 1e-9 between large ones is drawn for just its share of u."""
    weights = torch.tensor([0.5, 1e-9, 0.5 - 1e-9], dtype=dtype)
    low = 0.5 / float(weights.double().sum())
    u = torch.tensor([low * (1 - 1e-15), low, low + 0.9e-9, low + 1.1e-9], dtype=torch.float64)
    assert draw(weights.expand(len(u), -1), u).tolist() == [0, 1, 1, 2]


def test_tails_are_drawn_at_their_rate_from_a_large_vocabulary() -> None:
    """Weight 2e-5 in all on 1000 categories of 2e-8 each, next to one that holds nearly everything."""
    weights = torch.cat([torch.ones(1), torch.full((1000,), 2e-8)])
    parts = rows(200_000, "tail").uniform().split(5000)
    hits = sum(int((draw(weights.expand(len(u), -1), u) > 0).sum()) for u in parts)
    law = scipy.stats.poisson(200_000 * 2e-5)
    assert law.cdf(hits) > 1e-3 and law.sf(hits) > 1e-3


def test_draws_do_not_depend_on_how_many_are_made_together() -> None:
    """More than a cache holds are drawn a few rows at a time."""
    v = 1000
    weights = torch.rand(3 * IN_CACHE // v, v, generator=stream(5))
    u = rows(len(weights), "together").uniform()
    alone = torch.cat([draw(w[None], x[None]) for w, x in zip(weights, u, strict=True)])
    assert torch.equal(draw(weights, u), alone)
    both = draw(weights.view(2, -1, v)[:, :390], u.view(2, -1)[:, :390])
    assert torch.equal(both, alone.view(2, -1)[:, :390])


def test_draws_do_not_depend_on_the_scale_of_the_weights() -> None:
    weights = torch.rand(50, 7, dtype=torch.float64, generator=stream(1))
    u = rows(50, "scale").uniform()
    assert torch.equal(draw(weights, u), draw(1024 * weights, u))


def test_temperature_is_a_normalized_power() -> None:
    p = torch.rand(5, 9, dtype=torch.float64, generator=stream(2)).softmax(-1)
    want = p**2 / (p**2).sum(-1, keepdim=True)
    torch.testing.assert_close(Truncation(temperature=0.5).weights(p.log()), want)
    torch.testing.assert_close(Truncation().weights(p.log()), p)


def test_pick_broadcasts_both_ways() -> None:
    values = torch.arange(6.0).view(2, 1, 3)
    index = torch.tensor([0, 2, 1, 1])
    assert torch.equal(pick(values, index), torch.tensor([[0.0, 2, 1, 1], [3.0, 5, 4, 4]]))


# Rows


def every_call(rng: Rows) -> list[Tensor]:
    return [
        rng.uniform(),
        rng.uniform(3, 2),
        rng.strata(),
        rng.antithetic(5),
        rng.scattered(3),
        rng.permutation(4),
        rng.uniform(2),
    ]


@pytest.mark.parametrize("part", [range(2, 5), range(0, 8, 3), range(7, 8), range(0, 8)])
def test_a_slice_of_rows_sees_the_numbers_of_the_whole_batch(part: range) -> None:
    whole = every_call(Rows.of(stream(0, "slices"), 8))
    some = every_call(Rows.of(stream(0, "slices"), 8, part))
    for all_rows, few in zip(whole, some, strict=True):
        assert torch.equal(all_rows[list(part)], few)


def test_streams_differ_by_every_part_of_their_purpose() -> None:
    labels = [(0,), (1,), (0, "a"), (0, "b"), (0, "a", 1), (0, "a", 2), (0, "a", "1"), (0, 1, "a")]
    first = [float(torch.rand((), generator=stream(*label))) for label in labels]
    assert len(set(first)) == len(labels)
    assert first == [float(torch.rand((), generator=stream(*label))) for label in labels]


@pytest.mark.parametrize("total", [1, 7, 8])
def test_strata_cover_the_interval_evenly_and_each_row_is_uniform(total: int) -> None:
    draws = torch.stack([rows(total, "strata", step).strata() for step in range(4000)])
    assert ((draws >= 0) & (draws < 1)).all()
    gaps = torch.cat([draws.sort(1).values, draws.min(1, keepdim=True).values + 1], 1).diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / total))
    for row in draws.T:
        assert scipy.stats.kstest(row.numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("total", "count"), [(1, 3), (6, 4), (7, 5), (8, 1)])
def test_antithetic_counts_are_uniform_per_row_and_pairs_sum(total: int, count: int) -> None:
    draws = torch.stack([rows(total, "antithetic", step).antithetic(count) for step in range(4000)])
    for row in draws.T:
        observed = torch.bincount(row, minlength=count + 1)
        assert observed[0] == 0 and len(observed) == count + 1
        assert count == 1 or scipy.stats.chisquare(observed[1:].numpy()).pvalue > 1e-4
    even = total - total % 2
    assert (draws[:, 0:even:2] + draws[:, 1:even:2] == count + 1).all()


def test_antithetic_counts_are_stratified_over_pairs() -> None:
    for step in range(50):
        first = rows(16, "pairs", step).antithetic(8)[::2]
        assert first.sort().values.tolist() == list(range(1, 9))


@pytest.mark.parametrize(("total", "places"), [(1, 3), (6, 4), (7, 1)])
def test_scattered_numbers_are_strata_in_random_order(total: int, places: int) -> None:
    draws = torch.stack([rows(total, "scatter", s).scattered(places) for s in range(4000)])
    assert draws.shape == (4000, total, places) and ((draws >= 0) & (draws <= 1)).all()
    even = total - total % 2
    torch.testing.assert_close(draws[:, 1:even:2], 1 - draws[:, 0:even:2], rtol=0, atol=1e-15)
    some = draws[:, ::2].flatten(1)
    gaps = torch.cat([some.sort(1).values, some.min(1, keepdim=True).values + 1], 1).diff(dim=1)
    torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / some.shape[1]))
    for number in draws.flatten(1).T:
        assert scipy.stats.kstest(number.numpy(), "uniform").pvalue > 1e-4
    # Neither row nor place tells the stratum: two numbers are strata drawn without replacement.
    places_or_rows = draws[:, 0] if places > 1 else draws[:, ::2, 0]
    correlation = torch.corrcoef(places_or_rows.T)[0, -1]
    assert abs(float(correlation) + 1 / some.shape[1]) < 4 / 4000**0.5


def test_permutations_are_uniform() -> None:
    order = rows(30_000, "permutation").permutation(4)
    code = order @ torch.tensor([64, 16, 4, 1])
    observed = code.unique(return_counts=True)[1]
    assert len(observed) == 24
    assert scipy.stats.chisquare(observed.numpy()).pvalue > 1e-3


# Counts of corrupted tokens (process/counts.py)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("length", [1, 7, 2048])
def test_binomial_probabilities(length: int, p: float) -> None:
    want = torch.tensor(scipy.stats.binom.pmf(range(length + 1), length, p))
    torch.testing.assert_close(counts.binomial(length, p), want, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(("length", "size"), [(6, 1), (6, 6), (6, 9), (7, 3), (8, 4)])
def test_last_of_blocks_is_the_last_of_each_block(length: int, size: int) -> None:
    order = rows(50, "blocks").permutation(length)
    starts = range(0, length, size)
    limits = torch.tensor([min(size, length - start) for start in starts])
    k = (rows(50, "k").uniform(len(limits)) * (limits + 1)).long()
    got = counts.last_of_blocks(order, k, size)
    for b, start in enumerate(starts):
        within = [[i for i in row if start <= i < start + size] for row in order.tolist()]
        for row, items in enumerate(within):
            chosen = set(items[len(items) - int(k[row, b]) :])
            assert chosen == {i for i in items if got[row, i]}


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.3, 0.8), (0.0, 0.5), (0.45, 0.95)])
def test_masks_within_a_range(low: float, high: float) -> None:
    """P(low < M_k <= high), M_k the k-th smallest of 7 uniform numbers: Beta(k, 8 - k)."""
    want = [
        scipy.stats.beta(k, 8 - k).cdf(high) - scipy.stats.beta(k, 8 - k).cdf(low)
        for k in range(1, 8)
    ]
    got = counts.between(7, low, high)
    torch.testing.assert_close(got, torch.tensor(want), rtol=1e-9, atol=1e-12)
    assert float(got.sum()) == pytest.approx(7 * (high - low))


@pytest.mark.parametrize(("length", "kept"), [(1, 0.0), (8, 0.0), (8, 0.3), (9, 0.75)])
def test_expected_masks_is_the_mean_of_what_is_drawn(length: int, kept: float) -> None:
    k = torch.cat(
        [
            counts.draw_mask_counts(rows(64, "masks", s), length, kept)[0].double()
            for s in range(300)
        ]
    )
    spread = float(k.std()) / 300**0.5 / 8 + 1e-9
    assert abs(float(k.mean()) - counts.expected_masks(length, kept)) < 4 * spread


def test_moments_of_corruption_have_the_stated_law() -> None:
    """k uniform on {0..L}; exactly k tokens moved; m | k as order statistics; weight m (L+1) / k."""
    length, total = 4, 50_000
    moved, m, weight = counts.jump_times(rows(total, "jumps"), length)
    k = moved.sum(-1)
    assert (torch.bincount(k) - total / (length + 1)).abs().max() <= 1  # stratified
    for j in range(length + 1):
        shape = (j, length - j + 1) if j else (1, length + 1)
        assert scipy.stats.kstest(m[k == j].numpy(), scipy.stats.beta(*shape).cdf).pvalue > 1e-4
        want = m[k == j] * (length + 1) / j if j else torch.ones_like(m[k == j])
        torch.testing.assert_close(weight[k == j], want)
    each = moved[k == 2].double().mean(0)
    assert (each - 0.5).abs().max() < 4 * (0.25 / int((k == 2).sum())) ** 0.5
