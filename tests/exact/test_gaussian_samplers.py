"""Gaussian noise: the samplers' code follows laws computed by quadrature, which tend to p.

Two tokens on a line and two positions, so that z has two coordinates: the law of z is carried from level
to level on a grid (the trapezoidal rule is exact to rounding for such smooth kernels), or along the ODE
from every node.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import scipy.stats
import torch
from oracle import Bayes, Known
from random_network import random_transformer
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, undecided
from isodiff.families.gaussian import Gaussian, GaussianSampler
from isodiff.families.sampling import sample
from isodiff.network.view import Prediction, View
from isodiff.process import gaussian as process
from isodiff.rng import Rows, Streams, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, DRAWS = 2, 2, 20_000
TOY = Toy.random(V, L, seed=0)
CURVED = Known.circle(V, high=6.0, power=1.5)
LONG = Known.circle(V, low=0.0, high=24.0)  # q(z_1) is N(0, I), and decoding at z_0 is smooth
VECTORS = LONG.vectors[TOY.sequences].squeeze(-1)
FAMILY = Gaussian(vocab_size=V, embedding_width=1)
SPACING = 0.15


def nodes() -> Tensor:
    """Of each coordinate."""
    return torch.arange(-6, 6 + SPACING / 2, SPACING)


def normal_law() -> tuple[Tensor, Tensor]:
    """Nodes of N(0, I), and its mass around each."""
    z = torch.cartesian_prod(nodes(), nodes())
    return z, torch.exp(-z.square().sum(-1) / 2) / (2 * math.pi) * SPACING**2


def levels(latent: Known, steps: int) -> list[Tensor]:
    """gamma at every evaluation: even steps of t."""
    t = torch.linspace(1, 0, steps)
    return list(latent.low + (latent.high - latent.low) * t**latent.power)


def sequences_given(z: Tensor, gamma: Tensor) -> Tensor:
    """p(x | z) over all sequences; z is (n, L)."""
    far = (z[:, None] - process.alpha(gamma) * VECTORS).square().sum(-1)
    return (TOY.p.flatten().log() - far / (2 * process.sigma(gamma) ** 2)).softmax(-1)


def mean_vector(z: Tensor, gamma: Tensor) -> Tensor:
    return sequences_given(z, gamma) @ VECTORS


def decoded(z: Tensor, gamma: Tensor) -> Tensor:
    """Law of the tokens drawn at z: positions independent."""
    first = (1 + mean_vector(z, gamma)) / 2  # P(token 0): its vector is +1
    x = TOY.sequences
    return torch.where(x == 0, first[:, None], 1 - first[:, None]).prod(-1)


def ancestral_law(latent: Known, steps: int) -> Tensor:
    node, (z, mass), gammas = nodes(), normal_law(), levels(latent, steps)
    for t, s in pairwise(gammas):
        c = -torch.expm1(s - t)
        mean = (1 - c) * process.alpha(s) / process.alpha(t) * z
        mean = mean + c * process.alpha(s) * mean_vector(z, t)
        spread = process.sigma(s) * c.sqrt()
        kernels = torch.distributions.Normal(mean[..., None], spread).log_prob(node).exp()
        mass = (kernels[:, 0].T @ (mass[:, None] * kernels[:, 1])).flatten() * SPACING**2
    law = mass @ decoded(z, gammas[-1])
    assert float(law.sum()) == pytest.approx(1, abs=1e-5)
    return law


def ode_law(latent: Known, steps: int, method: str) -> Tensor:
    """DDIM as printed, and DPM-Solver++(2M) as printed, in lambda."""
    (z, mass), gammas = normal_law(), levels(latent, steps)
    before, h_before = None, None
    for t, s in pairwise(gammas):
        x_hat = mean_vector(z, t)
        alpha_t, alpha_s = process.alpha(t), process.alpha(s)
        sigma_t, sigma_s = process.sigma(t), process.sigma(s)
        h = (alpha_s / sigma_s).log() - (alpha_t / sigma_t).log()
        if method == "ddim":
            noise = (z - alpha_t * x_hat) / sigma_t
            z = alpha_s * x_hat + sigma_s * noise
        else:
            data = x_hat
            if before is not None:
                r = h_before / h
                data = (1 + 1 / (2 * r)) * x_hat - before / (2 * r)
            z = sigma_s / sigma_t * z - alpha_s * torch.expm1(-h) * data
        before, h_before = x_hat, h
    return mass @ decoded(z, gammas[-1])


def law_of(latent: Known, steps: int, method: str) -> Tensor:
    if method == "ancestral":
        return ancestral_law(latent, steps)
    return ode_law(latent, steps, method)


def drawn(sampler: GaussianSampler, prompt: Tensor, *purpose: str | int) -> tuple[Tensor, Tensor]:
    rng = Rows.of(stream(0, *purpose), len(prompt))
    return sample(FAMILY, Bayes(TOY, CURVED), prompt, sampler, rng=rng)


def p_value(x: Tensor, law: Tensor) -> float:
    counts = torch.bincount(x @ torch.tensor([V, 1]), minlength=V**L)
    return float(scipy.stats.chisquare(counts.numpy(), (len(x) * law / law.sum()).numpy()).pvalue)


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
@pytest.mark.parametrize("method", ["ancestral", "ddim", "dpm"])
def test_frequencies_follow_the_law(method: str, steps: int) -> None:
    x, nfe = drawn(GaussianSampler(steps=steps, method=method), undecided(DRAWS, L), method, steps)
    assert bool((nfe == steps).all())
    law = law_of(CURVED, steps, method)
    assert p_value(x, law) > 1e-3
    if float((law - TOY.p.flatten()).abs().sum()) > 0.1:
        assert p_value(x, TOY.p.flatten()) < 1e-6


def limit_law(latent: Known) -> Tensor:
    """E[decoder] over z_0 ~ q: p, but that positions are decoded one by one."""
    z, _ = normal_law()
    gamma = torch.tensor(latent.low)
    far = (z[:, None] - process.alpha(gamma) * VECTORS).square().sum(-1)
    variance = process.sigma(gamma) ** 2
    density = torch.exp(-far / (2 * variance)) / (2 * math.pi * variance) @ TOY.p.flatten()
    return density * SPACING**2 @ decoded(z, gamma)


@pytest.mark.parametrize(("method", "order"), [("ancestral", 1), ("ddim", 1), ("dpm", 2)])
def test_laws_tend_to_their_limit_with_the_order_of_the_sampler(method: str, order: int) -> None:
    errors, limit = [], limit_law(LONG)
    for steps in (33, 65, 129):
        law = law_of(LONG, steps, method)
        errors.append(float((law - limit).abs().sum() / 2))
    slopes = [math.log2(b / a) for a, b in pairwise(errors)]
    assert all(abs(slope + order) < 0.2 for slope in slopes), (errors, slopes)


def test_at_low_noise_the_limit_is_p() -> None:
    torch.testing.assert_close(limit_law(CURVED), TOY.p.flatten(), rtol=0, atol=1e-4)


def test_many_ancestral_steps_draw_from_p() -> None:
    """Three tokens on a circle, three positions: no quadrature, but p itself."""
    toy = Toy.random(3, 3, seed=0)
    family = Gaussian(vocab_size=3, embedding_width=2, output_prior=False)
    denoiser, rng = Bayes(toy, Known.circle(3, high=8.0)), Rows.of(stream(4), 4000)
    x, _ = sample(family, denoiser, undecided(4000, 3), GaussianSampler(steps=150), rng=rng)
    counts = torch.bincount(x @ torch.tensor([9, 3, 1]), minlength=27)
    expected = 4000 * toy.p.flatten()
    assert scipy.stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-3


def test_guidance_by_one_token_is_the_posterior_mean_given_it() -> None:
    """Weight 1 and the exact denoiser: the guided x_hat is E[e(x) | z, x_0], at every z."""
    z, gamma = torch.randn(50, L, 1, generator=stream(5)), torch.tensor(-0.5)
    prompt = torch.tensor([[1, UNDECIDED]]).expand(50, L)
    denoiser = Bayes(TOY, CURVED)
    prediction, pull = FAMILY.look(denoiser, z, gamma, CURVED.table(), None, prompt)
    assert pull is not None
    x_hat = (prediction.probs() @ CURVED.table()).view(z.shape)
    observed = sequences_given(z.squeeze(-1), gamma) * (TOY.sequences[:, 0] == 1)
    want = observed / observed.sum(-1, keepdim=True) @ VECTORS
    torch.testing.assert_close(process.guided(x_hat, pull, gamma).squeeze(-1), want)


def test_guided_infilling_draws_from_the_conditional() -> None:
    prompt = undecided(DRAWS // 4, L)
    prompt[:, 0] = 1
    x, _ = drawn(GaussianSampler(steps=100), prompt, "infill")
    assert bool((x[:, 0] == 1).all())
    law = TOY.p * torch.tensor([[0.0], [1.0]])
    assert p_value(x, law.flatten() + 1e-300) > 1e-3
    blind, _ = drawn(GaussianSampler(steps=100, guidance=0.0), prompt, "infill")
    assert p_value(blind, law.flatten() + 1e-300) < 1e-6  # the test can tell


def test_a_text_does_not_depend_on_the_prompts_beside_it() -> None:
    """Guided and free rows in one batch."""
    mixed = torch.tensor([[UNDECIDED, UNDECIDED], [1, UNDECIDED], [0, 1]])
    denoiser, sampler = Bayes(TOY, CURVED), GaussianSampler(steps=5)
    together, nfe = sample(FAMILY, denoiser, mixed, sampler, rng=Streams(0, 3))
    assert nfe.tolist() == [5, 5, 0]
    for i in range(3):
        rng = Streams(0, 1, first=i)
        alone, _ = sample(FAMILY, denoiser, mixed[i : i + 1], sampler, rng=rng)
        assert torch.equal(alone[0], together[i])


def test_a_score_temperature_below_one_favors_likely_texts() -> None:
    best = int(TOY.p.flatten().argmax())
    shares = []
    for temperature in (1.0, 0.7):
        sampler = GaussianSampler(steps=30, score_temperature=temperature)
        x, _ = drawn(sampler, undecided(DRAWS // 4, L), "temperature")
        shares.append(float((x @ torch.tensor([V, 1]) == best).double().mean()))
    assert shares[1] > shares[0] + 0.05


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_next_look_is_shown_the_estimate_itself(temperature: float) -> None:
    """x_hat = sum_v p(v | z) e(v) of the look before, whatever temperature the step then takes."""
    family = Gaussian(vocab_size=4, embedding_width=3)
    network = random_transformer(family, scale=0.5)
    seen: list[tuple[View, Tensor]] = []

    class Watched:
        vocab_size, latent = 4, network.latent

        def __call__(self, view: View) -> Prediction:
            prediction = network(view)
            seen.append((view, prediction.probs()))
            return prediction

    sampler = GaussianSampler(steps=4, score_temperature=temperature)
    sample(family, Watched(), undecided(5, 3), sampler, rng=Rows.of(stream(6), 5))
    assert network.latent is not None and len(seen) == 4
    table = network.latent.table()
    assert not bool(seen[0][0].inputs[..., 3:].any())
    for (_, p), (view, _) in pairwise(seen):
        shown = view.inputs[..., 3:] / math.sqrt(3)
        torch.testing.assert_close(shown, (p @ table).view(shown.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": None}, "gaussian noise needs a number of steps"),
        ({"score_temperature": 0.0}, "score_temperature must be at least 1e-06, got 0.0"),
        ({"guidance": -1.0}, "guidance must be at least 0"),
    ],
)
def test_impossible_samplers_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GaussianSampler(**options)
