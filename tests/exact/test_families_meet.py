"""Claim 6: interpolating(1) is masked diffusion, interpolating(0) is autoregressive."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from oracle import Optimal
from scripted import Scripted, orders

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import blank, sample
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import Table, View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, B = 5, 7, 64


@dataclass(frozen=True)
class OrderBlind:
    """Random features of the set of (token, place) pairs of the clean tokens, and of the place asked."""

    vocab_size: int = V

    def __call__(self, view: View) -> Table:
        rng = stream(0, "order-blind")
        told = torch.randn(V + 1, L, 8, generator=rng)
        told[V] = 0  # masks tell nothing
        asked = torch.randn(L, 8, V, generator=rng)
        place = view.positions.expand(view.inputs.shape)
        features = told[view.inputs, place].sum(1).tanh()
        log_p = torch.einsum("bf,bnfv->bnv", features, asked[place]).log_softmax(-1)
        log_p = log_p.flatten(0, 1)
        return Table(log_p if view.read is None else log_p[view.read])


def batch() -> torch.Tensor:
    return torch.randint(V, (B, L), generator=stream(0, "batch"))


def rng() -> Rows:
    return Rows.of(stream(0, "same"), B)


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("objective", ["nelbo", "low_variance"])
def test_interpolating_at_1_has_the_loss_of_masked(objective, variant) -> None:
    """Same counts and the same subsets: the last k of an order."""
    one = Interpolating(vocab_size=V, alpha_0=1.0, objective=objective, variant=variant)
    masked = Masked(vocab_size=V, objective=objective)
    torch.testing.assert_close(
        one.loss(OrderBlind(), batch(), rng=rng()),
        masked.loss(OrderBlind(), batch(), rng=rng()),
        rtol=1e-12,
        atol=1e-12,
    )


def test_interpolating_at_1_has_the_bound_of_masked() -> None:
    one, masked = Interpolating(vocab_size=V, alpha_0=1.0), Masked(vocab_size=V)
    got = one.nelbo(OrderBlind(), batch(), rng=rng())
    want = masked.nelbo(OrderBlind(), batch(), rng=rng())
    torch.testing.assert_close(got.nats, want.nats, rtol=1e-12, atol=1e-12)
    assert got.kind == want.kind == "bound"


def test_variants_of_interpolating_are_one_without_clean_tokens() -> None:
    """At alpha_0 = 0 there is nobody to get acquainted with; at 0.5 a random network shows the difference."""
    losses = {}
    for alpha_0 in (0.0, 0.5):
        a, b = (Interpolating(vocab_size=V, alpha_0=alpha_0, variant=v) for v in ("A", "B"))
        model = Transformer(
            vocab_size=V,
            num_states=V + 1,
            shape=Shape(depth=2, width=8, heads=2),
            backbone=Backbone(),
            timed=False,
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, generator=stream(4))
        losses[alpha_0] = [family.loss(model, batch(), rng=rng()) for family in (a, b)]
    torch.testing.assert_close(*losses[0.0], rtol=1e-12, atol=1e-12)
    changed = (losses[0.5][0] - losses[0.5][1]).abs().amax(-1) > 1e-3
    assert 0.5 < float(changed.double().mean()) < 1  # no difference for 0 or 1 clean tokens


def test_interpolating_at_0_is_autoregressive_on_the_oracle() -> None:
    toy = Toy.random(3, 3, seed=0)
    x = toy.sequences
    rows = Rows.of(stream(0), len(x))
    zero = Interpolating(vocab_size=3, alpha_0=0.0)
    ar = Autoregressive(vocab_size=3)
    want = ar.loss(Optimal(toy, shift=1), x, rng=rows)  # token by token
    torch.testing.assert_close(zero.loss(Optimal(toy), x, rng=rows), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(zero.nelbo(Optimal(toy), x, rng=rows).nats, want.sum(-1))
    torch.testing.assert_close(want.sum(-1), -toy.log_p(x))


def test_interpolating_at_0_samples_what_autoregressive_samples() -> None:
    """With the same numbers, the same sequences: both go from left to right."""
    toy = Toy.random(3, 4, seed=0)
    numbers = torch.rand(200, 4, dtype=torch.float64, generator=stream(3))
    order = orders(4)[torch.arange(200) % 24]
    rng = Scripted(200, permutation=[order], uniform=[numbers] * 2)
    esolm, ar = Interpolating(vocab_size=3, alpha_0=0.0), Autoregressive(vocab_size=3)
    got, _ = sample(esolm, Optimal(toy), blank(200, 4), esolm.sampler(), rng=rng)
    assert rng.exhausted()
    rng = Scripted(200, uniform=[numbers])
    want, _ = sample(ar, Optimal(toy, shift=1), blank(200, 4), ar.sampler(), rng=rng)
    assert torch.equal(got, want)
