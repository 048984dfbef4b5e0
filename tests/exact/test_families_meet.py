"""Claim 6: families meet at their limits.

One block and interpolating(1) are masked diffusion; blocks of one token and interpolating(0) are
autoregressive; hybrid noise without random tokens is masked, without masks uniform.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from oracle import Optimal
from scripted import Scripted, orders

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import undecided
from isodiff.families.block import BlockDiffusion, BlockSampler
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked, MaskedSampler
from isodiff.families.sampling import sample
from isodiff.families.uniform import Uniform
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.network.view import LogProbTable, View
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, B = 5, 7, 64


@dataclass(frozen=True)
class OrderBlind:
    """Random features of the set of (token, place) pairs of the clean tokens, and of the place asked."""

    vocab_size: int = V

    def __call__(self, view: View) -> LogProbTable:
        rng = stream(0, "order-blind")
        told = torch.randn(V + 1, L, 8, generator=rng)
        told[V] = 0  # masks tell nothing
        asked = torch.randn(L, 8, V, generator=rng)
        place = view.positions.expand(view.inputs.shape)
        features = told[view.inputs, place].sum(1).tanh()
        log_p = torch.einsum("bf,bnfv->bnv", features, asked[place]).log_softmax(-1)
        log_p = log_p.flatten(0, 1)
        return LogProbTable(log_p if view.read is None else log_p[view.read])


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
    got, _ = sample(esolm, Optimal(toy), undecided(200, 4), esolm.sampler(), rng=rng)
    assert rng.exhausted()
    rng = Scripted(200, uniform=[numbers])
    want, _ = sample(ar, Optimal(toy, shift=1), undecided(200, 4), ar.sampler(), rng=rng)
    assert torch.equal(got, want)


def network() -> Transformer:
    """Nothing is zero."""
    torch.manual_seed(0)
    shape = Shape(depth=2, width=8, heads=2)
    model = Transformer(
        vocab_size=V, num_states=V + 1, shape=shape, backbone=Backbone(), timed=False
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.requires_grad_(False)


def same_masks() -> tuple[Scripted, Scripted]:
    """One block's counts and orders, as the block family and as the masked one ask for them."""
    k, order = rng().antithetic(L), rng().permutation(L)
    one_block = Scripted(B, scattered=[(k[:, None] - 0.5) / L], permutation=[order])
    return one_block, Scripted(B, antithetic=[k], permutation=[order])


@pytest.mark.parametrize("block_size", [L, L + 3])
@pytest.mark.parametrize("objective", ["nelbo", "low_variance"])
def test_one_block_has_loss_and_bound_of_masked(objective, block_size) -> None:
    block = BlockDiffusion(vocab_size=V, block_size=block_size, objective=objective)
    masked = Masked(vocab_size=V, objective=objective)
    for of in ("loss", "nelbo"):
        one_block, no_block = same_masks()
        got = getattr(block, of)(network(), batch(), rng=one_block)
        want = getattr(masked, of)(network(), batch(), rng=no_block)
        if of == "nelbo":
            got, want = got.nats, want.nats
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
        assert float(got.std()) > 0.1


@pytest.mark.parametrize("steps", [3, None])
def test_one_block_samples_what_masked_samples(steps: int | None) -> None:
    block, masked = BlockDiffusion(vocab_size=V, block_size=L), Masked(vocab_size=V)
    order, numbers = rng().uniform(L), Rows.of(stream(1), B).uniform(L)
    script = Scripted(B, uniform=[order, numbers])
    got = sample(block, network(), undecided(B, L), BlockSampler(steps=steps), rng=script)
    assert script.exhausted()
    script = Scripted(B, uniform=[order] + [numbers] * L)
    want = sample(masked, network(), undecided(B, L), MaskedSampler(steps=steps), rng=script)
    assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


def test_blocks_of_one_token_are_interpolating_at_0() -> None:
    """[z ; x] under TwoStream(1), with every token a mask: the same network, the same numbers."""
    block, zero = (
        BlockDiffusion(vocab_size=V, block_size=1),
        Interpolating(vocab_size=V, alpha_0=0.0),
    )
    got, want = (family.loss(network(), batch(), rng=rng()) for family in (block, zero))
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    assert float(got.std()) > 0.1


@pytest.mark.parametrize("clip", [(0.0, 1.0), (0.3, 0.6)])
def test_blocks_of_one_token_are_autoregressive_on_the_oracle(clip: tuple[float, float]) -> None:
    """Token by token, at every draw: one token can only be masked, so there is nothing to clip."""
    toy = Toy.random(3, 4, seed=0)
    x = toy.sequences
    rows = Rows.of(stream(0), len(x))
    one = BlockDiffusion(vocab_size=3, block_size=1, low=clip[0], high=clip[1], objective="nelbo")
    want = Autoregressive(vocab_size=3).loss(Optimal(toy, shift=1), x, rng=rows)
    torch.testing.assert_close(one.loss(Optimal(toy), x, rng=rows), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.nelbo(Optimal(toy), x, rng=rows).nats, -toy.log_p(x))


@pytest.mark.parametrize("steps", [1, None])
def test_blocks_of_one_token_sample_what_autoregressive_samples(steps: int | None) -> None:
    toy = Toy.random(3, 4, seed=0)
    numbers = torch.rand(200, 4, dtype=torch.float64, generator=stream(3))
    block, ar = BlockDiffusion(vocab_size=3, block_size=1), Autoregressive(vocab_size=3)
    rng = Scripted(200, uniform=[numbers] * 2)
    got, _ = sample(block, Optimal(toy), undecided(200, 4), BlockSampler(steps=steps), rng=rng)
    assert rng.exhausted()
    rng = Scripted(200, uniform=[numbers])
    want, _ = sample(ar, Optimal(toy, shift=1), undecided(200, 4), ar.sampler(), rng=rng)
    assert torch.equal(got, want)


def moments(k: torch.Tensor, order: torch.Tensor) -> Scripted:
    """Numbers with which the last k of `order` are corrupted, at m = k / (L + 1)."""
    u, nothing = (L - order.argsort(-1)) / (L + 1), torch.zeros(B, L)
    return Scripted(B, strata=[(k + 0.5) / (L + 1)], uniform=[u, u[:, 0], nothing, nothing])


@pytest.mark.parametrize("weighting", ["elbo", "dynamic"])
def test_hybrid_without_random_tokens_is_masked(weighting) -> None:
    """The same masks, the same nats; one of its L + 1 counts is empty."""
    k, order = 1 + torch.arange(B) % L, rng().permutation(L)
    objective = "nelbo" if weighting == "elbo" else "low_variance"
    script = Scripted(B, antithetic=[k], permutation=[order])
    want = Masked(vocab_size=V, objective=objective).loss(OrderBlind(), batch(), rng=script)
    hybrid = Hybrid(vocab_size=V, p_u=0.0, weighting=weighting)
    got = hybrid.loss(OrderBlind(), batch(), rng=moments(k, order))
    # dt/dtau = 2 t (1 - t) takes the 1/t away.
    factor = (L + 1) / L if weighting == "elbo" else 2 * (1 - k[:, None] / (L + 1))
    torch.testing.assert_close(got, want * factor, rtol=1e-12, atol=1e-12)
    bound = hybrid.nelbo(OrderBlind(), batch(), rng=moments(k, order)).nats
    script = Scripted(B, antithetic=[k], permutation=[order])
    masked = Masked(vocab_size=V).nelbo(OrderBlind(), batch(), rng=script).nats
    torch.testing.assert_close(bound, masked * (L + 1) / L, rtol=1e-12, atol=1e-12)


def test_a_trace_of_random_tokens_changes_a_trace() -> None:
    """p_u = 0 has a branch of its own; it is the limit of the other one."""
    k, order = 1 + torch.arange(B) % L, rng().permutation(L)
    script = moments(k, order)
    script.script["uniform"] = iter([*list(script.script["uniform"])[:-1], torch.full((B, L), 0.9)])
    trace = Hybrid(vocab_size=V, p_u=1e-9, weighting="elbo")
    got = trace.loss(OrderBlind(), batch(), rng=script)
    none = Hybrid(vocab_size=V, p_u=0.0, weighting="elbo")
    want = none.loss(OrderBlind(), batch(), rng=moments(k, order))
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("options", [{"p_u": 1 - 1e-9}, {"shift": 30.0}], ids=str)
def test_hybrid_without_masks_is_uniform(options) -> None:
    """The same moments, the same random tokens."""
    hybrid = Hybrid(vocab_size=V, weighting="elbo", **options)
    uniform = Uniform(vocab_size=V)
    got = hybrid.loss(OrderBlind(), batch(), rng=rng())
    want = uniform.loss(OrderBlind(), batch(), rng=rng())
    torch.testing.assert_close(got, want, rtol=1e-7, atol=1e-9)
    got = hybrid.nelbo(OrderBlind(), batch(), rng=rng())
    torch.testing.assert_close(got.nats, uniform.nelbo(OrderBlind(), batch(), rng=rng()).nats)
