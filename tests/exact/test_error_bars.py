"""Estimates are unbiased and their error bars are honest, for every family, against what can be enumerated.

400 trials each: the mean lies within what their scatter allows, the mean squared standard error is the
variance, and 95 % intervals cover the truth in 93 to 97 % of them.
"""

from __future__ import annotations

import math

import pytest
import torch
from oracle import Bayes, Known, LeaveOneOut, Optimal
from rough import Rough, scores, trials
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.evaluate.likelihood import LikelihoodEstimate
from isodiff.families.base import Family
from isodiff.families.block import BlockDiffusion
from isodiff.families.gaussian import Gaussian
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.uniform import Uniform
from isodiff.network.view import Denoiser

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 4
TOY = Toy.random(V, L, seed=0)
X = TOY.sequences[50]
LONG = Toy.random(2, 9, seed=2)  # for masks, where n is more than a few
PAIR = Toy.random(2, 2, seed=3)


def honest(found: LikelihoodEstimate, truth: float) -> None:
    num = len(found.nats)
    error = found.nats - truth
    assert abs(float(error.mean())) < 3.5 * float(error.std()) / math.sqrt(num)
    squares = float((found.se**2).mean()) / float(error.square().mean())
    assert 0.8 < squares < 1.25, squares
    covered = float((error.abs() <= 1.96 * found.se).double().mean())
    assert 0.93 <= covered <= 0.97, covered


def nll(toy: Toy, x: Tensor) -> float:
    return -float(toy.log_p(x[None]))


HYBRID, SHIFTED = Hybrid(vocab_size=V, p_u=0.3), Hybrid(vocab_size=V, shift=1.0)
EXACT: dict[str, tuple[Family, Denoiser]] = {
    "uniform": (Uniform(vocab_size=V), LeaveOneOut(TOY)),
    "hybrid": (HYBRID, LeaveOneOut(TOY, process=HYBRID.process)),
    "hybrid-shift": (SHIFTED, LeaveOneOut(TOY, process=SHIFTED.process)),
    "interpolating-1": (Interpolating(vocab_size=V, alpha_0=1.0), Optimal(TOY)),
    "interpolating-0.5": (Interpolating(vocab_size=V, alpha_0=0.5), Optimal(TOY)),
    "masked": (Masked(vocab_size=V), Optimal(TOY)),
    "block": (BlockDiffusion(vocab_size=V, block_size=3), Optimal(TOY)),
}


@pytest.mark.parametrize("name", EXACT)
def test_any_bound_at_stratified_places(name: str) -> None:
    """Of the optimal denoiser, whose bound is -log p(x)."""
    family, denoiser = EXACT[name]
    honest(trials(family, denoiser, X, method="noise_level", budget=260), nll(TOY, X))


def test_gaussian_noise() -> None:
    family = Gaussian(vocab_size=2, embedding_width=1, self_conditioning=False)
    x = PAIR.sequences[1]
    found = trials(family, Bayes(PAIR, Known.circle(2)), x, budget=1600)
    honest(found, nll(PAIR, x))
    assert found.num_forwards.unique().tolist() == [1600]  # two of each draw


@pytest.mark.parametrize("block_size", [9, 6], ids=["masked", "block"])
@pytest.mark.parametrize("consistent", [True, False])
def test_mask_counts(block_size: int, consistent: bool) -> None:
    """Against all subsets, also where no joint law has the predictions."""
    family = Masked(vocab_size=2) if block_size == 9 else BlockDiffusion(vocab_size=2, block_size=6)
    denoiser, x = (Optimal if consistent else Rough)(LONG), LONG.sequences[333]
    truth = float(scores(family, denoiser, x[None], method="enumeration").nats)
    assert not consistent or truth == pytest.approx(nll(LONG, x))
    honest(trials(family, denoiser, x, 400, method="mask_counts", budget=257), truth)


def test_mask_counts_of_some_tokens() -> None:
    denoiser, x = Rough(LONG), LONG.sequences[333]
    observed = torch.arange(9) % 4 == 1
    family = Masked(vocab_size=2)
    truth = float(
        scores(family, denoiser, x[None], observed=observed[None], method="enumeration").nats
    )
    honest(trials(family, denoiser, x, observed=observed, method="mask_counts", budget=257), truth)


@pytest.mark.parametrize("groups", [2, 4])
def test_block_chains(groups: int) -> None:
    """Against the mean over all orders."""
    family, denoiser, x = Masked(vocab_size=V), Rough(TOY), TOY.sequences[7]
    method = f"block_chain:{groups}"
    truth = float(trials(family, denoiser, x, 20000, method=method, budget=2 * groups).nats.mean())
    honest(trials(family, denoiser, x, method=method, budget=40 * groups), truth)


@pytest.mark.parametrize("num", [2, 3])
def test_block_chains_of_few_orders(num: int) -> None:
    """The mean squared standard error is the variance of the mean, where n - 1 is far from n."""
    found = trials(
        Masked(vocab_size=V),
        Rough(TOY),
        TOY.sequences[7],
        4000,
        method="block_chain:2",
        budget=2 * num,
    )
    assert found.num_forwards.unique().tolist() == [2 * num]
    assert float((found.se**2).mean() / found.nats.var()) == pytest.approx(1, abs=0.12)


def test_until_the_error_is_small_enough() -> None:
    """The number of rounds depends on the draws; at this size that is not seen."""
    family, denoiser, x = Masked(vocab_size=2), Rough(LONG), LONG.sequences[333]
    truth = float(scores(family, denoiser, x[None], method="enumeration").nats)
    target = 0.2
    found = trials(family, denoiser, x, method="mask_counts", target_se=target)
    assert float(found.se.max()) <= target
    assert len(found.num_forwards.unique()) > 3 and float(found.num_forwards.min()) >= 33
    error = found.nats - truth
    assert abs(float(error.mean())) < target / 10
    assert 0.92 <= float((error.abs() <= 1.96 * found.se).double().mean()) <= 0.98
