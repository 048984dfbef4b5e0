"""The expectation of each family's `nelbo`, as a sum over everything that its randomness may do.

The family runs on scripted numbers (every count, order, subset and noise, weighted by probabilities computed
here), and where a moment is continuous, on quadrature nodes. `free` are the positions that are not given.
"""

from __future__ import annotations

from typing import Literal

import scipy.stats
import torch
from oracle import random_share, tanh_sinh
from scripted import Scripted, orders, product
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.block import BlockDiffusion
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.attention import block_sizes
from isodiff.network.view import Denoiser
from isodiff.process.categorical import UniformState
from isodiff.process.schedule import Linear

V, L = 3, 3
X = Toy.random(V, L, seed=0).sequences
ALL = (0, 1, 2)


def observed(free: tuple[int, ...], rows: int) -> Tensor | None:
    """All positions but `free`, in every row; None for none."""
    known = torch.ones(rows, L, dtype=torch.bool)
    known[:, list(free)] = False
    return known if len(free) < L else None


def widened(values: Tensor, free: tuple[int, ...], fill: float) -> Tensor:
    """Numbers of the free positions among those of all L; what is given gets `fill`."""
    whole = torch.full((len(values), L), fill, dtype=values.dtype)
    whole[:, list(free)] = values
    return whole


def paired(x: Tensor, rows: int) -> tuple[Tensor, int]:
    """Every sequence with every outcome: the sequences of one outcome are adjacent."""
    return x.repeat(rows, 1), rows * len(x)


def expected(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over outcomes, per sequence."""
    return weights @ values.view(len(weights), -1)


def each(value: Tensor) -> Tensor:
    """One entry per outcome -> one per (outcome, sequence)."""
    return value.repeat_interleave(len(X), 0)


def cell_centers(chance: Tensor) -> Tensor:
    """The u that draws each category."""
    return chance.cumsum(0) - chance / 2


def masked_bound(denoiser: Denoiser, free: tuple[int, ...] = ALL) -> Tensor:
    k, order = product(torch.arange(1, len(free) + 1), orders(L))
    x, rows = paired(X, len(k))
    rng = Scripted(rows, antithetic=[each(k)], permutation=[each(order)])
    nats = Masked(vocab_size=V).nelbo(denoiser, x, rng=rng, observed=observed(free, rows)).nats
    assert rng.exhausted()
    return expected(nats, torch.full((len(k),), 1 / len(k)))


def block_bound(denoiser: Denoiser, block_size: int, free: tuple[int, ...] = ALL) -> Tensor:
    """Every block's count, and orders of all positions."""
    blocks = [1] * len(block_sizes(L, block_size))
    for block in range(len(blocks)):  # without a free token, one count that does not matter
        blocks[block] = max(1, sum(place // block_size == block for place in free))
    *counts, order = product(*(torch.arange(size) for size in blocks), orders(L))
    level = torch.stack([(k + 0.5) / size for k, size in zip(counts, blocks, strict=True)], -1)
    x, rows = paired(X, len(level))
    rng = Scripted(rows, scattered=[each(level)], permutation=[each(order)])
    family = BlockDiffusion(vocab_size=V, block_size=block_size, low=0.7, high=1.0)  # training only
    nats = family.nelbo(denoiser, x, rng=rng, observed=observed(free, rows)).nats
    assert rng.exhausted()
    return expected(nats, torch.full((len(level),), 1 / len(level)))


def interpolating_bound(
    denoiser: Denoiser,
    alpha_0: float,
    variant: Literal["A", "B"] = "B",
    free: tuple[int, ...] = ALL,
) -> Tensor:
    """Both terms, each over its counts and orders."""
    n = len(free)
    family = Interpolating(vocab_size=V, alpha_0=alpha_0, variant=variant)
    kept = torch.tensor(scipy.stats.binom.pmf(range(n + 1), n, 1 - alpha_0))
    visited = torch.tensor(scipy.stats.binom.cdf(range(n), n, 1 - alpha_0))  # P(k_0 < k)
    strata, permutation, antithetic, weights = [], [], [], torch.ones(1)
    count = torch.arange(1)
    axes = []
    if alpha_0 > 0:
        chance = visited / visited.sum()
        axes += [torch.arange(n), orders(L)]
    if alpha_0 < 1:
        axes += [torch.arange(n + 1)[kept > 0], orders(L)]
    outcome = list(product(*axes))
    weights = torch.ones(len(outcome[0]))
    if alpha_0 > 0:
        count, order = outcome.pop(0), outcome.pop(0)
        weights = weights * chance[count] / len(orders(L))
        if alpha_0 == 1:
            antithetic.append(each(1 + count))
        else:
            strata.append(each(cell_centers(chance)[count]))
        permutation.append(each(order))
    if alpha_0 < 1:
        count, order = outcome.pop(0), outcome.pop(0)
        weights = weights * kept[count] / len(orders(L))
        strata.append(each(cell_centers(kept)[count]))
        permutation.append(each(order))
    assert abs(float(weights.sum()) - 1) < 1e-14
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=strata, antithetic=antithetic, permutation=permutation)
    nats = family.nelbo(denoiser, x, rng=rng, observed=observed(free, rows)).nats
    assert rng.exhausted()
    return expected(nats, weights)


def uniform_outcomes(alpha_end: float = 0.0, num_nodes: int = 61, n: int = L) -> tuple[Tensor, ...]:
    """weight, strata, u (n), v, noise (n) of every outcome of `jump_times` and the noise.

    k is uniform on {0..n}. For k >= 1, m ~ Beta(k, n-k+1) and the k corrupted tokens are any subset;
    for k = 0, m ~ Beta(1, n+1). Only m <= 1 - alpha_end can count, so only there are nodes.
    """
    nodes, steps = tanh_sinh(num_nodes)
    m, dm = nodes * (1 - alpha_end), steps * (1 - alpha_end)
    parts = []
    for k in range(n + 1):
        shape = (k, n - k + 1) if k else (1, n + 1)
        density = torch.tensor(scipy.stats.beta.pdf(m.numpy(), *shape))
        every = torch.cartesian_prod(*[torch.arange(2)] * n).view(-1, n)
        subsets = [subset for subset in every if subset.sum() == k]
        for subset in subsets:
            alphabets = [torch.arange(V) if hit else torch.arange(1) for hit in subset]
            noise = torch.stack(product(*alphabets), -1)
            node, row = product(torch.arange(len(m)), torch.arange(len(noise)))
            u = torch.where(subset.bool(), m[node, None] / 2, (1 + m[node, None]) / 2)
            if k:
                u[:, subset.argmax()] = m[node]
            parts.append(
                (
                    (dm * density)[node] / (n + 1) / len(subsets) / len(noise),
                    torch.full((len(node),), (k + 0.5) / (n + 1)),
                    u,
                    (-torch.expm1((n + 1) * torch.log1p(-m[node]))).clamp_max(1 - 2**-53),
                    (noise[row] + 0.5) / V,
                )
            )
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def uniform_bound(
    denoiser: Denoiser, alpha_end: float = 0.0, free: tuple[int, ...] = ALL
) -> Tensor:
    weights, strata, u, v, noise = uniform_outcomes(alpha_end, n=len(free))
    u, noise = widened(u, free, 1e-9), widened(noise, free, 0.5)
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=[each(strata)], uniform=[each(u), each(v), each(noise)])
    family = Uniform(vocab_size=V, alpha_end=alpha_end)
    nats = family.nelbo(denoiser, x, rng=rng, observed=observed(free, rows)).nats
    assert rng.exhausted()
    prior = len(free) * UniformState(V, Linear(alpha_end)).prior_nats()
    return expected(nats - prior, weights) + prior  # the weights cover [0, 1 - alpha_end] only


def hybrid_outcomes(family: Hybrid, n: int = L) -> tuple[Tensor, ...]:
    """The same for hybrid noise: a corrupted token is one of V at random, or the mask (state V)."""
    weights, strata, u, v, noise = uniform_outcomes(n=n)
    moved = u <= u.sort(-1).values.gather(1, ((strata * (n + 1)).long() - 1).clamp_min(0)[:, None])
    moved &= strata[:, None] * (n + 1) > 1
    m = torch.where(moved, u, 0).amax(-1)
    share = random_share(family.process, m.clamp_min(1e-300))
    # Every outcome of uniform noise, with each subset of its corrupted tokens made masks instead; of the V
    # tokens that a mask may hide, the first stands for all.
    columns = []
    for masks in torch.cartesian_prod(*[torch.arange(2)] * n).view(-1, n).bool():
        some = ~(masks & (~moved | (noise > 1 / V))).any(-1)
        chance = torch.where(masks, V * (1 - share[:, None]), share[:, None])
        chance = chance.where(moved, 1).prod(-1)
        # Hardly on its side of the share.
        kind = share[:, None] + torch.where(masks, 1 - share[:, None], -share[:, None]) / 1000
        columns.append([c[some] for c in (weights * chance, strata, u, v, noise, kind)])
    return tuple(torch.cat(column) for column in zip(*columns, strict=True))


def hybrid_bound(family: Hybrid, denoiser: Denoiser, free: tuple[int, ...] = ALL) -> Tensor:
    weights, strata, u, v, *noise = hybrid_outcomes(family, n=len(free))
    uniform = [widened(u, free, 1e-9), v, *(widened(numbers, free, 0.5) for numbers in noise)]
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=[each(strata)], uniform=[each(numbers) for numbers in uniform])
    nats = family.nelbo(denoiser, x, rng=rng, observed=observed(free, rows)).nats
    assert rng.exhausted()
    return expected(nats, weights)


def autoregressive_bound(denoiser: Denoiser, free: tuple[int, ...] = ALL) -> Tensor:
    family, rng = Autoregressive(vocab_size=V), Scripted(len(X))
    return family.nelbo(denoiser, X, rng=rng, observed=observed(free, len(X))).nats


def others(free: tuple[int, ...]) -> tuple[int, ...]:
    """What is given."""
    return tuple(place for place in ALL if place not in free)
