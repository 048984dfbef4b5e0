"""Claim 3a: the continuous-time bound of the optimal denoiser is -log p(x) for every x.

int_0^1 E_{q(z_t | x)}[nelbo_rate] dt, with every latent summed and time by quadrature.
"""

from __future__ import annotations

import pytest
import torch
from oracle import LeaveOneOut, Optimal, tanh_sinh
from torch import Tensor
from torch.func import jvp

from isodiff.data.toy import Toy
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, View
from isodiff.process.categorical import Absorbing, Process, UniformState
from isodiff.process.hybrid import HybridNoise, Peaked, Shifted

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 3
TRUE, WRONG = Toy.random(V, L, seed=0), Toy.random(V, L, seed=1)
PROCESSES = [Absorbing(V), UniformState(V), Peaked(V, 0.2), Shifted(V, 1.0)]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=str)


def best(process: Process, toy: Toy) -> Denoiser:
    if isinstance(process, HybridNoise):
        return LeaveOneOut(toy, process=process)
    return Optimal(toy) if isinstance(process, Absorbing) else LeaveOneOut(toy)


def bound(process: Process, denoiser: Denoiser, x: Tensor) -> Tensor:
    """Nats per sequence of x (X, L), by summing S^L latents (M) at K times."""
    u, w = tanh_sinh()
    t, slope = jvp(process.grid, (u,), (torch.ones_like(u),))  # random tokens set in as sqrt(t)
    t, w = t[t < 1], (w * slope)[t < 1]
    z = torch.cartesian_prod(*[torch.arange(process.num_states)] * L)
    q = process.marginal(torch.eye(V), t[:, None].expand(-1, V))  # K, V, S
    p_z = torch.stack([q[:, x[:, i]][:, :, z[:, i]] for i in range(L)]).prod(0)  # K, X, M
    m = (1 - process.alpha(t)).repeat_interleave(len(z))
    view = View(z.repeat(len(t), 1), torch.arange(L), Full(), time=m)
    x_hat = denoiser(view).log_probs().exp().view(len(t), 1, len(z), L, V)
    shape = (len(t), len(x), len(z), L)
    rate = process.nelbo_rate(
        x[None, :, None].expand(shape),
        x_hat.expand(*shape, V),
        z[None, None].expand(shape),
        t[:, None, None, None].expand(shape),
    )
    return w @ torch.where(p_z > 0, p_z * rate.sum(-1), 0).sum(-1)


@each_process
def test_bound_of_the_optimal_denoiser_is_the_nll_of_every_sequence(process: Process) -> None:
    x = TRUE.sequences
    torch.testing.assert_close(
        bound(process, best(process, TRUE), x), -TRUE.log_p(x), rtol=1e-9, atol=0
    )


@each_process
def test_gap_of_a_wrong_model_is_the_kl(process: Process) -> None:
    x, p = TRUE.sequences, TRUE.p.flatten()
    gap = p @ (bound(process, best(process, WRONG), x) + TRUE.log_p(x))
    kl = p @ (TRUE.log_p(x) - WRONG.log_p(x))
    torch.testing.assert_close(gap, kl, rtol=1e-8, atol=0)


def test_for_uniform_noise_the_posterior_mean_is_not_optimal() -> None:
    """E[x_i | z] double-counts z_i: the bound is then loose by a wide margin."""
    x, p = TRUE.sequences, TRUE.p.flatten()
    loose = p @ bound(UniformState(V), LeaveOneOut(TRUE, own=True), x)
    assert loose > TRUE.entropy + 0.1


def test_for_uniform_noise_leave_one_out_cannot_be_improved() -> None:
    """Any perturbation of the prediction, at any sequence of states, raises the bound."""
    x, p = TRUE.sequences, TRUE.p.flatten()
    for seed in range(3):
        other = Toy.random(V, L, seed=100 + seed, spread=0.02)
        tilted = Toy((TRUE.p * other.p) / (TRUE.p * other.p).sum())
        gap = p @ bound(UniformState(V), LeaveOneOut(tilted), x) - TRUE.entropy
        assert 0 < gap < 1e-2
