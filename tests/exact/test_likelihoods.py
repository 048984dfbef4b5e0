"""What the estimators without noise find, and what none of them may depend on."""

from __future__ import annotations

import itertools
import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from oracle import Bayes, Known, LeaveOneOut, Optimal
from rough import Rough, scores, trials
from scripted import Scripted, orders, product
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.evaluate.estimators.chain import growing_groups
from isodiff.evaluate.likelihood import ANY_ORDER, likelihood
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family
from isodiff.families.block import BlockDiffusion
from isodiff.families.gaussian import Gaussian
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.attention import block_sizes
from isodiff.network.view import Denoiser, Prediction, View

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 4
TOY = Toy.random(V, L, seed=0)
X = TOY.sequences
MASKED, BLOCKS = Masked(vocab_size=V), BlockDiffusion(vocab_size=V, block_size=3)
FAMILIES: dict[str, Family] = {"masked": MASKED, "block": BLOCKS}
EXACT = ["orders", "left_to_right", "confidence", "probability", "margin", "entropy"]
BLIND = [method for method in EXACT if method != "confidence"]  # to the tokens it draws
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def expected_bound(family: Family, denoiser: Denoiser) -> Tensor:
    """E[nelbo] of every text, over every count and order of the family's own draws."""
    if isinstance(family, BlockDiffusion):
        blocks = block_sizes(L, family.block_size)
        *counts, order = product(*(torch.arange(size) for size in blocks), orders(L))
        level = [(k + 0.5) / size for k, size in zip(counts, blocks, strict=True)]
        draws: dict[str, Tensor] = {"scattered": torch.stack(level, -1), "permutation": order}
    else:
        k, order = product(torch.arange(1, L + 1), orders(L))
        draws = {"antithetic": k, "permutation": order}
    num = len(order)
    script = {name: [value.repeat_interleave(len(X), 0)] for name, value in draws.items()}
    rng = Scripted(num * len(X), **script)
    return family.nelbo(denoiser, X.repeat(num, 1), rng=rng).nats.view(num, -1).mean(0)


@each_family
@pytest.mark.parametrize("denoiser", [Optimal(TOY), Rough(TOY)], ids=["optimal", "rough"])
def test_all_subsets_are_the_expected_bound(family: Family, denoiser: Denoiser) -> None:
    found = scores(family, denoiser, X, method="enumeration")
    torch.testing.assert_close(found.nats, expected_bound(family, denoiser), rtol=1e-12, atol=0)
    most = L if family is MASKED else 3
    assert found.kind == "bound" and found.num_forwards.unique().tolist() == [2**most - 1]
    assert float(found.se.max()) == 0


@each_family
@pytest.mark.parametrize("method", EXACT)
def test_an_exact_likelihood_sums_to_one(family: Family, method: str) -> None:
    """Whatever the predictions: who chooses the order never sees the tokens to come."""
    found = scores(family, Rough(TOY), X, method=method)
    assert found.kind == "exact" and float(found.se.max()) == 0
    assert float((-found.nats).exp().sum()) == pytest.approx(1, abs=1e-12)
    optimal = scores(family, Optimal(TOY), X, method=method)
    if method not in BLIND:  # likely tokens come first, and are kept more often than they are drawn
        assert float((TOY.p.flatten() * (optimal.nats + TOY.log_p(X))).sum()) > 0.05
        return
    torch.testing.assert_close(optimal.nats, -TOY.log_p(X), rtol=1e-12, atol=0)


def chain(denoiser: Denoiser, order: tuple[int, ...]) -> Tensor:
    """Nats of every text in a given order, one look at a time."""
    masked, total = torch.ones(len(X), L, dtype=torch.bool), torch.zeros(len(X))
    for place in order:
        total = total + MASKED.nats(denoiser, X, masked)[:, place]
        masked[:, place] = False
    return total


def test_all_orders_are_the_mean_of_chains() -> None:
    """And the best order of each text is no likelihood: it sums to more than one."""
    each = torch.stack([chain(Rough(TOY), order) for order in itertools.permutations(range(L))])
    found = scores(MASKED, Rough(TOY), X, method="orders").nats
    torch.testing.assert_close(found, -((-each).exp().mean(0)).log(), rtol=1e-12, atol=0)
    torch.testing.assert_close(
        scores(MASKED, Rough(TOY), X, method="left_to_right").nats, each[0], rtol=1e-12, atol=0
    )
    assert bool((found < scores(MASKED, Rough(TOY), X, method="enumeration").nats).all())
    assert float((-each.amin(0)).exp().sum()) > 1.5


def test_growing_groups() -> None:
    rank = torch.arange(20)[None]
    group = growing_groups(rank, torch.full_like(rank, 20), 4)
    assert group.unique(return_counts=True)[1].tolist() == [1, 4, 6, 9]
    assert growing_groups(rank, torch.full_like(rank, 20), 1).unique().tolist() == [0]
    assert growing_groups(rank[:, :3], torch.full((1, 3), 3), 8).tolist() == [[0, 1, 2]]


def test_a_block_chain_of_single_tokens_is_a_chain_in_random_order() -> None:
    """Its draws are chains; each is the exact likelihood of one order."""
    each = torch.stack([chain(Rough(TOY), order) for order in itertools.permutations(range(L))])
    x = 40
    found = trials(MASKED, Rough(TOY), X[x], 200, method=f"block_chain:{L}", budget=2 * L)
    pairs = (each[:, None, x] + each[None, :, x]) / 2
    assert float((found.nats[:, None] - pairs.flatten()).abs().amin(-1).max()) < 1e-12


@each_family
def test_block_chains_are_bounds(family: Family) -> None:
    """For the optimal denoiser above -log p(x) on average: tokens of a group are drawn apart."""
    found = scores(family, Optimal(TOY), X, method="block_chain:2", budget=64)
    gap = TOY.p.flatten() @ (found.nats + TOY.log_p(X))
    assert float(gap) > 0.05 and found.kind == "bound"


@each_family
@pytest.mark.parametrize(
    "method", ["mask_counts", *EXACT, "enumeration", "block_chain:2", "noise_level"]
)
def test_neither_batch_nor_company_matters(family: Family, method: str) -> None:
    """But for rounding: a processor may multiply one matrix in another order than many."""
    x = X[5:12]
    once = scores(family, Rough(TOY), x, method=method)
    same = partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)
    for batch_size in (1, 5):
        again = scores(family, Rough(TOY), x, method=method, batch_size=batch_size)
        same(again[:3], once[:3])
    alone = scores(family, Rough(TOY), x[[4, 2]], method=method)
    same((alone.nats, alone.se), (once.nats[[4, 2]], once.se[[4, 2]]))


class Shown:
    """A denoiser that remembers what it was shown."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.vocab_size = denoiser, denoiser.vocab_size
        self.inputs: list[Tensor] = []

    def __call__(self, view: View) -> Prediction:
        self.inputs += view.inputs.unbind(0)
        return self.denoiser(view)


@pytest.mark.parametrize("method", ["mask_counts", "noise_level", "block_chain:2"])
def test_a_larger_budget_keeps_the_draws_of_a_smaller_one(method: str) -> None:
    views = []
    for budget in (35, 70, 140):
        shown = Shown(Rough(TOY))
        found = scores(MASKED, shown, X[7:8], method=method, budget=budget)
        assert len(shown.inputs) == int(found.num_forwards[0]) <= budget
        views.append(torch.stack(shown.inputs))
    for less, more in itertools.pairwise(views):
        assert len(less) < len(more) and torch.equal(less, more[: len(less)])


def test_seeds_and_keys_change_the_draws_and_texts_have_their_own() -> None:
    x = X[[7, 7]]
    a = scores(MASKED, Rough(TOY), x, method="mask_counts").nats
    assert float(a[0]) == float(a[1])
    assert float(scores(MASKED, Rough(TOY), x, method="mask_counts", seed=1).nats[0]) != float(a[0])
    apart = scores(MASKED, Rough(TOY), x, method="mask_counts", keys=[(0,), (1,)]).nats
    assert float(apart[0]) != float(apart[1])


def test_a_standard_error_is_reached_with_no_more_than_it_takes() -> None:
    for target in (0.3, 0.1):
        found = scores(MASKED, Rough(TOY), X[:20], method="mask_counts", target_se=target)
        assert float(found.se.max()) <= target
    capped = scores(MASKED, Rough(TOY), X[:20], method="mask_counts", target_se=1e-6, budget=100)
    assert capped.num_forwards.unique().tolist() == [97]


def test_what_auto_chooses() -> None:
    def how(family: Family, denoiser: Denoiser, **options: Any) -> tuple[str, float]:
        found = scores(family, denoiser, X[:1], **options)
        return found.protocol, float(found.num_forwards[0])

    assert how(MASKED, Rough(TOY)) == ("all subsets of masks, seed 0", 15)
    assert how(MASKED, Rough(TOY), budget=14 + 3)[0].startswith("all subsets")
    ar = Autoregressive(vocab_size=V)
    assert how(ar, Optimal(TOY, shift=1)) == ("one pass, seed 0", 1)
    assert how(Uniform(vocab_size=V), LeaveOneOut(TOY))[1] == 64
    long = Toy.random(2, 8, seed=0)
    found = scores(Masked(vocab_size=2), Rough(long), long.sequences[:1])
    assert found.protocol.startswith("all masks once, then 4 rounds")
    assert found.num_forwards.tolist() == [65]


def test_every_evaluation_is_counted() -> None:
    pair = Toy.random(2, 2, seed=3)
    gaussian = Gaussian(vocab_size=2, embedding_width=1)
    found = scores(gaussian, Twice(pair, Known.circle(2)), pair.sequences[:1])
    assert found.num_forwards.tolist() == [4 * 64]
    both = Interpolating(vocab_size=V, alpha_0=0.5)
    assert scores(both, Optimal(TOY), X[:1]).num_forwards.tolist() == [2 * 64]


class Twice(Bayes):
    """Looks at z alone, though it is shown a first look's estimate beside it."""

    def __call__(self, view: View) -> Prediction:
        width = self.latent.table().shape[1]
        return super().__call__(
            View(
                view.inputs[..., :width],
                view.positions,
                view.attention,
                time=view.time,
                table=view.table,
                evidence=view.evidence,
            )
        )


def test_the_autoregressive_likelihood() -> None:
    found = scores(Autoregressive(vocab_size=V), Optimal(TOY, shift=1), X)
    torch.testing.assert_close(found.nats, -TOY.log_p(X), rtol=1e-12, atol=0)
    assert found.kind == "exact" and found.num_forwards.unique().tolist() == [1]


@each_family
@pytest.mark.parametrize("method", ["enumeration", *BLIND])
def test_of_some_tokens_given_the_others(family: Family, method: str) -> None:
    """-log p(x_1, x_3 | x_0, x_2), or with blocks of three -log p(x_1 | x_0, x_2) p(x_3 | x_0, x_1, x_2)."""
    observed = torch.tensor([True, False, True, False]).expand(len(X), -1)
    found = scores(family, Optimal(TOY), X, observed=observed, method=method)
    both = TOY.p.sum((1, 3))[X[:, 0], X[:, 2]].log() - TOY.log_p(X)
    first = TOY.p.sum((1, 3))[X[:, 0], X[:, 2]] / TOY.p.sum(3)[X[:, 0], X[:, 1], X[:, 2]]
    second = TOY.p.sum(3)[X[:, 0], X[:, 1], X[:, 2]] / TOY.p[tuple(X.T)]
    truth = both if family is MASKED else first.log() + second.log()
    torch.testing.assert_close(found.nats, truth, rtol=1e-12, atol=1e-12)
    assert "given tokens shown" in found.protocol


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observed": torch.ones(1, L, dtype=torch.bool)}, "nothing to score"),
        ({"x": X[:1, :0]}, "nothing to score"),
        ({"x": X[0]}, "x is texts by tokens"),
        ({"observed": torch.ones(1, 2, dtype=torch.bool)}, "x is texts by tokens"),
        ({"x": X[:1] + V}, "tokens must lie in 0..2"),
        ({"x": X[:1].repeat(1, 3)}, "longer than the context of 8"),
        ({"method": "mask_count"}, "no method 'mask_count'; did you mean 'mask_counts'?"),
        ({"method": "mask_counts:3"}, "no method 'mask_counts:3'"),
        ({"method": "exact"}, "masked has a bound, no exact likelihood"),
        ({"method": "block_chain:0"}, "at least 1 group"),
        ({"method": "mask_counts", "budget": 16}, "this method needs 17"),
        ({"method": "block_chain:2", "budget": 3}, "this method needs 4"),
        ({"budget": 0}, "at least 1 network evaluation"),
        ({"target_se": 0.0}, "target_se must be positive"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    spec = SimpleNamespace(length=8)
    run = SimpleNamespace(family=MASKED, network=Rough(TOY), spec=spec)
    with pytest.raises(InputError, match=r"^[^\n]*$") as caught:
        likelihood(run, **{"x": X[:1], **options})
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ANY_ORDER)
def test_methods_for_masks_need_masks(method: str) -> None:
    with pytest.raises(InputError, match="needs a family that fills masks"):
        scores(Uniform(vocab_size=V), LeaveOneOut(TOY), X[:1], method=method)


def test_too_many_subsets() -> None:
    x = torch.zeros(1, 13, dtype=torch.long)
    with pytest.raises(InputError, match=r"2\^13 subsets"):
        scores(MASKED, Rough(TOY), x, method="enumeration")


def test_mask_counts_agree_with_noise_levels() -> None:
    """The same bound by the family's own integrand."""
    found = [
        scores(MASKED, Rough(TOY), X[3:4], method=m, budget=3000)
        for m in ("mask_counts", "noise_level")
    ]
    apart = abs(float(found[0].nats - found[1].nats))
    assert apart < 4 * math.hypot(float(found[0].se), float(found[1].se))
    assert float(found[0].se) < float(found[1].se) / 1.1
