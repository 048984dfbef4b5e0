"""Exact laws of the samplers: products of S^L x S^L reverse kernels."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from isodiff.data.toy import Toy
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, View
from isodiff.process.categorical import Process


def latents(num_states: int, length: int) -> Tensor:
    """All S^L states."""
    return torch.cartesian_prod(*[torch.arange(num_states)] * length).view(-1, length)


def forward_law(process: Process, toy: Toy, t: Tensor) -> Tensor:
    """q(z_t) for x ~ p, over S^L states."""
    q = process.marginal(torch.eye(toy.vocab_size), t.expand(toy.vocab_size))
    z = latents(process.num_states, toy.length)
    like = torch.stack([q[toy.sequences[:, i]][:, z[:, i]] for i in range(toy.length)]).prod(0)
    return toy.p.flatten() @ like


def ancestral_law(
    process: Process, denoiser: Denoiser, length: int, times: Tensor, block: int | None = None
) -> Tensor:
    """Law over S^L states after a step between each two of `times`, falling from t = 1.

    With `block`, all those steps in each block of so many positions, one block after another.
    """
    z = latents(process.num_states, length)
    law = process.nu(torch.ones(()))[z].prod(-1)
    place = torch.arange(length)
    blocks = range(0, length, block or length)
    for start, (t, s) in itertools.product(blocks, itertools.pairwise(times)):
        noise_level = (1 - process.alpha(t)).expand(len(z))
        view = View(z, torch.arange(length), Full(), time=noise_level)
        x_hat = denoiser(view).log_probs().exp().view(*z.shape, -1)
        step = process.posterior(z, x_hat, s.expand(z.shape), t.expand(z.shape))
        now = place // (block or length) == start // (block or length)
        step = torch.where(now[:, None], step, one_hot(z, process.num_states))
        kernel = torch.stack([step[:, i][:, z[:, i]] for i in range(length)]).prod(0)
        law = torch.where(law[:, None] > 0, law[:, None] * kernel, 0).sum(0)
    return law


def finished_from_left_to_right(law: Tensor, toy: Toy) -> Tensor:
    """Law over V^L sequences when the masks left in each state are filled by exact conditionals."""
    z, x = latents(toy.vocab_size + 1, toy.length), toy.sequences
    agrees = ((z[:, None] == x) | (z[:, None] == toy.vocab_size)).all(-1)
    joint = agrees * toy.p.flatten()
    return law @ (joint / joint.sum(-1, keepdim=True))


def clean(law: Tensor, num_states: int, toy: Toy) -> Tensor:
    """The same law over V^L sequences; no other state may have mass."""
    finished = (latents(num_states, toy.length) < toy.vocab_size).all(-1)
    assert float(law[~finished].sum()) < 1e-12
    return law[finished]


def corrected_law(
    law: Tensor, denoiser: Denoiser, toy: Toy, *, m: float, temperature: float, changes: int
) -> Tensor:
    """Law over V^L after one round of self-correction, by every outcome of its draws."""
    z, count = toy.sequences, len(toy.sequences)
    view = View(z, torch.arange(toy.length), Full(), time=torch.full((count,), m))
    p = (denoiser(view).log_probs() / temperature).softmax(-1).view(count, toy.length, -1)
    after = torch.zeros_like(law)
    for drawn in z:
        each = p[:, range(toy.length), drawn]
        gain = torch.where(drawn == z, 0, each)
        floor = gain.sort(-1, descending=True).values[:, changes - 1 : changes]
        new = torch.where((gain >= floor) & (gain > 0), drawn, z)
        index = new @ torch.tensor([toy.vocab_size**i for i in reversed(range(toy.length))])
        after = after.index_add(0, index, law * each.prod(-1))
    return after


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the absolute difference."""
    return float((p - q).abs().sum() / 2)
