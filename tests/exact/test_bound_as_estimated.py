"""Claim 3b: what each family's `nelbo` estimates is -log p(x) for the optimal denoiser, for every x.

The expectation is exact: the family runs on scripted randomness (every count, order, subset and noise,
weighted by probabilities computed here), and where a moment is continuous, on quadrature nodes.
"""

from __future__ import annotations

from typing import Literal

import pytest
import scipy.stats
import torch
from oracle import LeaveOneOut, Optimal, random_share, tanh_sinh
from scripted import Scripted, orders, product
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.block import Blockwise
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.attention import sizes
from isodiff.network.view import Denoiser
from isodiff.process.categorical import UniformState
from isodiff.process.schedule import Linear

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 3
TRUE, WRONG = Toy.random(V, L, seed=0), Toy.random(V, L, seed=1)
X = TRUE.sequences
KL = float(TRUE.p.flatten() @ (TRUE.log_p(X) - WRONG.log_p(X)))
ALPHA_0 = [1.0, 0.5, 0.25, 0.0]
HYBRIDS = {
    "hybrid-0.3": Hybrid(vocab_size=V, p_u=0.3),
    "hybrid-masks": Hybrid(vocab_size=V, p_u=0.0),
    "hybrid-shift": Hybrid(vocab_size=V, shift=1.0),
}


def paired(x: Tensor, rows: int) -> tuple[Tensor, int]:
    """Every sequence with every outcome: the sequences of one outcome are adjacent."""
    return x.repeat(rows, 1), rows * len(x)


def expected(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over outcomes, per sequence."""
    return weights @ values.view(len(weights), -1)


def each(value: Tensor) -> Tensor:
    """One entry per outcome -> one per (outcome, sequence)."""
    return value.repeat_interleave(len(X), 0)


def cell_centres(chance: Tensor) -> Tensor:
    """The u that draws each category."""
    return chance.cumsum(0) - chance / 2


def masked_bound(denoiser: Denoiser) -> Tensor:
    k, order = product(torch.arange(1, L + 1), orders(L))
    x, rows = paired(X, len(k))
    rng = Scripted(rows, antithetic=[each(k)], permutation=[each(order)])
    nats = Masked(vocab_size=V).nelbo(denoiser, x, rng=rng).nats
    assert rng.exhausted()
    return expected(nats, torch.full((len(k),), 1 / len(k)))


def block_bound(denoiser: Denoiser, block_size: int) -> Tensor:
    """Every block's count, and orders of all positions."""
    blocks = sizes(L, block_size)
    *counts, order = product(*(torch.arange(size) for size in blocks), orders(L))
    level = torch.stack([(k + 0.5) / size for k, size in zip(counts, blocks, strict=True)], -1)
    x, rows = paired(X, len(level))
    rng = Scripted(rows, scattered=[each(level)], permutation=[each(order)])
    family = Blockwise(vocab_size=V, block_size=block_size, low=0.7, high=1.0)  # training only
    nats = family.nelbo(denoiser, x, rng=rng).nats
    assert rng.exhausted()
    return expected(nats, torch.full((len(level),), 1 / len(level)))


def interpolating_bound(
    denoiser: Denoiser, alpha_0: float, variant: Literal["A", "B"] = "B"
) -> Tensor:
    """Both terms, each over its counts and orders."""
    family = Interpolating(vocab_size=V, alpha_0=alpha_0, variant=variant)
    kept = torch.tensor(scipy.stats.binom.pmf(range(L + 1), L, 1 - alpha_0))
    visited = torch.tensor(scipy.stats.binom.cdf(range(L), L, 1 - alpha_0))  # P(k_0 < k)
    strata, permutation, antithetic, weights = [], [], [], torch.ones(1)
    count = torch.arange(1)
    axes = []
    if alpha_0 > 0:
        chance = visited / visited.sum()
        axes += [torch.arange(L), orders(L)]
    if alpha_0 < 1:
        axes += [torch.arange(L + 1)[kept > 0], orders(L)]
    outcome = list(product(*axes))
    weights = torch.ones(len(outcome[0]))
    if alpha_0 > 0:
        count, order = outcome.pop(0), outcome.pop(0)
        weights = weights * chance[count] / len(orders(L))
        if alpha_0 == 1:
            antithetic.append(each(1 + count))
        else:
            strata.append(each(cell_centres(chance)[count]))
        permutation.append(each(order))
    if alpha_0 < 1:
        count, order = outcome.pop(0), outcome.pop(0)
        weights = weights * kept[count] / len(orders(L))
        strata.append(each(cell_centres(kept)[count]))
        permutation.append(each(order))
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=strata, antithetic=antithetic, permutation=permutation)
    nats = family.nelbo(denoiser, x, rng=rng).nats
    assert rng.exhausted()
    return expected(nats, weights)


def uniform_outcomes(alpha_end: float = 0.0, num_nodes: int = 61) -> tuple[Tensor, ...]:
    """weight, strata, u (L), v, noise (L) of every outcome of `jump_times` and the noise.

    k is uniform on {0..L}. For k >= 1, m ~ Beta(k, L-k+1) and the k corrupted tokens are any subset;
    for k = 0, m ~ Beta(1, L+1). Only m <= 1 - alpha_end can count, so only there are nodes.
    """
    nodes, steps = tanh_sinh(num_nodes)
    m, dm = nodes * (1 - alpha_end), steps * (1 - alpha_end)
    parts = []
    for k in range(L + 1):
        shape = (k, L - k + 1) if k else (1, L + 1)
        density = torch.tensor(scipy.stats.beta.pdf(m.numpy(), *shape))
        subsets = [s for s in torch.cartesian_prod(*[torch.arange(2)] * L) if s.sum() == k]
        for subset in subsets:
            alphabets = [torch.arange(V) if hit else torch.arange(1) for hit in subset]
            noise = torch.stack(product(*alphabets), -1)
            node, row = product(torch.arange(len(m)), torch.arange(len(noise)))
            u = torch.where(subset.bool(), m[node, None] / 2, (1 + m[node, None]) / 2)
            if k:
                u[:, subset.argmax()] = m[node]
            parts.append(
                (
                    (dm * density)[node] / (L + 1) / len(subsets) / len(noise),
                    torch.full((len(node),), (k + 0.5) / (L + 1)),
                    u,
                    (-torch.expm1((L + 1) * torch.log1p(-m[node]))).clamp_max(1 - 2**-53),
                    (noise[row] + 0.5) / V,
                )
            )
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def uniform_bound(denoiser: Denoiser, alpha_end: float = 0.0) -> Tensor:
    weights, strata, u, v, noise = uniform_outcomes(alpha_end)
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=[each(strata)], uniform=[each(u), each(v), each(noise)])
    family = Uniform(vocab_size=V, alpha_end=alpha_end)
    nats = family.nelbo(denoiser, x, rng=rng).nats
    assert rng.exhausted()
    prior = L * UniformState(V, Linear(alpha_end)).prior_nats()
    return expected(nats - prior, weights) + prior  # the weights cover [0, 1 - alpha_end] only


def hybrid_outcomes(family: Hybrid) -> tuple[Tensor, ...]:
    """The same for hybrid noise: a corrupted token is one of V at random, or the mask (state V)."""
    weights, strata, u, v, noise = uniform_outcomes()
    moved = u <= u.sort(-1).values.gather(1, ((strata * (L + 1)).long() - 1).clamp_min(0)[:, None])
    moved &= strata[:, None] * (L + 1) > 1
    m = torch.where(moved, u, 0).amax(-1)
    share = random_share(family.process, m.clamp_min(1e-300))
    # Every outcome of uniform noise, with each subset of its corrupted tokens made masks instead; of the V
    # tokens that a mask may hide, the first stands for all.
    columns = []
    for masks in torch.cartesian_prod(*[torch.arange(2)] * L).bool():
        some = ~(masks & (~moved | (noise > 1 / V))).any(-1)
        chance = torch.where(masks, V * (1 - share[:, None]), share[:, None])
        chance = chance.where(moved, 1).prod(-1)
        # Hardly on its side of the share.
        kind = share[:, None] + torch.where(masks, 1 - share[:, None], -share[:, None]) / 1000
        columns.append([c[some] for c in (weights * chance, strata, u, v, noise, kind)])
    return tuple(torch.cat(column) for column in zip(*columns, strict=True))


def hybrid_bound(family: Hybrid, denoiser: Denoiser) -> Tensor:
    weights, strata, *uniform = hybrid_outcomes(family)
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=[each(strata)], uniform=[each(numbers) for numbers in uniform])
    nats = family.nelbo(denoiser, x, rng=rng).nats
    assert rng.exhausted()
    return expected(nats, weights)


def autoregressive_bound(denoiser: Denoiser) -> Tensor:
    return Autoregressive(vocab_size=V).nelbo(denoiser, X, rng=Scripted(len(X))).nats


BOUNDS = {
    "autoregressive": lambda toy: autoregressive_bound(Optimal(toy, shift=1)),
    "masked": lambda toy: masked_bound(Optimal(toy)),
    "uniform": lambda toy: uniform_bound(LeaveOneOut(toy)),
    **{
        f"interpolating-{variant}-{a}": lambda toy, a=a, variant=variant: interpolating_bound(
            Optimal(toy), a, variant
        )
        for a in ALPHA_0
        for variant in ("A", "B")
    },
    **{f"block-{k}": lambda toy, k=k: block_bound(Optimal(toy), k) for k in (1, 2, 3)},
    **{
        name: lambda toy, f=f: hybrid_bound(f, LeaveOneOut(toy, process=f.process))
        for name, f in HYBRIDS.items()
    },
}
each_bound = pytest.mark.parametrize("bound", BOUNDS.values(), ids=BOUNDS)


@each_bound
def test_nelbo_of_the_optimal_denoiser_is_the_nll_of_every_sequence(bound) -> None:
    torch.testing.assert_close(bound(TRUE), -TRUE.log_p(X), rtol=1e-9, atol=0)


@each_bound
def test_gap_of_a_wrong_model_is_the_kl(bound) -> None:
    gap = float(TRUE.p.flatten() @ (bound(WRONG) + TRUE.log_p(X)))
    assert gap == pytest.approx(KL, rel=1e-8)


def test_outcomes_of_uniform_noise_have_probability_one() -> None:
    assert float(uniform_outcomes()[0].sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("family", HYBRIDS.values(), ids=HYBRIDS)
def test_outcomes_of_hybrid_noise_have_probability_one(family: Hybrid) -> None:
    assert float(hybrid_outcomes(family)[0].sum()) == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("family", HYBRIDS.values(), ids=HYBRIDS)
def test_with_random_tokens_the_posterior_mean_is_not_optimal(family: Hybrid) -> None:
    """E[x_i | z] counts z_i twice; under masks alone the two are the same."""
    denoiser = LeaveOneOut(TRUE, own=True, process=family.process)
    loose = float(TRUE.p.flatten() @ hybrid_bound(family, denoiser))
    assert loose > TRUE.entropy + 0.05 if family.p_u != 0 else loose < TRUE.entropy + 1e-6


def test_for_uniform_noise_the_posterior_mean_is_not_optimal() -> None:
    loose = float(TRUE.p.flatten() @ uniform_bound(LeaveOneOut(TRUE, own=True)))
    assert loose > TRUE.entropy + 0.1


@pytest.mark.parametrize("end", [0.3, 0.1, 0.01, 0.001])
def test_a_schedule_that_stops_short_pays_its_prior_term(end: float) -> None:
    """NELBO(x) + log p(x) = E[log q(z_1) / pi(z_1) | x], whose mean KL(q(z_1) || pi) is never negative."""
    like = end * torch.eye(V) + (1 - end) / V
    q_given_x = torch.stack([like[X[:, i]][:, X[:, i]] for i in range(L)]).prod(0)  # X, Z
    q = TRUE.p.flatten() @ q_given_x
    gap = uniform_bound(LeaveOneOut(TRUE), end) + TRUE.log_p(X)
    torch.testing.assert_close(gap, q_given_x @ (q * V**L).log(), rtol=1e-6, atol=1e-9)
    mean = float(TRUE.p.flatten() @ gap)
    assert 0 < mean < 20 * end**2  # it vanishes quadratically
