"""Claim 1: q(z_t | x) is a distribution, clean at 0, forgets x at 1, and its kernels compose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isodiff.process.categorical import Absorbing, Process, UniformState
from isodiff.process.hybrid import Peaked, Shifted
from isodiff.process.schedule import Linear

V = 4
PROCESSES = [
    Absorbing(V),
    UniformState(V),
    Absorbing(V, Linear(0.001)),
    UniformState(V, Linear(0.001)),
    Peaked(V, 0.2),
    Peaked(V, 0.0),
    Shifted(V, -1.0),
    Shifted(V, 2.0),
]
each_process = pytest.mark.parametrize("process", PROCESSES, ids=str)
pytestmark = pytest.mark.usefixtures("float64")


def marginals(process: Process, t: Tensor) -> Tensor:
    """V, S: one row per clean token."""
    return process.marginal(torch.eye(V), t.expand(V))


def kernel(process: Process, s: Tensor, t: Tensor) -> Tensor:
    """S, S: q(z_t | z_s), Eq. (2) written out state by state."""
    a = process.alpha(t) / process.alpha(s)
    return a * torch.eye(process.num_states) + (process.nu(t) - a * process.nu(s))


@each_process
def test_marginals_are_distributions_at_every_time(process: Process) -> None:
    for t in torch.linspace(0, 1, 21):
        q = marginals(process, t)
        assert (q >= 0).all()
        torch.testing.assert_close(q.sum(-1), torch.ones(V), rtol=1e-14, atol=0)


@each_process
def test_clean_at_0(process: Process) -> None:
    q = marginals(process, torch.tensor(0.0))
    assert torch.equal(q[:, :V], torch.eye(V)) and not q[:, V:].any()


@each_process
def test_at_1_only_the_signal_left_by_the_schedule_remembers_x(process: Process) -> None:
    left = process.alpha(torch.tensor(1.0))
    q = marginals(process, torch.tensor(1.0))
    distance = (q[:, None] - q[None]).abs().sum(-1) / 2  # total variation between any two tokens
    torch.testing.assert_close(distance, left * (1 - torch.eye(V)), rtol=1e-12, atol=1e-15)


@each_process
def test_forward_kernels_are_stochastic_and_compose(process: Process) -> None:
    """Chapman-Kolmogorov: q(t | r) = sum_s q(t | s) q(s | r), and it carries marginals along."""
    times = torch.linspace(0, 0.999, 7)
    for r in range(len(times)):
        for s in range(r, len(times)):
            for t in range(s, len(times)):
                early, late = (
                    kernel(process, times[r], times[s]),
                    kernel(process, times[s], times[t]),
                )
                whole = kernel(process, times[r], times[t])
                assert (whole > -1e-15).all()
                torch.testing.assert_close(whole.sum(-1), torch.ones(process.num_states))
                torch.testing.assert_close(early @ late, whole, rtol=1e-12, atol=1e-14)
                torch.testing.assert_close(
                    marginals(process, times[r]) @ whole, marginals(process, times[t])
                )


@each_process
def test_the_marginal_is_linear_in_x(process: Process) -> None:
    x_hat = torch.rand(V).softmax(-1)
    t = torch.tensor(0.3)
    torch.testing.assert_close(process.marginal(x_hat, t), x_hat @ marginals(process, t))


@pytest.mark.parametrize("end", [0.0, 0.001, 0.3])
def test_prior_term_is_the_kl_to_uniform(end: float) -> None:
    process = UniformState(V, Linear(end))
    q = marginals(process, torch.tensor(1.0))[0]
    assert process.prior_nats() == pytest.approx(float((q * (q * V).log()).sum()), abs=1e-15)


@pytest.mark.parametrize(("v", "nats"), [(32001, 0.0026), (50258, 0.0030), (131072, 0.0039)])
def test_prior_term_of_the_published_schedule(v: int, nats: float) -> None:
    """Nats per token that published bounds leave out at alpha_1 = 0.001."""
    assert UniformState(v, Linear(0.001)).prior_nats() == pytest.approx(nats, abs=5e-5)
