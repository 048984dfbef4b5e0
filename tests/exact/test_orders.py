"""Orders of masks: samplers and likelihoods follow one law, enumerated here state by state in plain Python.

On transformers with random weights: their predictions tie where no token is known, but for rounding.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_network import random_transformer
from rough import Rough, scores
from test_sampler_frequencies import p_value
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.base import undecided
from isodiff.families.block import BlockDiffusion
from isodiff.families.confidence import NEAR, surest
from isodiff.families.masked import Masked
from isodiff.families.sampling import sample
from isodiff.network.view import Denoiser
from isodiff.rng import Rows, Streams, stream

V, L, DRAWS = 3, 4, 10_000
TOY = Toy.random(V, L, seed=0)
X = TOY.sequences
METHODS = {
    **{"random": "orders", "left_to_right": "left_to_right", "confidence": "confidence"},
    **{order: order for order in ("probability", "margin", "entropy")},
}
"""The likelihood of each order."""
FAMILIES: dict[str, Any] = {
    "masked": Masked(vocab_size=V),
    "blocks of 3": BlockDiffusion(vocab_size=V, block_size=3),
    "blocks of 2": BlockDiffusion(vocab_size=V, block_size=2),
}
State = tuple[int, ...]
BLANK: State = (V,) * L
SURE: dict[str, Callable[[list[float]], float]] = {
    "left_to_right": lambda row: 0.0,
    "probability": max,
    "margin": lambda row: sorted(row)[-1] - sorted(row)[-2],
    "entropy": lambda row: sum(v * math.log(v) for v in row),
}


class Case:
    """A family on a denoiser, with its predictions for every state, asked once."""

    def __init__(self, family: Any, denoiser: Denoiser) -> None:
        self.family, self.denoiser = family, denoiser
        states = torch.cartesian_prod(*[torch.arange(V + 1)] * L)
        hidden, every = states == V, torch.ones_like(states, dtype=torch.bool)
        with torch.no_grad():
            p = family.predict(denoiser, states.clamp_max(V - 1), hidden, every).probs()
        p = p.view(len(states), L, V).double()
        self.p = {
            tuple(state): table for state, table in zip(states.tolist(), p.tolist(), strict=True)
        }
        self.of = family.block(L, torch.device("cpu")).tolist()

    def law(
        self, order: str, temperature: float = 1.0, top_k: int = V, start: State = BLANK
    ) -> Tensor:
        """Over V^L texts, one token at a time."""
        now: dict[State, float] = {start: 1.0}
        for _ in range(start.count(V)):
            then: dict[State, float] = defaultdict(float)
            for state, chance in now.items():
                masks, p = self.waiting(state), self.p[state]
                q = [cut(row, temperature, top_k) for row in p]
                for place, token, share in moves(order, masks, p, q):
                    then[written(state, {place: token})] += chance * share
            now = then
        return over_texts(now)

    def stepwise(self, order: str, steps: int) -> Tensor:
        """The same in so many steps for each block."""
        now: dict[State, float] = {BLANK: 1.0}
        for block in sorted(set(self.of)):
            size = self.of.count(block)
            for step in range(steps):
                then: dict[State, float] = defaultdict(float)
                for state, chance in now.items():
                    masks = [i for i in range(L) if state[i] == V and self.of[i] == block]
                    for lifted, share in groups(order, masks, self.p[state], step, steps, size):
                        for tokens in itertools.product(range(V), repeat=len(lifted)):
                            new = dict(zip(lifted, tokens, strict=True))
                            p = math.prod(self.p[state][i][v] for i, v in new.items())
                            then[written(state, new)] += chance * share * p
                now = then
        return over_texts(now)

    def waiting(self, state: State) -> list[int]:
        """The masks of the first block that has any."""
        block = min(b for b, token in zip(self.of, state, strict=True) if token == V)
        return [i for i in range(L) if state[i] == V and self.of[i] == block]


def written(state: State, new: dict[int, int]) -> State:
    return tuple(new.get(i, token) for i, token in enumerate(state))


def over_texts(states: dict[State, float]) -> Tensor:
    total = torch.zeros(len(X), dtype=torch.float64)
    for state, chance in states.items():
        total[sum(token * V**i for i, token in enumerate(reversed(state)))] += chance
    return total


def groups(
    order: str, masks: list[int], p: list[list[float]], step: int, steps: int, size: int
) -> list[tuple[list[int], float]]:
    """Which masks a step lifts, with what chance: all subsets of them, or as many as are due."""
    if order == "random":
        one = 1 / (steps - step)
        subsets = [list(s) for k in range(L + 1) for s in itertools.combinations(masks, k)]
        chances = [one ** len(s) * (1 - one) ** (len(masks) - len(s)) for s in subsets]
        return [(s, chance) for s, chance in zip(subsets, chances, strict=True) if chance]
    count = sum(rank * steps // size == step for rank in range(size))
    if order == "left_to_right":
        return [(masks[:count], 1.0)]
    by_value: list[list[int]] = []  # groups of equals, the surest first
    for i in sorted(masks, key=lambda i: -SURE[order](p[i])):
        last = by_value[-1] if by_value else None
        if last and SURE[order](p[last[0]]) - SURE[order](p[i]) < NEAR:
            last.append(i)
        else:
            by_value.append([i])
    chosen: list[int] = []
    for group in map(sorted, by_value):
        m = min(count - len(chosen), len(group))
        chosen += [group[-(-k * len(group) // m)] for k in range(m)]
    return [(chosen, 1.0)]


def cut(p: list[float], temperature: float, top_k: int) -> list[float]:
    """The part that is drawn from."""
    floor = sorted(p)[-top_k]
    kept = [v ** (1 / temperature) if v >= floor else 0.0 for v in p]
    return [v / sum(kept) for v in kept]


def moves(
    order: str, masks: list[int], p: list[list[float]], q: list[list[float]]
) -> list[tuple[int, int, float]]:
    """(position, token, chance): predictions p say where, and q what."""
    if order == "random":
        return [(i, v, q[i][v] / len(masks)) for i in masks for v in range(V)]
    if order == "confidence":
        found = []
        for drawn in itertools.product(range(V), repeat=len(masks)):
            i = leftmost([p[i][v] for i, v in zip(masks, drawn, strict=True)])
            chance = math.prod(q[i][v] for i, v in zip(masks, drawn, strict=True))
            found.append((masks[i], drawn[i], chance))
        return found
    i = masks[leftmost([SURE[order](p[i]) for i in masks])]
    return [(i, v, q[i][v]) for v in range(V)]


def leftmost(values: list[float]) -> int:
    """The first of the largest, as far as they differ."""
    return next(i for i, value in enumerate(values) if value >= max(values) - NEAR)


CASES = {
    f"{name}, {kind}": (name, kind)
    for name in FAMILIES
    for kind in ("rough", "network 1", "network 2", "network 3")
}
each_case = pytest.mark.parametrize("label", CASES)
_made: dict[str, Case] = {}


def case(label: str) -> Case:
    if label not in _made:
        name, kind = CASES[label]
        family = FAMILIES[name]
        network = random_transformer(family, int(kind[-1])) if kind != "rough" else Rough(TOY)
        _made[label] = Case(family, network)
    return _made[label]


@each_case
@pytest.mark.parametrize("order", METHODS)
def test_sampler_likelihood_and_enumeration_agree(label: str, order: str) -> None:
    """Exactly, of all texts; and by chi-square. In float32, as networks are."""
    one = case(label)
    law = one.law(order)
    assert float(law.sum()) == pytest.approx(1, abs=1e-6)
    found = scores(one.family, one.denoiser, X, method=METHODS[order])
    assert found.kind == "exact" and float(found.se.max()) == 0
    torch.testing.assert_close((-found.nats).exp(), law, rtol=1e-4, atol=1e-7)
    rng = Rows.of(stream(0, label, order), DRAWS)
    sampler = one.family.sampler(steps=None, order=order)
    x, nfe = sample(one.family, one.denoiser, undecided(DRAWS, L), sampler, rng=rng)
    assert bool((nfe == L).all())
    assert p_value(x, law) > 1e-3


@pytest.mark.parametrize("order", METHODS)
@pytest.mark.parametrize("label", ["masked, network 1", "blocks of 3, network 2"])
def test_given_tokens_are_shown_to_both(label: str, order: str) -> None:
    one, given = case(label), 2
    prompt = undecided(DRAWS, L)
    prompt[:, given] = 1
    law = one.law(order, start=(V, V, 1, V))
    observed = (torch.arange(L) == given).expand(len(X), -1)
    found = scores(one.family, one.denoiser, X, observed=observed, method=METHODS[order])
    p = torch.where(X[:, given] == 1, (-found.nats).exp(), 0)
    torch.testing.assert_close(p, law, rtol=1e-4, atol=1e-7)
    rng, sampler = Rows.of(stream(2, order), DRAWS), one.family.sampler(steps=None, order=order)
    x, _ = sample(one.family, one.denoiser, prompt, sampler, rng=rng)
    assert p_value(x, law) > 1e-3


@pytest.mark.parametrize("order", ["random", *SURE])
@pytest.mark.parametrize("label", ["masked, rough", "masked, network 1", "blocks of 3, network 2"])
def test_several_at_a_time_have_the_law_of_their_groups(label: str, order: str) -> None:
    """Tokens of a step are drawn apart; which they are, the network or chance says."""
    one, steps = case(label), 2
    law = one.stepwise(order, steps)
    rng = Rows.of(stream(3, label, order), DRAWS)
    # The masked sampler has one block, the other its steps in each.
    sampler = one.family.sampler(steps=steps, order=order)
    x, _ = sample(one.family, one.denoiser, undecided(DRAWS, L), sampler, rng=rng)
    assert float(law.sum()) == pytest.approx(1, abs=1e-6)
    assert p_value(x, law) > 1e-3


@pytest.mark.parametrize("order", METHODS)
@pytest.mark.parametrize("cuts", [{"temperature": 0.5}, {"top_k": 2}], ids=str)
def test_what_is_cut_is_drawn_from_and_not_where_it_is_surest(order: str, cuts: Any) -> None:
    """Two positions that the cut prediction would rank otherwise are ranked by the whole one."""
    one = case("masked, rough")
    sampler = one.family.sampler(steps=None, order=order, **cuts)
    rng = Rows.of(stream(1, order), DRAWS)
    x, _ = sample(one.family, one.denoiser, undecided(DRAWS, L), sampler, rng=rng)
    assert p_value(x, one.law(order, **cuts)) > 1e-3
    assert p_value(x, one.law(order)) < 1e-6


@pytest.mark.parametrize("method", ["probability", "margin", "entropy", "confidence"])
@pytest.mark.parametrize("seed", range(8))
def test_no_batch_size_moves_a_likelihood(method: str, seed: int) -> None:
    """Where all is masks, positions tie but for rounding; another batch rounds otherwise."""
    family = Masked(vocab_size=V)
    network = random_transformer(family, seed)
    found = [
        scores(family, network, X[::5], method=method, batch_size=size).nats for size in (1, 3, 16)
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("order", ["probability", "margin", "entropy", "confidence"])
def test_no_company_moves_a_sample(order: str) -> None:
    family = FAMILIES["masked"]
    network = random_transformer(family, 4)
    sampler = family.sampler(steps=3, order=order)
    whole, _ = sample(family, network, undecided(16, 9), sampler, rng=Streams(0, 16))
    for first in range(16):
        rng = Streams(0, 1, first=first)
        alone, _ = sample(family, network, undecided(1, 9), sampler, rng=rng)
        assert torch.equal(alone[0], whole[first])


def test_every_order_of_a_family_has_its_likelihood() -> None:
    """By name, but for the random one."""
    from isodiff.evaluate.likelihood import ANY_ORDER

    bounds = {"mask_counts", "enumeration", "block_chain"}
    assert set(METHODS.values()) <= set(ANY_ORDER) - bounds
    for family in FAMILIES.values():
        for order in METHODS:
            assert family.sampler(order=order).order == order


quarters = st.lists(st.integers(0, 4), min_size=1, max_size=12)


@given(quarters, st.integers(1, 12), st.integers(0, 10**6))
def test_ties_are_spread_and_rounding_is_not_looked_at(
    values: list[int], count: int, seed: int
) -> None:
    """Noise below the tolerance changes nothing; the surest are taken; equals are spread."""
    count = min(count, len(values))
    score = torch.tensor([values], dtype=torch.float64) / 4
    noise = (torch.rand(score.shape, generator=stream(seed)) - 0.5) * NEAR / 2
    number = torch.tensor([count])
    chosen = surest(score, number)
    assert int(chosen.sum()) == count
    assert torch.equal(surest(score + noise, number), chosen)
    assert (
        float(score[chosen].min()) >= float(score[~chosen].max()) if count < len(values) else True
    )
    least = score[chosen].min()
    rank = (score[0] == least).nonzero().squeeze(-1).tolist()
    taken = [place for place in rank if bool(chosen[0, place])]
    n, m = len(rank), len(taken)
    assert taken == [rank[-(-k * n // m)] for k in range(m)]  # evenly, the leftmost first


def test_the_surest_of_nothing_are_none() -> None:
    score = torch.full((2, 3), -torch.inf)
    score[1, 2] = 0.3
    assert surest(score, torch.tensor([0, 1])).tolist() == [[False] * 3, [False, False, True]]
    assert not bool(surest(torch.ones(1, 3), torch.tensor([0])).any())
