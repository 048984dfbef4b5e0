"""The toy itself, and the oracle's view of it."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from oracle import LeaveOneOut, Optimal, tanh_sinh, visible

from isodiff.data.toy import Toy
from isodiff.network.attention import Causal, Full, TwoStream
from isodiff.network.view import View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 3
TOY = Toy.random(V, L, seed=0)


def test_a_toy_is_a_distribution_fixed_by_its_seed() -> None:
    assert TOY.p.sum() == pytest.approx(1, abs=1e-15)
    assert torch.equal(TOY.p, Toy.random(V, L, seed=0).p)
    assert not torch.equal(TOY.p, Toy.random(V, L, seed=1).p)
    torch.testing.assert_close(TOY.log_p(TOY.sequences).exp(), TOY.p.flatten())
    assert TOY.entropy == pytest.approx(-sum(p * math.log(p) for p in TOY.p.flatten().tolist()))


def test_conditionals_by_summing_sequences() -> None:
    for known in itertools.product(range(V + 1), repeat=L):
        for i in range(L):
            weights = torch.zeros(V)
            for x, p in zip(TOY.sequences.tolist(), TOY.p.flatten().tolist(), strict=True):
                if all(k in (V, token) for k, token in zip(known, x, strict=True)):
                    weights[x[i]] += p
            got = TOY.conditional(torch.tensor([known]), torch.tensor([i]))[0]
            torch.testing.assert_close(got, weights / weights.sum())


def test_samples_of_a_toy_have_its_frequencies() -> None:
    x = TOY.sample(Rows.of(stream(0, "sample"), 50_000))
    counts = torch.zeros_like(TOY.p).index_put(tuple(x.T), torch.ones(len(x)), accumulate=True)
    spread = (len(x) * TOY.p * (1 - TOY.p)).sqrt()
    assert ((counts - len(x) * TOY.p) / spread).abs().max() < 4.5


def test_patterns_are_closed_under_composition() -> None:
    """No pattern lets a second layer see what the first may not."""
    for pattern, n in [(Full(), 6), (Causal(), 6), (TwoStream(1), 8), (TwoStream(2), 12)]:
        index = torch.arange(n)
        assert torch.equal(visible(pattern, n), pattern.allowed(index[:, None], index[None], n))


def test_the_oracle_sees_only_what_the_view_shows() -> None:
    inputs = torch.tensor([[2, 0, V]])
    place = torch.tensor([[1, 2, 0]])
    full = Optimal(TOY)(View(inputs, place, Full())).log_probs().exp()
    torch.testing.assert_close(full[2], TOY.p[:, 2, 0] / TOY.p[:, 2, 0].sum())
    causal = Optimal(TOY)(View(inputs[:, [2, 0, 1]], place[:, [2, 0, 1]], Causal()))
    torch.testing.assert_close(causal.log_probs().exp()[0], TOY.p.sum((1, 2)))


def test_leave_one_out_by_bayes() -> None:
    z, m = torch.tensor([[2, 0, 1]]), torch.tensor([0.6])
    like = 0.4 * torch.eye(V) + 0.2  # x, z
    joint = torch.einsum("abc,b,c->abc", TOY.p, like[:, 0], like[:, 1])
    view = View(z, torch.arange(L), Full(), time=m)
    got = LeaveOneOut(TOY)(view).log_probs().exp()[0]
    torch.testing.assert_close(got, joint.sum((1, 2)) / joint.sum())
    joint = joint * like[:, 2][:, None, None]
    got = LeaveOneOut(TOY, own=True)(view).log_probs().exp()[0]
    torch.testing.assert_close(got, joint.sum((1, 2)) / joint.sum())


def test_quadrature() -> None:
    t, w = tanh_sinh()
    assert float(w.sum()) == pytest.approx(1, abs=1e-10)
    assert float(-(w * t.log()).sum()) == pytest.approx(1, abs=1e-9)
