"""Gaussian noise: closed forms against the joint Gaussian, and the order of the ODE solvers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from isodiff.process import gaussian as process
from isodiff.rng import Noise, Rows, stream

pytestmark = pytest.mark.usefixtures("float64")


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=stream(0, "steps", *shape))


GAMMAS = [(-3.0, -3.5), (0.0, -1.0), (6.0, -3.0), (20.0, 19.9), (2.0, 2.0 - 1e-9)]
each_step = pytest.mark.parametrize(("gamma_t", "gamma_s"), GAMMAS)


class Given(Noise):
    """Uniform numbers that are given."""

    def __init__(self, u: Tensor) -> None:
        self.u, self.device = u, u.device

    def __len__(self) -> int:
        return len(self.u)

    def uniform(self, *shape: int, along: int = 0) -> Tensor:
        return self.u


def test_normal_numbers_invert_the_cdf_and_are_finite() -> None:
    ends = Given(torch.tensor([0.0, 1 - 2.0**-53])).normal()
    assert bool(ends.isfinite().all()) and float(ends[0]) < -8 < 8 < float(ends[1])
    u = Rows.of(stream(3), 5000).uniform()
    torch.testing.assert_close(Normal(0, 1).cdf(Given(u).normal()), u)


def test_signal_and_noise_have_unit_power_and_ratio_gamma() -> None:
    gamma = torch.linspace(-40, 40, 81)
    signal, noise = process.alpha(gamma) ** 2, process.sigma(gamma) ** 2
    torch.testing.assert_close(signal + noise, torch.ones(81))
    torch.testing.assert_close(noise.log() - signal.log(), gamma, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [-3.0, 0.0, 3.0, 6.0, 12.0])
@pytest.mark.parametrize("width", [1, 2, 16])
def test_prior_is_a_kl_divergence(gamma: float, width: int) -> None:
    at = torch.tensor(gamma)
    vector = torch.nn.functional.normalize(random(width), dim=0)
    q = Normal(process.alpha(at) * vector, process.sigma(at))
    want = kl_divergence(q, Normal(torch.zeros(width), 1)).sum()
    torch.testing.assert_close(process.prior_nats(at, width), want, rtol=1e-9, atol=1e-15)


def test_prior_of_plaid() -> None:
    """arXiv 2305.18619: 16 dimensions, gamma_1 = 6."""
    assert float(process.prior_nats(torch.tensor(6.0), 16)) == pytest.approx(1.26e-3, rel=2e-3)


@each_step
def test_ancestral_step_is_the_posterior_of_the_joint_gaussian(
    gamma_t: float, gamma_s: float
) -> None:
    """z_s ~ N(alpha_s e, sigma_s^2) and z_t = a z_s + noise, by conditioning; moments by eps = 0 and 1."""
    t, s = torch.tensor(gamma_t), torch.tensor(gamma_s)
    vector, z = random(2, 5)
    a = process.alpha(t) / process.alpha(s)
    spread = process.sigma(t) ** 2 - a**2 * process.sigma(s) ** 2  # of z_t given z_s
    precision = 1 / process.sigma(s) ** 2 + a**2 / spread
    mean = (process.alpha(s) * vector / process.sigma(s) ** 2 + a * z / spread) / precision
    got = [process.ancestral(z, vector, t, s, torch.full((5,), eps)) for eps in (0.0, 1.0)]
    tolerance = 1e-9 if gamma_t - gamma_s > 1e-6 else 1e-6  # the referee cancels
    torch.testing.assert_close(got[0], mean, rtol=tolerance, atol=tolerance)
    deviation = (got[1] - got[0])[0]
    torch.testing.assert_close(deviation, precision**-0.5, rtol=1e-6, atol=0)


@each_step
def test_ancestral_steps_keep_the_marginal(gamma_t: float, gamma_s: float) -> None:
    """From z_t = alpha_t e + sigma_t eps, mean and variance of z_s are those of q(z_s | x)."""
    t, s = torch.tensor(gamma_t), torch.tensor(gamma_s)
    e, none, one = torch.ones(1), torch.zeros(1), torch.ones(1)
    mean = process.ancestral(process.alpha(t) * e, e, t, s, none)
    torch.testing.assert_close(mean, process.alpha(s) * e)
    carried = process.ancestral(process.sigma(t) * one, none, t, s, none)
    added = process.ancestral(none, none, t, s, one)
    torch.testing.assert_close(carried**2 + added**2, process.sigma(s) ** 2 * one)


@each_step
def test_ode_steps_of_a_known_vector_keep_its_noise(gamma_t: float, gamma_s: float) -> None:
    t, s = torch.tensor(gamma_t), torch.tensor(gamma_s)
    vector, eps = random(2, 5)
    z = process.ode_step(process.noised(vector, eps, t), vector, t, s)
    torch.testing.assert_close(z, process.noised(vector, eps, s))


def test_guidance_is_added_to_the_score_and_temperature_divides_it() -> None:
    gamma, (z, x_hat, pull) = torch.tensor(0.7), random(3, 5)

    def score(x_hat: Tensor) -> Tensor:
        return (process.alpha(gamma) * x_hat - z) / process.sigma(gamma) ** 2

    torch.testing.assert_close(score(process.guided(x_hat, pull, gamma)), score(x_hat) + pull)
    torch.testing.assert_close(score(process.tempered(z, x_hat, gamma, 0.8)), score(x_hat) / 0.8)
    torch.testing.assert_close(process.tempered(z, x_hat, gamma, 1.0), x_hat)


def test_evidence_is_the_likelihood_ratio_of_unit_vectors() -> None:
    gamma, z = torch.tensor(-1.3), random(5)
    table = torch.nn.functional.normalize(random(4, 5), dim=-1)
    log_q = Normal(process.alpha(gamma) * table, process.sigma(gamma)).log_prob(z).sum(-1)
    got = process.evidence(z, gamma) @ table.T
    torch.testing.assert_close(got - got[0], log_q - log_q[0])


def test_extrapolation_hits_the_middle_of_a_line_whatever_the_steps() -> None:
    start, slope = random(2, 5)
    before, t, s = torch.tensor([2.0, 1.5, -0.7])
    got = process.extrapolated(start + slope * t, start + slope * before, before, t, s)
    torch.testing.assert_close(got, start + slope * (t + s) / 2)


def solved(gammas: Tensor, method: str, power: float = 4.0) -> Tensor:
    """The ODE for x ~ N(0, power) in one dimension: x_hat = alpha power z / (alpha^2 power + sigma^2)."""

    def x_hat(z: Tensor, gamma: Tensor) -> Tensor:
        signal = process.alpha(gamma)
        return signal * power * z / (signal**2 * power + process.sigma(gamma) ** 2)

    z, before = torch.ones(1), None
    for now in range(len(gammas) - 1):
        here = middle = x_hat(z, gammas[now])
        if method == "dpm" and before is not None:
            middle = process.extrapolated(here, before, *gammas[now - 1 : now + 2])
        before, z = here, process.ode_step(z, middle, gammas[now], gammas[now + 1])
    return z


@pytest.mark.parametrize(("method", "order"), [("ddim", 1), ("dpm", 2)])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_order_of_the_ode_solvers(method: str, order: int, power: float) -> None:
    """Slope of log error over log steps, on even and on uneven grids. The exact path keeps z / sd(z_t)."""

    def error(steps: int) -> float:
        u = torch.linspace(1, 0, steps + 1) ** power
        gammas = -3 + 9 * u
        deviation = (4 * process.alpha(gammas) ** 2 + process.sigma(gammas) ** 2).sqrt()
        return float((solved(gammas, method) - deviation[-1] / deviation[0]).abs())

    errors = [error(steps) for steps in (64, 128, 256, 512)]
    slopes = [math.log2(b / a) for a, b in itertools.pairwise(errors)]
    assert slopes[-1] == pytest.approx(-order, abs=0.1), (errors, slopes)
