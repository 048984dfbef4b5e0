"""Block diffusion: the clipped objective, the search for its range, and where texts end."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from oracle import Optimal, tanh_sinh
from scripted import Scripted, orders, product
from test_sampler_frequencies import DRAWS, TOY, L, V, p_value
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, undecided
from isodiff.families.block import RANGES, BlockDiffusion, BlockSampler
from isodiff.families.endings import histogram_entropy
from isodiff.families.sampling import sample
from isodiff.network.attention import BlockCausal, TwoStream, block_sizes
from isodiff.network.view import LogProbTable, View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
X, MODEL = TOY.sequences[7:8], Optimal(Toy.random(V, L, seed=1))
RANGES_TRIED = [(0.0, 1.0), (0.3, 0.8), (0.0, 0.5), (0.45, 0.95)]


def block_nats(size: int, start: int) -> dict[tuple[int, ...], float]:
    """Nats of X at the masks, for every set of masks in the block at `start`."""
    found = {}
    places = range(start, min(start + size, L))
    for count in range(len(places) + 1):
        for hidden in itertools.combinations(places, count):
            known = X.clone()
            known[:, list(hidden)] = V
            known[:, start + size :] = V
            p = MODEL.toy.conditional(known.repeat(max(count, 1), 1), torch.tensor(hidden or [0]))
            nats = -p[range(count), X[0, list(hidden)]].log()
            found[hidden] = float(nats.sum())
    return found


def outcomes(family: BlockDiffusion) -> tuple[Tensor, Tensor, Scripted]:
    """Counts (R, N) with their probabilities under the family, and the script that draws them."""
    q = family.chances(torch.tensor(block_sizes(L, family.block_size)))
    *ks, order = product(*(torch.arange(n) for n in block_sizes(L, family.block_size)), orders(L))
    k = torch.stack(ks, -1)
    chance = torch.stack([q[b][k[:, b]] for b in range(len(q))]).prod(0) / len(orders(L))
    centers = torch.stack([(q[b].cumsum(0) - q[b] / 2)[k[:, b]] for b in range(len(q))], -1)
    return 1 + k, chance, Scripted(len(k), scattered=[centers], permutation=[order])


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize(("low", "high"), RANGES_TRIED)
def test_clipped_training_is_the_paper_s_integral(size: int, low: float, high: float) -> None:
    """E_{m ~ U[low, high]} [1/m sum of the masks' nats], every token masked with probability m."""
    family = BlockDiffusion(vocab_size=V, block_size=size, low=low, high=high, objective="nelbo")
    _, chance, rng = outcomes(family)
    losses = family.loss(MODEL, X.repeat(len(chance), 1), rng=rng)
    assert float(chance.sum()) == pytest.approx(1, abs=1e-12)
    nodes, weights = tanh_sinh(121)
    m = low + (high - low) * nodes
    for start in range(0, L, size):
        tokens = min(size, L - start)
        want = sum(
            float(weights @ (m ** len(hidden) * (1 - m) ** (tokens - len(hidden)) / m)) * nats
            for hidden, nats in block_nats(size, start).items()
        )
        got = float(chance @ losses[:, start : start + size].sum(-1))
        assert got == pytest.approx(want, rel=1e-8)


def test_the_grid_of_the_search_has_36_ranges() -> None:
    assert len(RANGES) == len(set(RANGES)) == 36
    assert {round(high - low, 9) for low, high in RANGES} == {0.5, 0.6, 0.7, 0.8, 0.9, 1}
    assert all(0 <= low < high <= 1 for low, high in RANGES)
    assert {(0.45, 0.95), (0.3, 0.8), (0.0, 0.5)} <= set(RANGES)  # the paper's own finds


@pytest.mark.parametrize("objective", ["nelbo", "low_variance"])
@pytest.mark.parametrize("size", [2, 3])
def test_one_pass_measures_the_variance_under_every_range(size: int, objective) -> None:
    """Uniform counts, reweighted: the variance over blocks and masks that each range's own draws have."""
    whole = BlockDiffusion(vocab_size=V, block_size=size, objective=objective)
    tokens = torch.tensor(block_sizes(L, size))
    n = len(tokens)
    # Every outcome once: chances are equal, as the counts of all blocks are uniform.
    _, _, rng = outcomes(whole)
    rows = len(outcomes(whole)[0])
    found = whole.variances(MODEL, X.repeat(rows, 1), rng)
    assert tuple(found) == RANGES
    for low, high in RANGES_TRIED:
        family = replace(whole, low=low, high=high)
        _, chance, rng = outcomes(family)
        losses = family.loss(MODEL, X.repeat(rows, 1), rng=rng)
        per_token = torch.stack([part.sum(-1) for part in losses.split(size, 1)], 1) / tokens
        weight = chance[:, None].expand(-1, n) / n
        mean = (weight * per_token).sum()
        want = (weight * (per_token - mean).square()).sum()
        assert found[low, high] == pytest.approx(float(want), rel=1e-9)


def test_the_search_takes_the_range_of_least_variance() -> None:
    family = BlockDiffusion(vocab_size=V, block_size=3, objective="nelbo")
    x = TOY.sample(Rows.of(stream(0, "x"), 4000))
    best, why = family.adapt(MODEL, x, rng=Rows.of(stream(0), 4000))
    table = {(low, high): variance for low, high, variance in why["variances"]}
    assert table[best.low, best.high] == min(table.values()) < 0.7 * table[0.0, 1.0]
    assert replace(best, low=0.0, high=1.0) == family
    # The range found does lower the variance of what is trained.
    spread = [f.loss(MODEL, x, rng=Rows.of(stream(1), 4000)).mean(-1).var() for f in (family, best)]
    assert float(spread[1] / spread[0]) == pytest.approx(
        table[best.low, best.high] / table[0.0, 1.0], rel=0.1
    )


def test_only_the_last_block_of_the_clean_copy_is_hidden() -> None:
    """The view's pattern is that of both whole copies, cut off where nobody looks."""
    for length, size in [(6, 2), (7, 3), (5, 1), (4, 4), (4, 9)]:
        x = torch.zeros(1, length, dtype=torch.long)
        view = BlockDiffusion(vocab_size=V, block_size=size).view(x, x)
        n = view.inputs.shape[1]
        assert n == 2 * length - block_sizes(length, size)[-1]
        index = torch.arange(2 * length)
        whole = TwoStream(size).allowed(index[:, None], index, 2 * length)
        got = view.attention.allowed(index[:n, None], index[:n], n)
        assert torch.equal(got, whole[:n, :n]) and not whole[:length, n:].any()
        assert view.attention.pairs(n) == int(got.sum())
        assert view.positions.tolist() == [*range(length), *range(n - length)]


# Sampling


@pytest.mark.parametrize("size", [1, 2, 3])
def test_first_hitting_is_exact_and_costs_one_evaluation_per_token(size: int) -> None:
    family = BlockDiffusion(vocab_size=V, block_size=size)
    rng = Rows.of(stream(1, "hitting", size), DRAWS)
    x, nfe = sample(family, Optimal(TOY), undecided(DRAWS, L), BlockSampler(steps=None), rng=rng)
    assert bool((nfe == L).all())
    assert p_value(x, TOY.p.flatten()) > 1e-3


@pytest.mark.parametrize(
    ("size", "observed"), [(2, (1,)), (3, (1,)), (3, (2,)), (2, (0,)), (1, (0, 1)), (2, (2,))]
)
def test_infilling_draws_from_the_conditional_or_is_refused(size, observed) -> None:
    """Anything may be given before the first block with an undecided position, and in it."""
    family = BlockDiffusion(vocab_size=V, block_size=size)
    start = undecided(DRAWS, L)
    keep = torch.ones_like(TOY.p)
    for place in observed:
        start[:, place] = 2
        keep *= (torch.arange(V) == 2).view([-1 if axis == place else 1 for axis in range(L)])
    rng = Rows.of(stream(2, "fill"), DRAWS)
    if observed[-1] // size > 0 and observed != (0, 1):
        with pytest.raises(InputError, match="nothing may be given in a block after one with a"):
            sample(family, Optimal(TOY), start, BlockSampler(steps=None), rng=rng)
        return
    x, nfe = sample(family, Optimal(TOY), start, BlockSampler(steps=None), rng=rng)
    law = (keep * TOY.p).flatten()
    assert p_value(x, law / law.sum()) > 1e-3
    assert bool((nfe == L - len(observed)).all())


class Clockwork:
    """Says with certainty what `text` has at each place, and counts what it is shown."""

    def __init__(self, text: list[int], vocab_size: int) -> None:
        self.text, self.vocab_size, self.shown = torch.tensor(text), vocab_size, 0

    def __call__(self, view: View) -> LogProbTable:
        self.shown += 1
        place = view.positions.expand(view.inputs.shape).flatten()
        place = place if view.read is None else place[view.read]
        p = torch.nn.functional.one_hot(self.text[place], self.vocab_size).double()
        return LogProbTable(p.log())


def test_a_text_ends_at_its_stop_token() -> None:
    """Nothing after it is written; inside its block, what was drawn before it was known stays."""
    family = BlockDiffusion(vocab_size=5, block_size=3)
    model = Clockwork([0, 1, 2, 3, 4, 1, 0, 0, 0, 0], 5)
    start = undecided(4, 10)
    start[1, :2] = 4  # given: not an end of what is written
    start[2, :6] = torch.tensor([0, 1, 2, 3, 4, 1])
    sampler = BlockSampler(steps=None, stop=4)
    x, nfe = sample(family, model, start, sampler, rng=Rows.of(stream(0), 4))
    assert x[2].tolist() == [0, 1, 2, 3, 4, 1, 0, 0, 0, 0] and nfe[2] == 4
    for row, first in ((0, [0, 1, 2]), (1, [4, 4, 2]), (3, [0, 1, 2])):
        assert x[row, :5].tolist() == [*first, 3, 4]
        assert x[row, 5] in (1, 4) and x[row, 6:].tolist() == [4] * 4
        # Three tokens of the first block (one for row 1), two or three of the second.
        assert int(nfe[row]) == (1 if row == 1 else 3) + (3 if x[row, 5] == 1 else 2)
    assert model.shown == 6


def test_stopping_changes_no_text_before_the_stop() -> None:
    family = BlockDiffusion(vocab_size=V, block_size=2)
    texts = []
    for stop in (None, 2):
        rng = Rows.of(stream(3), 2000)
        x, nfe = sample(
            family, Optimal(TOY), undecided(2000, L), BlockSampler(steps=2, stop=stop), rng=rng
        )
        texts.append((x, nfe))
    (free, cost), (stopped, less) = texts
    first = (free == 2).long().argmax(1).where((free == 2).any(1), L)
    upto = torch.arange(L) <= first[:, None]
    assert torch.equal(free.where(upto, 0), stopped.where(upto, 0))
    assert bool((less <= cost).all()) and bool((less < cost).any())


def test_a_text_that_repeats_itself_is_given_up_in_plain_sight() -> None:
    """The rest stays undecided; the threshold is on the entropy of the last `span` tokens, after blocks."""
    family = BlockDiffusion(vocab_size=5, block_size=2)
    model = Clockwork([0, 1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 4], 5)
    for threshold, written in ((None, 12), (0.1, 8), (1.0, 8), (1.1, 6), (1.39, 4), (0.0, 12)):
        sampler = BlockSampler(steps=1, repetition=threshold, span=4)
        x, nfe = sample(family, model, undecided(3, 12), sampler, rng=Rows.of(stream(0), 3))
        assert bool((x[:, :written] == model.text[:written]).all())
        assert bool((x[:, written:] == UNDECIDED).all()), (threshold, x)
        assert bool((nfe == written // 2).all())


def test_entropy_of_a_histogram() -> None:
    tokens = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 1], [3, 2, 1, 0], [0, UNDECIDED, 0, UNDECIDED]])
    ln2 = torch.tensor(2.0).log()
    torch.testing.assert_close(
        histogram_entropy(tokens, 4),
        torch.stack([0 * ln2, ln2, 2 * ln2, ln2 / 2]),
        rtol=1e-12,
        atol=1e-15,
    )


def test_a_window_hides_the_blocks_before_it() -> None:
    """The oracle for three tokens sees only the last two blocks: p(x_2 | x_1)."""
    family = BlockDiffusion(vocab_size=V, block_size=1)
    sampler = BlockSampler(steps=1, window=2)

    class InOneLayer(Optimal):
        """One layer: what a key saw of earlier blocks is not in it."""

        def known(self, view: View) -> Tensor:
            assert view.attention == BlockCausal(1, reach=2)
            known = torch.full((*view.inputs.shape, L), V)
            for key, query in itertools.product(range(view.inputs.shape[1]), repeat=2):
                if view.attention.allowed(torch.tensor(query), torch.tensor(key), 0):
                    known[:, query, key] = view.inputs[:, key]
            return known

    rng = Rows.of(stream(4), DRAWS)
    x, _ = sample(family, InOneLayer(TOY), undecided(DRAWS, L), sampler, rng=rng)
    pairs = TOY.p.sum(0)
    law = TOY.p.sum(2)[..., None] * (pairs / pairs.sum(1, keepdim=True))
    assert p_value(x, law.flatten()) > 1e-3
    assert p_value(x, TOY.p.flatten()) < 1e-6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: BlockDiffusion(vocab_size=V, block_size=0),
            "block_size must be at least 1, got 0",
        ),
        (lambda: BlockDiffusion(vocab_size=V, low=0.5, high=0.5), "low must be less than high"),
        (lambda: BlockDiffusion(vocab_size=V, adapt_every=-1), "adapt_every must be at least 0"),
        (lambda: BlockSampler(span=0), "span must be at least 1, got 0"),
        (lambda: BlockSampler(window=0), "window must be at least 1, got 0"),
    ],
)
def test_impossible_options_are_refused(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
