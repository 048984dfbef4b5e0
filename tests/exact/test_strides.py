"""Interpolating samplers whose order is fixed but for chance: their laws, group by group, by enumeration."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch
from oracle import Optimal
from random_network import random_transformer
from test_sampler_frequencies import p_value
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.families.base import undecided
from isodiff.families.interpolating import Interpolating, InterpolatingSampler
from isodiff.families.sampling import sample
from isodiff.network.attention import Causal
from isodiff.network.view import View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, DRAWS = 2, 6, 40_000
TOY = Toy.random(V, L, seed=0, spread=2.0)
X = TOY.sequences
Groups = list[list[int]]


def law(orders: list[Groups], observed: dict[int, int] | None = None) -> Tensor:
    """Over V^L sequences: groups one after the other, independent within, averaged over `orders`."""
    observed = observed or {}
    total = torch.zeros(len(X))
    for groups in orders:
        known = torch.full_like(X, V)
        chance = torch.ones(len(X))
        for place, token in observed.items():
            known[:, place] = token
            chance *= X[:, place] == token
        for group in groups:
            for i in group:
                p = TOY.conditional(known, torch.full((len(X),), i))
                chance = chance * p.gather(1, X[:, i, None])[:, 0]
            known[:, group] = X[:, group]
        total += chance / len(orders)
    return total


def shuffled(groups: Groups) -> list[Groups]:
    return [list(order) for order in itertools.permutations(groups)]


CASES = {
    "together": (InterpolatingSampler(order="strided", steps=1), [[[0, 1, 2, 3, 4, 5]]]),
    "strided": (InterpolatingSampler(order="strided", steps=2), shuffled([[0, 2, 4], [1, 3, 5]])),
    "strided, uneven": (
        InterpolatingSampler(order="strided", steps=4),
        shuffled([[0, 4], [1, 5], [2], [3]]),
    ),
    "strided, half": (
        InterpolatingSampler(order="strided", steps=2, alpha_0=0.5),
        [[[0, 2, 4], [1], [3], [5]], [[1, 3, 5], [0], [2], [4]]],
    ),
    "strided in blocks": (
        InterpolatingSampler(order="strided", steps=4, block=3),
        [
            [*first, *([i + 3 for i in group] for group in first)]
            for first in shuffled([[0, 2], [1]])
        ],
    ),
    "anchored": (InterpolatingSampler(order="anchored", steps=3), [[[0], [3], [1, 4], [2, 5]]]),
    "anchored, a third": (
        InterpolatingSampler(order="anchored", steps=3, alpha_0=2 / 3),
        [[[0], [3], [1, 4], [2], [5]]],
    ),
    "anchored in blocks": (
        InterpolatingSampler(order="anchored", steps=4, block=4),
        [[[0], [2], [1, 3], [4], [5]]],
    ),
    "anchored in odd blocks": (
        InterpolatingSampler(order="anchored", steps=4, block=3),
        [[[0], [2], [1], [3], [5], [4]]],
    ),
    "random in blocks": (InterpolatingSampler(steps=2, block=3), [[[0, 1, 2], [3, 4, 5]]]),
}


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize(("sampler", "orders"), CASES.values(), ids=CASES)
def test_frequencies_follow_the_law_of_the_groups(
    sampler: InterpolatingSampler, orders: list[Groups], variant: Literal["A", "B"]
) -> None:
    family = Interpolating(vocab_size=V, variant=variant)
    rng = Rows.of(stream(0, "strides", str(sampler)), DRAWS)
    x, nfe = sample(family, Optimal(TOY), undecided(DRAWS, L), sampler, rng=rng)
    want = law(orders)
    assert float(want.sum()) == pytest.approx(1)
    assert p_value(x, want, V) > 1e-3
    assert bool((nfe == len(orders[0])).all())
    if any(len(group) > 1 for group in orders[0]):
        assert p_value(x, TOY.p.flatten(), V) < 1e-6  # tokens decided together are not independent


def test_one_token_at_a_time_is_exact() -> None:
    family = Interpolating(vocab_size=V)
    for order in ("strided", "anchored"):
        for steps in (None, L):
            sampler = InterpolatingSampler(order=order, steps=steps)
            rng = Rows.of(stream(1, order), DRAWS)
            x, nfe = sample(family, Optimal(TOY), undecided(DRAWS, L), sampler, rng=rng)
            assert bool((nfe == L).all())
            assert p_value(x, TOY.p.flatten(), V) > 1e-3


@pytest.mark.parametrize("variant", ["A", "B"])
def test_strides_are_counted_over_holes(variant: Literal["A", "B"]) -> None:
    """Two tokens given: the others, 0, 2, 3, 5, are first, second, third and fourth."""
    family = Interpolating(vocab_size=V, variant=variant)
    start = undecided(DRAWS, L)
    start[:, 1], start[:, 4] = 1, 0
    rng = Rows.of(stream(2), DRAWS)
    x, nfe = sample(
        family, Optimal(TOY), start, InterpolatingSampler(order="strided", steps=2), rng=rng
    )
    want = law(shuffled([[0, 3], [2, 5]]), {1: 1, 4: 0})
    assert p_value(x, want / want.sum(), V) > 1e-3
    assert bool((nfe == 2).all())


@pytest.mark.parametrize("seed", [2, 6])
def test_tokens_of_an_event_are_shown_in_random_order(seed: int) -> None:
    """A random transformer is not blind to it: masks see those before them, and later tokens that order."""
    family, length, draws = Interpolating(vocab_size=V), 4, DRAWS
    network = random_transformer(family, seed, scale=1.0)
    texts = torch.cartesian_prod(*[torch.arange(V)] * length)

    def law(paths: list[tuple[int, ...]]) -> Tensor:
        """Two events of two, over all paths of positions."""
        total = torch.zeros(len(texts))
        for path in paths:
            place, x, log_law = torch.tensor(path), texts[:, list(path)], torch.zeros(len(texts))
            for done in (0, 2):
                z = torch.cat([x[:, :done], torch.full((len(x), 2), V)], 1)
                view = View(z, place[: done + 2].expand(z.shape), Causal())
                log_p = network(view).log_probs().view(len(x), -1, V)[:, done:]
                log_law = log_law + log_p.gather(2, x[:, done : done + 2, None]).sum((1, 2))
            total += log_law.exp() / len(paths)
        return total

    groups = [(0, 2), (1, 3)]
    paths = [
        (*a, *b)
        for first, second in (groups, groups[::-1])
        for a in itertools.permutations(first)
        for b in itertools.permutations(second)
    ]
    with torch.no_grad():
        want, sorted_law = law(paths), law([(0, 2, 1, 3), (1, 3, 0, 2)])
    sampler = InterpolatingSampler(order="strided", steps=2)
    rng = Rows.of(stream(3, seed), draws)
    x, _ = sample(family, network, undecided(draws, length), sampler, rng=rng)
    assert p_value(x, want, V) > 1e-3
    assert p_value(x, sorted_law, V) < 1e-6


def test_impossible_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="block must be at least 1, got 0"):
        InterpolatingSampler(block=0)
    with pytest.raises(InputError, match=r"alpha_0 must be at most 1, got 1\.5"):
        InterpolatingSampler(alpha_0=1.5)
