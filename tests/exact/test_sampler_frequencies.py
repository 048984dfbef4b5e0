"""Claim 5a: the samplers' code follows the exact T-step law: chi-square over all V^L sequences."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from laws import ancestral_law, clean, finished_from_left_to_right
from oracle import LeaveOneOut, Optimal
from torch import Tensor

from isodiff.data.toy import Toy
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.base import Family, undecided
from isodiff.families.block import BlockDiffusion
from isodiff.families.hybrid import Hybrid
from isodiff.families.interpolating import Interpolating
from isodiff.families.masked import Masked
from isodiff.families.sampling import sample
from isodiff.families.uniform import Uniform
from isodiff.network.attention import block_sizes
from isodiff.network.view import Denoiser
from isodiff.process.categorical import Absorbing, UniformState
from isodiff.process.schedule import Linear
from isodiff.rng import Rows, stream

pytestmark = pytest.mark.usefixtures("float64")
V, L, DRAWS = 3, 3, 40_000
TOY = Toy.random(V, L, seed=0)


def law_of(family: Family, denoiser: Denoiser, steps: int) -> Tensor:
    """V^L probabilities that the code should follow."""
    if isinstance(family, Hybrid):
        process = family.process
        times = process.grid(torch.linspace(1, 0, steps + 1))
        return clean(ancestral_law(process, denoiser, L, times), V + 1, TOY)
    if isinstance(family, Uniform):
        process = UniformState(V, Linear(family.alpha_end))
        times = torch.linspace(1, 0, steps + 1)
        return clean(ancestral_law(process, denoiser, L, times), V, TOY)
    if isinstance(family, Autoregressive):
        return TOY.p.flatten()
    alpha_0 = family.alpha_0 if isinstance(family, Interpolating) else 1.0
    times = 1 - torch.linspace(0, alpha_0, steps + 1)
    times = times if alpha_0 else times[:1]
    block = family.block_size if isinstance(family, BlockDiffusion) else None
    law = ancestral_law(Absorbing(V), denoiser, L, times, block)
    return finished_from_left_to_right(law, TOY)


def p_value(x: Tensor, law: Tensor, v: int = V) -> float:
    """Chi-square of the frequencies of x, rare cells taken together."""
    index = x @ v ** torch.arange(x.shape[1] - 1, -1, -1)
    counts = torch.bincount(index, minlength=len(law)).double()
    expected = len(x) * law
    assert not bool((counts[law == 0] > 0).any())
    counts, expected = counts[law > 0], expected[law > 0]
    if len(expected) == 1:
        return 1.0  # nothing else was drawn
    rare = expected < 10
    if rare.any():
        counts = torch.cat([counts[~rare], counts[rare].sum()[None]])
        expected = torch.cat([expected[~rare], expected[rare].sum()[None]])
    expected = expected * counts.sum() / expected.sum()
    return float(scipy.stats.chisquare(counts.numpy(), expected.numpy()).pvalue)


CASES = {
    "autoregressive": (Autoregressive(vocab_size=V), Optimal(TOY, shift=1)),
    "masked": (Masked(vocab_size=V), Optimal(TOY)),
    "uniform": (Uniform(vocab_size=V), LeaveOneOut(TOY)),
    "uniform-0.1": (Uniform(vocab_size=V, alpha_end=0.1), LeaveOneOut(TOY)),
    **{
        f"interpolating-{variant}-{a}": (
            Interpolating(vocab_size=V, alpha_0=a, variant=variant),
            Optimal(TOY),
        )
        for variant in ("A", "B")
        for a in (1.0, 0.5, 0.0)
    },
    **{f"block-{k}": (BlockDiffusion(vocab_size=V, block_size=k), Optimal(TOY)) for k in (1, 2, 3)},
    **{
        f"hybrid-{options}": (family, LeaveOneOut(TOY, process=family.process))
        for options in ({"p_u": 0.1}, {"p_u": 0.5}, {"p_u": 0.0}, {"shift": 1.0})
        for family in [Hybrid(vocab_size=V, **options)]
    },
}


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(("family", "denoiser"), CASES.values(), ids=CASES)
def test_frequencies_follow_the_exact_law(family: Family, denoiser: Denoiser, steps: int) -> None:
    rng = Rows.of(stream(0, "frequencies", family.name, steps), DRAWS)
    x, nfe = sample(family, denoiser, undecided(DRAWS, L), family.sampler_with(steps), rng=rng)
    assert ((x >= 0) & (x < V)).all()
    law = law_of(family, denoiser, steps)
    assert p_value(x, law) > 1e-3
    assert int(nfe.max()) == most_evaluations(family, steps)
    if float((law - TOY.p.flatten()).abs().sum()) > 0.1:
        assert p_value(x, TOY.p.flatten()) < 1e-6  # the test can tell p from its approximation


def most_evaluations(family: Family, steps: int) -> int:
    """Network evaluations of the busiest row: no step that changes nothing costs one."""
    if isinstance(family, Autoregressive):
        return L
    if isinstance(family, Interpolating) and family.alpha_0 < 1:
        return L
    if isinstance(family, BlockDiffusion):
        return sum(min(steps, size) for size in block_sizes(L, family.block_size))
    if isinstance(family, Hybrid) and family.p_u != 0:
        return steps
    return steps if isinstance(family, Uniform) else min(steps, L)


def test_a_wrong_law_is_found_out() -> None:
    rng = Rows.of(stream(0, "frequencies"), DRAWS)
    family, denoiser = CASES["masked"]
    x, _ = sample(family, denoiser, undecided(DRAWS, L), family.sampler_with(2), rng=rng)
    assert p_value(x, law_of(*CASES["masked"], 3)) < 1e-6
