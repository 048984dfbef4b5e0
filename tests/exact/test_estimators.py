"""Claim 5b: loss and bound estimators are unbiased, with honest standard errors and finite variance."""

from __future__ import annotations

import functools
import itertools
import math

import pytest
import scipy.stats
import torch
from oracle import Bayes, Known, LeaveOneOut, Optimal
from outcomes import uniform_outcomes
from scripted import Scripted
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family
from isodiff.families.block import BlockDiffusion
from isodiff.families.gaussian import Gaussian
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.view import Denoiser
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 3
TOY = Toy.random(V, L, seed=0)
X = TOY.sequences[5]
BATCHES, ROWS = 250, 32

NELBOS = {
    "masked": (Masked(vocab_size=V, objective="nelbo"), Optimal(TOY)),
    "uniform": (Uniform(vocab_size=V), LeaveOneOut(TOY)),
    **{
        f"hybrid-{options}": (family, LeaveOneOut(TOY, process=family.process))
        for options in ({"p_u": 0.3}, {"shift": 1.0})
        for family in [Hybrid(vocab_size=V, weighting="elbo", **options)]
    },
    **{
        f"interpolating-{a}": (
            Interpolating(vocab_size=V, alpha_0=a, objective="nelbo"),
            Optimal(TOY),
        )
        for a in (1.0, 0.5, 0.25, 0.0)
    },
    **{
        f"block-{k}": (BlockDiffusion(vocab_size=V, block_size=k, objective="nelbo"), Optimal(TOY))
        for k in (1, 2, 3)
    },
    "interpolating-A": (
        Interpolating(vocab_size=V, alpha_0=0.5, variant="A", objective="nelbo"),
        Optimal(TOY),
    ),
    "gaussian": (
        Gaussian(vocab_size=V, embedding_width=2),
        Bayes(TOY, Known.circle(V, low=-4.0, high=12.0, power=1.5)),
    ),
}
each_family = pytest.mark.parametrize(("family", "denoiser"), NELBOS.values(), ids=NELBOS)


@functools.cache
def estimates(
    kind: str, family: Family, denoiser: Denoiser, rows: int = ROWS, batches: int = BATCHES
) -> Tensor:
    """batches, rows: nats per sequence of `X` from independent streams."""
    x, values = X.repeat(rows, 1), []
    for step in range(batches):
        rng = Rows.of(stream(0, "estimators", step), rows)
        if kind == "loss":
            values.append(family.loss(denoiser, x, rng=rng).sum(-1))
        else:
            values.append(family.nelbo(denoiser, x, rng=rng).nats)
    return torch.stack(values)


@each_family
@pytest.mark.parametrize("kind", ["loss", "nelbo"])
def test_unbiased_and_honest(kind: str, family: Family, denoiser: Denoiser) -> None:
    """The mean is -log p(x); the spread of batch means is at most what the rows report.

    Rows share their strata, so the error of a batch mean may be smaller than sd / sqrt(n) of its rows,
    never larger: 1.18 is 4 standard deviations of a chi distribution with 249 degrees of freedom.
    """
    values = estimates(kind, family, denoiser)
    means = values.mean(1)
    actual = float(means.std())
    reported = float(values.var(1).mean().sqrt()) / math.sqrt(ROWS)
    error = float(means.mean() + TOY.log_p(X[None])[0])
    assert abs(error) <= 4 * actual / math.sqrt(len(means)) + 1e-12
    assert actual <= 1.18 * reported + 1e-12


@each_family
def test_noise_of_the_batch_mean_falls_with_the_batch(family: Family, denoiser: Denoiser) -> None:
    """At least as fast as 1 / sqrt(n): a batch 16 times larger, 4 times less noise."""
    small = estimates("loss", family, denoiser, rows=2, batches=150).mean(1).std()
    large = estimates("loss", family, denoiser).mean(1).std()
    assert float(large) <= float(small) / 4 * 1.3 + 1e-12


@pytest.mark.parametrize("family_type", [Masked, Interpolating])
def test_low_variance_objective_is_the_unweighted_mean(family_type) -> None:
    """E_{k, subset} of the masked tokens' nats, each -log p(x_i | clean), by enumeration."""
    want = 0.0
    for k in range(1, L + 1):
        subsets = list(itertools.combinations(range(L), k))
        for hidden in subsets:
            known = X.clone()
            known[list(hidden)] = V
            p = TOY.conditional(known.repeat(k, 1), torch.tensor(hidden))
            nats = -p[range(k), X[list(hidden)]].log().sum()
            want += float(nats) / len(subsets) / L
    values = estimates("loss", family_type(vocab_size=V), Optimal(TOY)).mean(1)
    assert abs(float(values.mean()) - want) < 4 * float(values.std()) / math.sqrt(len(values))


@pytest.mark.parametrize("name", ["uniform", "hybrid-{'p_u': 0.3}", "hybrid-{'shift': 1.0}"])
def test_moments_of_corruption_keep_the_variance_finite(name: str) -> None:
    """E[estimate^2] converges as the cut-off in m falls; for t ~ U(0, 1) it grows without end."""
    weights, strata, u, v, noise = uniform_outcomes(num_nodes=481)
    k = (strata * (L + 1)).long()
    at_jump = u.sort(-1).values.gather(1, (k - 1).clamp_min(0)[:, None]).squeeze(1)
    m = torch.where(k > 0, at_jump, -torch.expm1(torch.log1p(-v) / (L + 1)))
    family, denoiser = NELBOS[name]
    kinds = [] if name == "uniform" else [torch.zeros_like(u)]  # random tokens: the worst kind
    rng = Scripted(len(m), strata=[strata], uniform=[u, v, noise, *kinds])
    ours = family.loss(denoiser, X.repeat(len(m), 1), rng=rng).sum(-1)
    # Eq. (4) of process/counts.py: undoing the weight turns Beta(k, L-k+1) into Beta(k+1, L-k+1),
    # and the mixture of those over k is t ~ U(0, 1) with independent corruption.
    weight = torch.where(k > 0, m * (L + 1) / k.clamp_min(1), 1.0)
    naive, chance = ours / weight, weights * weight

    def second_moments(values: Tensor, weights: Tensor) -> list[float]:
        return [float(weights[m > e] @ values[m > e].square()) for e in (1e-6, 1e-9, 1e-12)]

    finite, infinite = second_moments(ours, weights), second_moments(naive, chance)
    assert float(chance.sum()) == pytest.approx(1, abs=1e-9)
    assert float(chance @ naive) == pytest.approx(float(weights @ ours), rel=1e-9)
    assert finite[2] == pytest.approx(finite[0], rel=1e-2)
    # A corrupted token costs log(1/m) / m, with chance m: the sum grows as log(1 / cut-off)^3.
    assert infinite[0] > 20 * finite[2]
    assert infinite[2] / infinite[0] == pytest.approx(2**3, rel=0.05)


@pytest.mark.parametrize("m", [0.69, 0.71])
def test_a_schedule_that_stops_short_counts_no_noise_beyond_its_end(m: float) -> None:
    """alpha_end = 0.3: corruption beyond m = 0.7 is not part of the process."""
    u = torch.tensor([[0.1, m, 0.2]])
    losses = []
    for end in (0.0, 0.3):
        rng = Scripted(1, strata=[torch.tensor([0.99])], uniform=[u, u[:, 0], u])
        family = Uniform(vocab_size=V, alpha_end=end)
        losses.append(family.loss(LeaveOneOut(TOY), X[None], rng=rng))
    assert losses[0].sum() > 0
    assert torch.equal(losses[1], losses[0] if m < 0.7 else torch.zeros(1, L))


def test_phases_of_an_odd_batch_are_weighted_by_their_shares() -> None:
    """Two rows of five take the diffusion term; its weight is 5/2, not 2."""
    means = estimates("loss", *NELBOS["interpolating-0.5"], rows=5, batches=400).mean(1)
    error = float(means.mean() + TOY.log_p(X[None])[0])
    assert abs(error) < 4 * float(means.std()) / math.sqrt(len(means))
    views = NELBOS["interpolating-0.5"][0].training_views(5, L)
    assert [len(view.inputs) for view in views] == [2, 3]


def test_standard_errors_of_uniform_cover_the_truth() -> None:
    """z-scores of batch means with their own reported errors: 95 % lie within 1.96, or more."""
    values = estimates("nelbo", *NELBOS["uniform"], rows=128)
    z = (values.mean(1) + TOY.log_p(X[None])) / (values.std(1) / math.sqrt(values.shape[1]))
    covered = int((z.abs() < 1.96).sum())
    assert scipy.stats.binom.sf(covered, len(z), 0.92) < 0.999


def test_autoregressive_needs_no_randomness() -> None:
    family, x = Autoregressive(vocab_size=V), TOY.sequences
    likelihood = family.nelbo(Optimal(TOY, shift=1), x, rng=Rows.of(stream(0), len(x)))
    assert likelihood.kind == "exact"
    torch.testing.assert_close(likelihood.nats, -TOY.log_p(x), rtol=1e-12, atol=0)
