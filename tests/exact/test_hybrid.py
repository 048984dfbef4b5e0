"""Hybrid noise: weights by their definitions, the optimum of each weighting, noise of each token's own."""

from __future__ import annotations

import math

import pytest
import torch
from oracle import LeaveOneOut, random_share, tanh_sinh
from outcomes import L, V, X, each, expected, hybrid_outcomes, paired
from scripted import Scripted
from test_bound_as_estimated import HYBRIDS, WRONG
from test_families_meet import OrderBlind
from torch import Tensor
from torch.func import jvp

from isodiff.families.hybrid import Hybrid, Weighting
from isodiff.network.attention import Full
from isodiff.network.view import View
from isodiff.process.hybrid import HybridNoise, Peaked, Shifted, own_moments
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
PROCESSES = [Peaked(V, 0.1), Peaked(V, 0.7), Shifted(V, -2.0), Shifted(V, 1.0)]
WEIGHTINGS: tuple[Weighting, ...] = ("elbo", "clip", "dynamic", "dynamic_as_released")


def noise_of(process: HybridNoise, t: Tensor) -> Tensor:
    """m at time t, without 1 - alpha."""
    _, random, mask = process.parts(t)
    return random + mask


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_weights_are_rates_over_probabilities(process: HybridNoise) -> None:
    """rho_z / q(z | x) per unit of time, by automatic differentiation of alpha and nu."""
    t = torch.linspace(0.01, 0.99, 50)
    at = process.at(noise_of(process, t))
    rho, nu, alpha = process.jump_rate(t), process.nu(t), process.alpha(t)
    close = torch.testing.assert_close
    close(at.other / at.time, rho[:, 0] / nu[:, 0], rtol=1e-9, atol=0)
    close(at.own / at.time, rho[:, 0] / (nu[:, 0] + alpha), rtol=1e-9, atol=0)
    close(at.mask / at.time, rho[:, -1] / nu[:, -1], rtol=1e-9, atol=0)
    close(at.c, alpha / nu[:, 0])
    close(at.share, V * nu[:, 0] / (1 - alpha))
    slope = jvp(lambda t: noise_of(process, t), (t,), (torch.ones_like(t),))[1]
    close(at.time, 1 / slope)
    mean = (
        nu[:, :1].sum(-1) * (V - 1) * at.other + (nu[:, 0] + alpha) * at.own + nu[:, -1] * at.mask
    )
    close(mean, 1 / alpha)  # E_z[w] = -alpha' / alpha


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_oracles_share_of_random_tokens_is_ours(process: HybridNoise) -> None:
    m = torch.linspace(0.001, 0.999, 100)
    torch.testing.assert_close(
        random_share(process, m), process.at(m).share, rtol=1e-10, atol=1e-12
    )


def test_the_share_peaks_at_p_u() -> None:
    for p_u in (0.1, 0.5, 0.9):
        t = torch.linspace(0, 1, 1001)
        _, random, _ = Peaked(V, p_u).parts(t)
        assert random.argmax() == 500 and float(random[500]) == pytest.approx(p_u, abs=1e-15)


def closed_weights(
    process: HybridNoise, weighting: str, t: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Of x in state x, of another token, of the mask, per unit of t: as the papers print them."""
    if isinstance(process, Peaked):
        xi = process.b / V * (t / (1 - t)).sqrt()
        rates = xi / (1 + xi), torch.ones_like(t), 2 * torch.ones_like(t)
        clock = 2 * t * (1 - t)
    else:
        assert isinstance(process, Shifted)
        log_snr = ((1 - t) / t).log()
        s = torch.sigmoid(log_snr + process.shift)
        rates = s**2 / V / (s / V + log_snr.exp()), s, 1 + s
        clock = t * (1 - t)
    own, other, mask = (rate / clock for rate in rates)
    if weighting == "clip":
        return own.clamp_max(1), other.clamp_max(1), mask.clamp_max(1)
    if weighting == "dynamic":
        return rates
    if weighting == "dynamic_as_released":
        assert isinstance(process, Peaked)
        released = process.b / (V + 1) * (0.5 / (1 + t.exp())).exp()
        return released, torch.ones_like(t), 2 * torch.ones_like(t)
    return own, other, mask


def weighted_integral(process: HybridNoise, weighting: str) -> Tensor:
    """int E[w' D] dt for every sequence, a denoiser of the wrong law: latents summed, quadrature in time."""
    u, w = tanh_sinh()
    t, slope = jvp(process.grid, (u,), (torch.ones_like(u),))
    t, w = t[t < 1], (w * slope)[t < 1]
    z = torch.cartesian_prod(*[torch.arange(V + 1)] * L)
    q = process.marginal(torch.eye(V), t[:, None].expand(-1, V))
    p_z = torch.stack([q[:, X[:, i]][:, :, z[:, i]] for i in range(L)]).prod(0)
    m = noise_of(process, t).repeat_interleave(len(z))
    view = View(z.repeat(len(t), 1), torch.arange(L), Full(), time=m)
    x_hat = (
        LeaveOneOut(WRONG, process=process)(view).log_probs().exp().view(len(t), 1, len(z), L, V)
    )
    shape = (len(t), len(X), len(z), L)
    x, z, at = X[None, :, None].expand(shape), z[None, None].expand(shape), t[:, None, None, None]
    rate = process.nelbo_rate(x, x_hat.expand(*shape, V), z, at.expand(shape))

    def chosen(weighting: str) -> Tensor:
        own, other, mask = closed_weights(process, weighting, at)
        return torch.where(z == V, mask, torch.where(z == x, own, other))

    rate = rate * chosen(weighting) / chosen("elbo")
    return w @ torch.where(p_z > 0, p_z * rate.sum(-1), 0).sum(-1)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("name", ["hybrid-0.3", "hybrid-shift"])
def test_the_loss_is_the_weighted_integral_over_time(name: str, weighting: Weighting) -> None:
    """Every outcome of the family's own draws against quadrature in t with the printed weights."""
    family = HYBRIDS[name]
    if weighting == "dynamic_as_released" and family.shift is not None:
        pytest.skip("a weight of the p_u form")
    family = Hybrid(vocab_size=V, p_u=family.p_u, shift=family.shift, weighting=weighting)
    weights, strata, *uniform = hybrid_outcomes(family)
    x, rows = paired(X, len(weights))
    rng = Scripted(rows, strata=[each(strata)], uniform=[each(numbers) for numbers in uniform])
    loss = family.loss(LeaveOneOut(WRONG, process=family.process), x, rng=rng).sum(-1)
    want = weighted_integral(family.process, weighting)
    # The kink of the clipped weight is not for quadrature.
    rtol = 3e-3 if weighting == "clip" else 1e-7
    torch.testing.assert_close(expected(loss, weights), want, rtol=rtol, atol=0)


def tilt(p: Tensor, z: int, kappa: float) -> Tensor:
    tilted = p * torch.where(torch.arange(len(p)) == z, kappa, 1.0)
    return tilted / tilted.sum()


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("t", [0.05, 0.2, 0.8])
def test_where_each_weighting_has_its_optimum(t: float, weighting: Weighting) -> None:
    """x_hat_j kappa^[j = z]: the gradient of the expected loss vanishes there; 1 for elbo and dynamic."""
    v, p = 5, torch.tensor([0.3, 0.1, 0.05, 0.4488, 0.1012])
    process = Peaked(v, 1 / 3)  # B = 1
    at = torch.tensor(t)
    own, other, _ = family_weights(process, weighting, at)
    exact_own, exact_other, _ = family_weights(process, "elbo", at)
    kappa = float(own / other / (exact_own / exact_other))
    if weighting in ("elbo", "dynamic"):
        assert kappa == pytest.approx(1, rel=1e-12)
    z = 3
    if weighting == "clip" and t == 0.2:
        assert kappa == pytest.approx(1 / (2 * t * (1 - t)))
        assert float(tilt(p, z, kappa)[z]) == pytest.approx(0.7178, abs=1e-4)

    def expected_loss(logits: Tensor) -> Tensor:
        x = torch.arange(v)
        q = process.marginal(torch.eye(v), at.expand(v))[:, z]
        rate = process.nelbo_rate(
            x, logits.softmax(-1).expand(v, v), torch.full((v,), z), at.expand(v)
        )
        ratio = torch.where(x == z, own / exact_own, other / exact_other)
        return (p * q * rate * ratio).sum()

    best = tilt(p, z, kappa).log().requires_grad_()
    (gradient,) = torch.autograd.grad(expected_loss(best), best)
    torch.testing.assert_close(gradient, torch.zeros(v), rtol=0, atol=1e-10)
    elsewhere = tilt(p, z, 1.1 * kappa).log().requires_grad_()
    assert float(torch.autograd.grad(expected_loss(elsewhere), elsewhere)[0].abs().max()) > 1e-5


def family_weights(process: Peaked, weighting: Weighting, t: Tensor) -> tuple[Tensor, ...]:
    """The same three weights as the family computes them, per unit of t."""
    family = Hybrid(vocab_size=process.vocab_size, p_u=process.p_u, weighting=weighting)
    moment = process.at(noise_of(process, t)[None, None])
    states = [(True, False), (False, False), (False, True)]
    return tuple(
        (
            family.process.weight(moment, torch.tensor([[a]]), torch.tensor([[b]]), weighting)
            / moment.time
        )[0, 0]
        for a, b in states
    )


@pytest.mark.parametrize(
    ("t", "kappa"),
    [
        (0.01, 12.8),
        (0.05, 5.6),
        (0.1, 3.8),
        (0.3, 1.9),
        (0.5, 1.2),
        (0.7, 0.77),
        (0.9, 0.39),
        (0.99, 0.115),
    ],
)
def test_how_far_the_released_weight_moves_the_optimum(t: float, kappa: float) -> None:
    process, at = Peaked(50257, 0.1), torch.tensor(t)
    own, other, _ = family_weights(process, "dynamic_as_released", at)
    exact_own, exact_other, _ = family_weights(process, "elbo", at)
    assert float(own / other / (exact_own / exact_other)) == pytest.approx(kappa, rel=0.02)


@pytest.mark.parametrize("weighting", ["elbo", "dynamic"])
@pytest.mark.parametrize("noise", [{"p_u": 0.3}, {"shift": 1.0}], ids=str)
def test_noise_of_each_tokens_own(weighting: Weighting, noise: dict[str, float]) -> None:
    """int dm_i of the integrand of token i, where the other one has the noise of a time t ~ U(0, 1)."""
    family = Hybrid(
        vocab_size=5, weighting=weighting, independent_noise=1.0, show_time=False, **noise
    )
    denoiser, total = OrderBlind(5), 60_000
    x = torch.tensor([1, 4])
    rng = Rows.of(stream(0, "own"), total)
    loss = family.loss(denoiser, x.expand(total, 2), rng=rng)
    process = family.process
    m, w = tanh_sinh()
    at = process.at(m)
    # State of the other token.
    clean, random, mask = (float(w @ part) for part in process.parts(m))
    other = torch.full((2, 6), random / 5)
    other[:, 5] = mask
    other[torch.arange(2), x] += clean
    z = torch.cartesian_prod(torch.arange(6), torch.arange(6))
    x_hat = denoiser(View(z, torch.arange(2), Full())).log_probs().exp().view(36, 2, 5)
    for i in range(2):
        shape = (len(m), 36)
        t = at_time(process, m)[:, None].expand(shape)
        q = process.marginal(torch.eye(5)[x[i]].expand(len(m), 5), t[:, 0])[:, z[:, i]]
        rate = (
            process.nelbo_rate(
                x[i].expand(shape), x_hat[None, :, i].expand(*shape, 5), z[:, i].expand(shape), t
            )
            * at.time[:, None]
        )
        if weighting == "dynamic":
            rate = rate * at.clock[:, None]
        want = float(w @ (q * rate * other[1 - i][z[:, 1 - i]]).sum(-1))
        error = float(loss[:, i].mean()) - want
        assert abs(error) < 4 * float(loss[:, i].std()) / math.sqrt(total), (i, error, want)


def at_time(process: HybridNoise, m: Tensor) -> Tensor:
    if isinstance(process, Shifted):
        return m
    assert isinstance(process, Peaked)
    o = process.odds(m)
    return o**2 / (1 + o**2)


@pytest.mark.parametrize("process", [*PROCESSES, Peaked(V, 0.0), Shifted(V, 8.0)], ids=str)
def test_states_follow_times_drawn_evenly(process: HybridNoise) -> None:
    """Shares of clean, random and masked tokens over t ~ U(0, 1); their weights."""
    t, w = tanh_sinh(121)
    want = [float(w @ part) for part in process.parts(t)]
    assert process.mean_parts() == pytest.approx(want, abs=1e-5)
    num = 40_000
    found = own_moments(process, Rows.of(stream(3), num), 3, None)
    random = found.moved & (found.share == 1)
    shares = [~found.moved, random, found.moved & ~random]
    for share, chance in zip(shares, want, strict=True):
        error = 4 * math.sqrt(chance * (1 - chance) / share.numel())
        assert abs(float(share.double().mean()) - chance) <= error + 1e-5
    m, w = tanh_sinh()  # int dm P(state | m), for every state
    s = process.at(m).share
    integrals = [w @ (1 - m), w @ (m * s), w @ (m * (1 - s))]
    for share, integral in zip(shares, integrals, strict=True):
        values = torch.where(share, found.weight, 0)
        error = 4 * float(values.std()) / math.sqrt(values.numel())
        assert abs(float(values.mean()) - float(integral)) <= error + 1e-9
    if isinstance(process, Peaked) and process.p_u == 0.1:
        assert want[1] / (want[1] + want[2]) == pytest.approx(0.1478, abs=1e-4)


def test_some_rows_have_noise_of_their_own_and_the_rest_share_theirs() -> None:
    shown: list[Tensor] = []

    class Watching(OrderBlind):
        def __call__(self, view: View):
            shown.append(view.inputs)
            assert view.time is None
            return super().__call__(view)

    x = torch.zeros(2000, 7, dtype=torch.long)
    for share in (0.0, 0.5, 1.0):
        family = Hybrid(vocab_size=5, p_u=0.0, independent_noise=share, show_time=False)
        family.loss(Watching(5), x, rng=Rows.of(stream(2), 2000))
    spread = [float((z == 5).sum(-1).double().var()) for z in shown]
    # k uniform on {0..7} has variance 63/12, Binomial(7, 1/2) 7/4; both have mean 7/2.
    assert spread == pytest.approx([63 / 12, (63 / 12 + 7 / 4) / 2, 7 / 4], rel=0.1)
