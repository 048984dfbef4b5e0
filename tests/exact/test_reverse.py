"""Claim 2: the posterior is Bayes' rule, the jump rate is dK/dt, the integrand is lim KL / (t - s)."""

from __future__ import annotations

import pytest
import torch
from test_marginals import V, each_process, kernel, marginals
from torch import Tensor

from isodiff.process.categorical import Process
from isodiff.process.hybrid import Peaked
from isodiff.rng import stream

pytestmark = pytest.mark.usefixtures("float64")
TIMES = [(0.0, 0.3), (0.2, 0.21), (0.4, 0.9), (0.7, 1.0), (0.0, 1.0)]


def predictions(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, V, generator=stream(seed, "x_hat")).softmax(-1)


@each_process
@pytest.mark.parametrize(("s", "t"), TIMES)
def test_posterior_is_bayes_by_enumeration(process: Process, s: float, t: float) -> None:
    early, late = torch.tensor(s), torch.tensor(t)
    joint = marginals(process, early)[:, :, None] * kernel(process, early, late)  # V, S_s, S_t
    for x in range(V):
        for z in range(process.num_states):
            if joint[x, :, z].sum() < 1e-14:
                continue  # z cannot be reached from x
            got = process.posterior(torch.tensor(z), torch.eye(V)[x], early, late)
            want = joint[x, :, z] / joint[x, :, z].sum()
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


@each_process
@pytest.mark.parametrize(("s", "t"), TIMES)
def test_posterior_of_a_prediction_is_bayes_with_x_drawn_from_it(
    process: Process, s: float, t: float
) -> None:
    """Not the x_hat-average of posteriors: numerator and denominator are averaged apart."""
    early, late, x_hat = torch.tensor(s), torch.tensor(t), predictions(1)[0]
    joint = (x_hat @ marginals(process, early))[:, None] * kernel(process, early, late)
    for z in range(process.num_states):
        if joint[:, z].sum() < 1e-14:
            continue
        got = process.posterior(torch.tensor(z), x_hat, early, late)
        torch.testing.assert_close(got, joint[:, z] / joint[:, z].sum(), rtol=1e-12, atol=1e-14)


@each_process
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.95])
def test_jump_rate_is_the_derivative_of_the_kernel(process: Process, t: float) -> None:
    """Central differences of q(z_{t+h} | z_t) off the diagonal."""
    if isinstance(process, Peaked) and t == 0:
        pytest.skip("random tokens set in as sqrt(t): no finite rate")
    h = 1e-5
    now = torch.tensor(t)
    slope = kernel(process, now, now + h) - kernel(process, now, now - h)
    off = slope[0] / (2 * h)  # from state 0; every other column is the rate of jumping there
    rate = process.jump_rate(now)
    torch.testing.assert_close(off[1:], rate[1:], rtol=1e-7, atol=1e-9)


@each_process
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_integrand_is_the_limit_of_the_discrete_kl(process: Process, t: float) -> None:
    """KL(q(z_s | z_t, x) || q(z_s | z_t, x_hat)) / (t - s), extrapolated to s -> t (Richardson)."""
    x, z = torch.arange(V)[:, None], torch.arange(process.num_states)
    reachable = marginals(process, torch.tensor(t)) > 1e-12
    x, z = (axis.expand(V, process.num_states)[reachable] for axis in (x, z))
    x_hat = predictions(len(x))
    now = torch.full(x.shape, t)

    def divergence(h: float) -> Tensor:
        p = process.posterior(z, torch.eye(V)[x], now - h, now)
        p_hat = process.posterior(z, x_hat, now - h, now)
        return (torch.xlogy(p, p) - torch.xlogy(p, p_hat)).sum(-1) / h

    limit = 2 * divergence(1e-5) - divergence(2e-5)
    got = process.nelbo_rate(x, x_hat, z, now)
    torch.testing.assert_close(got, limit, rtol=1e-5, atol=1e-6)


@each_process
def test_integrand_is_never_negative_and_zero_for_the_truth(process: Process) -> None:
    count = 2000
    rng = stream(1, "integrand")
    x = torch.randint(V, (count,), generator=rng)
    t = torch.rand(count, generator=rng) * 0.98 + 0.01
    q = process.marginal(torch.eye(V)[x], t)
    z = torch.multinomial(q, 1, generator=rng).squeeze(-1)
    assert (process.nelbo_rate(x, predictions(count), z, t) >= 0).all()
    truth = process.nelbo_rate(x, torch.eye(V)[x], z, t)
    torch.testing.assert_close(truth, torch.zeros(count), rtol=0, atol=1e-12)
