"""D3PM and SEDD as objectives of masked diffusion: where theory says that they are its bound, they are."""

from __future__ import annotations

import pytest
import torch
from laws import ancestral_law, finished_from_left_to_right
from oracle import Optimal
from outcomes import L, V, X, each, expected, masked_bound, paired
from scripted import Scripted, orders, product
from test_bound_as_estimated import TRUE, WRONG
from torch import Tensor

from isodiff.families.masked import Masked, score_entropy
from isodiff.network.attention import Full
from isodiff.network.head import HeadPrediction
from isodiff.network.view import Denoiser, LogProbTable, Prediction, View
from isodiff.process import counts
from isodiff.process.categorical import Absorbing
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")


def d3pm_loss(denoiser: Denoiser, steps: int) -> Tensor:
    """Mean of the family's loss over every count and order, nats per sequence."""
    k, order = product(torch.arange(1, L + 1), orders(L))
    x, rows = paired(X, len(k))
    rng = Scripted(rows, antithetic=[each(k)], permutation=[each(order)])
    family = Masked(vocab_size=V, objective="d3pm", d3pm_steps=steps)
    loss = family.loss(denoiser, x, rng=rng).sum(-1)
    return expected(loss, torch.full((len(k),), 1 / len(k)))


def bound_of_steps(denoiser: Denoiser, steps: int) -> Tensor:
    """sum_i E_q(z_t | x) KL(q(z_s | z_t, x) || q(z_s | z_t, x_hat)) of every step, by enumeration."""
    process = Absorbing(V)
    z = torch.cartesian_prod(*[torch.arange(V + 1)] * L)
    x_hat = denoiser(View(z, torch.arange(L), Full())).log_probs().exp().view(len(z), L, V)
    shape, total = (len(X), len(z), L), torch.zeros(len(X))
    clean = torch.eye(V)[X][:, None].expand(*shape, V)
    for i in range(1, steps + 1):
        s, t = torch.tensor((i - 1) / steps).expand(shape), torch.tensor(i / steps).expand(shape)
        q = process.marginal(torch.eye(V), torch.tensor(i / steps).expand(V))
        p_z = torch.stack([q[X[:, n]][:, z[:, n]] for n in range(L)]).prod(0)
        states = z.expand(shape)
        p = process.posterior(states, clean, s, t)
        p_hat = process.posterior(states, x_hat.expand(*shape, V), s, t)
        kl = (torch.xlogy(p, p) - torch.xlogy(p, p_hat)).sum((-1, -2))
        total = total + torch.where(p_z > 0, p_z * kl, 0).sum(-1)
    return total


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_d3pm_is_the_bound_of_its_steps(steps: int) -> None:
    """Nothing is 0/0 and no term is left out, whatever T."""
    denoiser = Optimal(WRONG)
    torch.testing.assert_close(d3pm_loss(denoiser, steps), bound_of_steps(denoiser, steps))


@pytest.mark.parametrize("steps", [1, 3])
def test_d3pm_bounds_the_likelihood_of_its_own_sampler(steps: int) -> None:
    """Above -log p_T(x) for every x; equal for one step, which has no latent."""
    law = ancestral_law(Absorbing(V), Optimal(WRONG), L, torch.linspace(1, 0, steps + 1))
    gap = d3pm_loss(Optimal(WRONG), steps) + finished_from_left_to_right(law, WRONG).log()
    if steps == 1:
        torch.testing.assert_close(gap, torch.zeros_like(gap), rtol=0, atol=1e-12)
    else:
        assert float(gap.min()) > 1e-3


def test_d3pm_tends_to_the_nelbo_as_one_over_steps() -> None:
    """From above on average: coarser steps predict more tokens at once."""
    nelbo = masked_bound(Optimal(TRUE))
    torch.testing.assert_close(nelbo, -TRUE.log_p(X))
    gaps = [
        float(TRUE.p.flatten() @ (d3pm_loss(Optimal(TRUE), steps) - nelbo))
        for steps in (50, 100, 200)
    ]
    assert all(gap > 0 for gap in gaps)
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=0.02)
    assert gaps[1] / gaps[2] == pytest.approx(2, rel=0.01)


def test_weights_of_steps_tend_to_one_over_k() -> None:
    assert counts.step_weights(4, 1).tolist() == [0, 0, 0, 1]  # one step sees nothing but masks
    for length in (1, 5, 64):
        k = torch.arange(1, length + 1)
        torch.testing.assert_close(
            counts.step_weights(length, 4000), 1 / k.double(), rtol=0.05, atol=0
        )
    # However many steps, each token is decided once: sum_k k w_k = sum_i (1/i) L i / T = L.
    for steps in (1, 3, 1000):
        weights = counts.step_weights(9, steps)
        assert float(weights @ torch.arange(1.0, 10)) == pytest.approx(9, rel=1e-12)


def test_sedd_of_normalized_scores_is_the_nelbo() -> None:
    """Token by token, for the same masks."""
    numbers = Rows.of(stream(0, "sedd"), len(X)), Rows.of(stream(0, "sedd"), len(X))
    sedd, nelbo = (Masked(vocab_size=V, objective=name) for name in ("sedd", "nelbo"))
    got = sedd.loss(Optimal(WRONG), X, rng=numbers[0])
    assert torch.equal(got, nelbo.loss(Optimal(WRONG), X, rng=numbers[1]))


def head(count: int, scale: float) -> tuple[HeadPrediction, Tensor]:
    """Logits with any sum of exponentials."""
    rng = stream(0, "scores")
    hidden, weight, bias = (
        torch.randn(shape, generator=rng) for shape in ((count, 4), (V, 4), (V,))
    )
    prediction = HeadPrediction(scale * hidden, weight, bias)
    return prediction, prediction.logits()


def test_sedd_is_the_score_entropy_of_the_paper() -> None:
    """sigma' [sum_y s_y - q log s_x + q (log q - 1)] at a mask, q = 1 / (e^sigma - 1)."""
    prediction, u = head(200, 1.5)
    x = torch.arange(200) % V
    t = torch.linspace(0.01, 0.99, 200)
    sigma, slope = -torch.log1p(-t), 1 / (1 - t)
    q = 1 / torch.expm1(sigma)
    log_s = u + (q / V).log()[:, None]
    printed = log_s.exp().sum(-1) - q * log_s[range(200), x] + q * (q.log() - 1)
    torch.testing.assert_close(score_entropy(prediction, x) / t, slope * printed)


def test_sedd_is_never_below_the_nelbo_and_meets_it_where_scores_add_up() -> None:
    prediction, u = head(200, 1.5)
    x = torch.arange(200) % V
    excess = score_entropy(prediction, x) - prediction.nats(x)
    assert float(excess.min()) >= 0 and float(excess.mean()) > 0.1
    add_up = u - u.logsumexp(-1, keepdim=True) + torch.tensor(float(V)).log()
    same = HeadPrediction(add_up, torch.eye(V), None)
    torch.testing.assert_close(score_entropy(same, x), prediction.nats(x), rtol=1e-12, atol=1e-14)
    nats, log_z = LogProbTable(u.log_softmax(-1)).nats_and_mass(x)
    torch.testing.assert_close(nats, prediction.nats(x))
    assert not log_z.any()


def test_both_objectives_keep_the_reported_bound() -> None:
    x, bounds = X, []
    for objective in ("low_variance", "nelbo", "d3pm", "sedd"):
        family = Masked(vocab_size=V, objective=objective, d3pm_steps=2)
        bounds.append(family.nelbo(Optimal(WRONG), x, rng=Rows.of(stream(3), len(x))).nats)
    assert all(torch.equal(bound, bounds[0]) for bound in bounds)
    assert isinstance(Optimal(WRONG)(View(x, torch.arange(L), Full())), Prediction)
