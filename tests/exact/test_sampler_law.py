"""Claim 4: with the optimal denoiser, the law of T ancestral steps tends to p as 1/T."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from laws import ancestral_law, clean, finished_from_left_to_right, forward_law, total_variation
from oracle import LeaveOneOut, Optimal

from isodiff.data.toy import Toy
from isodiff.process.categorical import Absorbing, UniformState
from isodiff.process.hybrid import Peaked, Shifted

pytestmark = pytest.mark.usefixtures("float64")
V, L = 3, 3
TOY = Toy.random(V, L, seed=0)
HYBRIDS = [Peaked(V, 0.3), Shifted(V, 1.0)]
PROCESSES = [
    (Absorbing(V), Optimal(TOY)),
    (UniformState(V), LeaveOneOut(TOY)),
    *((process, LeaveOneOut(TOY, process=process)) for process in HYBRIDS),
]
STEPS = (32, 64, 128)


def is_first_order(errors: list[float]) -> bool:
    slopes = [math.log2(b / a) for a, b in itertools.pairwise(errors)]
    return all(abs(slope + 1) < 0.1 for slope in slopes)


@pytest.mark.parametrize(("process", "denoiser"), PROCESSES, ids=[str(p) for p, _ in PROCESSES])
def test_total_variation_falls_as_one_over_steps(process, denoiser) -> None:
    errors = []
    for steps in STEPS:
        times = process.grid(torch.linspace(1, 0, steps + 1))
        law = clean(ancestral_law(process, denoiser, L, times), process.num_states, TOY)
        errors.append(total_variation(law, TOY.p.flatten()))
    assert is_first_order(errors), errors


def test_equal_steps_of_t_do_not_suit_noise_that_sets_in_as_its_root() -> None:
    process, errors = Peaked(V, 0.3), []
    for steps in STEPS[1:]:
        denoiser, times = LeaveOneOut(TOY, process=process), torch.linspace(1, 0, steps + 1)
        law = clean(ancestral_law(process, denoiser, L, times), process.num_states, TOY)
        errors.append(total_variation(law, TOY.p.flatten()))
    assert math.log2(errors[0] / errors[1]) < 0.75, errors


@pytest.mark.parametrize("alpha_0", [0.5, 0.25])
def test_first_phase_of_interpolating_is_first_order(alpha_0: float) -> None:
    """It stops at alpha_0; the left-to-right phase adds no error of its own."""
    process, errors, finished = Absorbing(V), [], []
    truth = forward_law(process, TOY, torch.tensor(1 - alpha_0))
    for steps in STEPS:
        times = 1 - torch.linspace(0, alpha_0, steps + 1)
        law = ancestral_law(process, Optimal(TOY), L, times)
        errors.append(total_variation(law, truth))
        whole = finished_from_left_to_right(law, TOY)
        finished.append(total_variation(whole, TOY.p.flatten()))
    assert is_first_order(errors), errors
    assert is_first_order(finished), finished
    assert all(after <= before for before, after in zip(errors, finished, strict=True))


def test_left_to_right_alone_is_exact() -> None:
    nothing = torch.zeros(4**L)
    nothing[-1] = 1  # all masks
    torch.testing.assert_close(finished_from_left_to_right(nothing, TOY), TOY.p.flatten())


def test_for_uniform_noise_a_sampler_fed_the_posterior_mean_does_not_converge() -> None:
    process, errors = UniformState(V), []
    for steps in STEPS[-2:]:
        law = ancestral_law(process, LeaveOneOut(TOY, own=True), L, torch.linspace(1, 0, steps + 1))
        errors.append(total_variation(law, TOY.p.flatten()))
    assert min(errors) > 0.05


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_are_first_order_and_exact_where_they_are_single_tokens(block: int) -> None:
    errors = []
    for steps in STEPS:
        law = ancestral_law(Absorbing(V), Optimal(TOY), L, torch.linspace(1, 0, steps + 1), block)
        errors.append(total_variation(clean(law, V + 1, TOY), TOY.p.flatten()))
    assert max(errors) < 1e-12 if block == 1 else is_first_order(errors), errors
