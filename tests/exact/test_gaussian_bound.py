"""Gaussian noise: the bound of the exact denoiser is -log p(x), by quadrature over noise and time.

With N(0, I) in place of q(z_1) the exact denoiser's bound is -log p(x) + E[log q(z_1) / N(z_1)] for every
x. At gamma_1 = 20 that is nothing, at gamma_0 = -3 the decoder is certain, and the bounds sum to one:
sum_x exp(-bound) = 1.
"""

from __future__ import annotations

import numpy
import pytest
import torch
from oracle import Bayes, Known
from scripted import Scripted, product
from torch import Tensor
from torch.distributions import Normal

from isodiff.data.toy import Toy
from isodiff.families.gaussian import Gaussian
from isodiff.network.view import Latent

pytestmark = pytest.mark.usefixtures("float64")
V, L = 2, 2
TRUE, WRONG = Toy.random(V, L, seed=0), Toy.random(V, L, seed=1)
X = TRUE.sequences


def noises(spacing: float = 0.2, reach: float = 7.0) -> tuple[Tensor, Tensor]:
    """Nodes in L dimensions and weights: the trapezoidal rule."""
    node = torch.arange(-reach, reach + spacing / 2, spacing)
    eps = torch.stack(product(*[node] * L), -1)
    return eps, Normal(0, 1).log_prob(eps).sum(-1).exp() * spacing**L


def bound(
    toy: Toy,
    latent: Latent,
    *,
    output_prior: bool = True,
    nodes: int = 48,
    observed: tuple[int, ...] = (),
) -> Tensor:
    """E[nelbo] of every sequence. Its two terms see the same noise, which their sum does not mind."""
    family = Gaussian(
        vocab_size=V, embedding_width=1, self_conditioning=False, output_prior=output_prior
    )
    eps, weight = noises()
    x, noise = X.repeat(len(eps), 1), eps.repeat_interleave(len(X), 0)[:, None, :, None]
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, list(observed)] = True
    total = torch.zeros(len(X))
    for node, share in zip(*numpy.polynomial.legendre.leggauss(nodes), strict=True):
        rng = Scripted(
            len(x),
            strata=[torch.full((len(x),), (1 + node) / 2)],
            normal=[noise.expand(-1, 2, -1, -1)],
        )
        nats = family.nelbo(Bayes(toy, latent, observed), x, rng=rng, observed=known).nats
        assert rng.exhausted()
        total += share / 2 * (weight @ nats.view(len(eps), len(X)))
    return total


@pytest.mark.parametrize("output_prior", [True, False])
@pytest.mark.parametrize("power", [1.0, 3.0])
def test_bound_of_the_exact_denoiser_is_the_nll_of_every_sequence(
    power: float, output_prior: bool
) -> None:
    """Whatever the path between the ends of gamma."""
    nats = bound(TRUE, Known.circle(V, power=power), output_prior=output_prior)
    torch.testing.assert_close(nats, -TRUE.log_p(X), rtol=0, atol=1e-6)
    assert float((-nats).exp().sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("output_prior", [True, False])
@pytest.mark.parametrize("observed", [0, 1])
def test_with_a_token_given_it_is_the_nll_of_the_other(observed: int, output_prior: bool) -> None:
    nats = bound(TRUE, Known.circle(V), output_prior=output_prior, observed=(observed,))
    known = torch.full_like(X, V)
    known[:, observed] = X[:, observed]
    p = TRUE.conditional(known, torch.full((len(X),), 1 - observed)).gather(
        1, X[:, 1 - observed, None]
    )
    torch.testing.assert_close(nats, -p.squeeze(1).log(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("ends", [(-3.0, 6.0), (-1.0, 20.0), (0.0, 3.0)])
def test_noisy_ends_are_paid_for(ends: tuple[float, float]) -> None:
    """A decoder that takes positions apart, and N(0, I) for q(z_1), loosen the bound: never the other way."""
    nats = bound(TRUE, Known.circle(V, low=ends[0], high=ends[1]))
    mass, gap = float((-nats).exp().sum()), float(TRUE.p.flatten() @ nats) - TRUE.entropy
    assert mass < 1 - 1e-6 and gap > 1e-6


def test_gap_of_a_wrong_model_is_the_kl() -> None:
    """Its bound is its own -log p(x), as between reverse processes paths are as far apart as their ends."""
    nats = bound(WRONG, Known.circle(V))
    torch.testing.assert_close(nats, -WRONG.log_p(X), rtol=0, atol=1e-6)
