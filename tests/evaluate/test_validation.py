"""Loss on held-out windows: totals over totals, fresh noise in every draw, either law of a family."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isodiff.evaluate.likelihood import likelihood
from isodiff.families.base import Family, SamplerLaw
from isodiff.record import HeldOutLoss
from isodiff.runs.spec import NOISE_ERROR
from isodiff.runs.validation import (
    DrawnNats,
    drawn,
    evaluate,
    held_out_loss,
    ratio_mean,
)
from tests.contract.networks import FAMILIES, tiny, tokens

WINDOWS, LENGTH = 6, 5
BYTES = np.array([0, 1, 1, 2, 7, 30, 90])
IDS = tokens(WINDOWS, LENGTH).numpy()
STREAM: Any = SimpleNamespace(
    num_windows=lambda length: WINDOWS,
    gather=lambda chosen, length: IDS[chosen],
    bytes_in=lambda row: float(BYTES[row].sum()),
    document_at=lambda positions: None,
)


def measured(law: Family | SamplerLaw, family: Family, draws: int) -> HeldOutLoss:
    return evaluate(law, tiny(family), STREAM, length=LENGTH, windows=WINDOWS, draws=draws)


def test_bits_per_byte_are_all_nats_over_all_bytes() -> None:
    """Of windows that differ much in their bytes; not the mean of each window's."""
    family = FAMILIES["autoregressive"]
    found = measured(family, family, 1)
    run: Any = SimpleNamespace(family=family, network=tiny(family))
    nats = likelihood(run, torch.from_numpy(IDS)).nats.numpy()
    sizes = BYTES[IDS].sum(1)
    assert sizes.max() > 2 * sizes.min()
    total = nats.sum() / sizes.sum() / math.log(2)
    assert found.bits_per_byte.value == pytest.approx(total, rel=1e-5)
    assert found.nats_per_token.value == pytest.approx(nats.mean() / LENGTH, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "method"), [("masked", "enumeration"), ("block-4", "enumeration")]
)
def test_draws_are_fresh_and_their_mean_is_the_bound(name: str, method: str) -> None:
    family = FAMILIES[name]
    run: Any = SimpleNamespace(family=family, network=tiny(family))
    bound = float(likelihood(run, torch.from_numpy(IDS), method=method).nats.mean()) / LENGTH
    few = [measured(family, family, draws).nats_per_token.value for draws in (1, 2, 3)]
    assert len({*few}) == 3
    many = measured(family, family, 200).nats_per_token.value
    assert abs(many - bound) < 0.02 * bound < max(abs(one - bound) for one in few)


def test_the_cached_sampler_is_measured_by_its_own_bound() -> None:
    family = FAMILIES["interpolating"]
    law = family.cached_sampler
    assert law is not None
    run: Any = SimpleNamespace(family=family, network=tiny(family))
    estimate = likelihood(run, torch.from_numpy(IDS), method="any_order", budget=300)
    found = measured(law, family, 200)
    wanted = float(estimate.nats.mean()) / LENGTH
    assert found.nats_per_token.value == pytest.approx(wanted, rel=0.02)
    assert found.kind == "bound" and "bound of the cached sampler" in found.protocol
    assert "bound of the law that shows all masks left" in measured(family, family, 1).protocol
    assert "law" not in measured(FAMILIES["masked"], FAMILIES["masked"], 1).protocol


def test_the_error_of_a_ratio_is_that_of_drawing_windows_again() -> None:
    """Bits per byte over many texts of a law: the standard error is the scatter, the naive one is not."""
    rng = np.random.default_rng(0)
    alone = np.arange(60)
    found, errors, naive = [], [], []
    for _ in range(800):
        size = rng.gamma(4, 30, 60)  # bytes of a window vary
        total = rng.normal(100, 8, 60) + 0.0 * size  # nats do not follow them
        one, deviations = ratio_mean(total, size, alone)
        found.append(one.value)
        errors.append(one.standard_error)
        naive.append(total.std(ddof=1) / math.sqrt(60) / size.mean())
        assert abs(deviations.sum()) < 1e-12 and one.num == 60
    scatter = np.std(found)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.08)
    assert np.mean(naive) < 0.3 * scatter


def test_windows_of_a_document_count_as_one() -> None:
    """What a document's windows have in common is no less uncertain for being seen often."""
    rng = np.random.default_rng(1)
    document = np.sort(rng.integers(0, 30, 240))
    found, errors = [], []
    for _ in range(800):
        nats = 5 + rng.normal(0, 1, 30)[document] + rng.normal(0, 0.3, 240)
        one, _ = ratio_mean(nats, np.ones(240), document)
        found.append(one.value)
        errors.append(one.standard_error)
    scatter = np.std(found)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(scatter, rel=0.08)
    alone = ratio_mean(nats, np.ones(240), np.arange(240))[0].standard_error
    assert alone < 0.5 * scatter


def planted(nats: np.ndarray, document: np.ndarray | None = None) -> HeldOutLoss:
    family = FAMILIES["masked"]
    sizes = np.full(len(nats), 7.0)
    return held_out_loss(family, DrawnNats(nats, sizes, document), 5, "windows")


def test_the_error_of_a_difference_is_that_of_the_deviations() -> None:
    rng = np.random.default_rng(2)
    hard = rng.normal(20, 6, 300)
    document = np.arange(300) // 3
    one, two = (planted((hard + rng.normal(0, 0.5, 300))[:, None], document) for _ in range(2))
    assert one.deviations and two.deviations and len(one.deviations) == 100
    assert one.nats_per_token.num == 100 and "300 windows of 5 tokens from 100 doc" in one.protocol
    apart = np.subtract(one.deviations, two.deviations)
    error = math.sqrt(100 / 99 * apart @ apart)
    assert error == pytest.approx(0.5 * math.sqrt(2 / 300) / 7 / math.log(2), rel=0.2)
    assert error < 0.15 * one.bits_per_byte.standard_error
    whole = np.array(one.deviations)
    assert math.sqrt(100 / 99 * whole @ whole) == pytest.approx(
        one.bits_per_byte.standard_error, rel=1e-4
    )


@pytest.mark.parametrize("document", [None, np.zeros(400, int)], ids=["unknown", "one"])
def test_without_documents_windows_stand_alone(document: np.ndarray | None) -> None:
    nats = np.random.default_rng(3).normal(20, 6, (400, 1))
    found = planted(nats, document)
    assert found.nats_per_token.num == 400 and "documents" not in found.protocol
    error = float(nats.std(ddof=1)) / 20 / 5
    assert found.nats_per_token.standard_error == pytest.approx(error)
    assert found.deviations is not None
    assert len(found.deviations) == 128 and abs(sum(found.deviations)) < 1e-6


@pytest.mark.parametrize("noise", [0.01, 0.2, 0.35])
def test_draws_are_added_until_their_error_is_small(noise: float) -> None:
    """Noise that depends on the level, whose mean over the windows cancels, and noise that does not."""
    level = np.arange(512) / 512

    def score(draws: range) -> np.ndarray:
        columns = []
        for d in draws:
            rng = np.random.default_rng(d)
            known = 30 * np.sin(2 * np.pi * (level + rng.random()))
            columns.append(10 + known + rng.normal(0, 5 * noise, 512))
        return np.stack(columns, 1)

    nats = drawn(score, FAMILIES["masked"], 2, 5, NOISE_ERROR)
    needed = (noise / NOISE_ERROR) ** 2 / 512
    assert max(2, needed / 2) <= nats.shape[1] <= max(2, min(2 * needed, 128))
    np.testing.assert_array_equal(nats[:, :2], score(range(2)))
    assert abs(nats.mean() - 10) / 5 < 4 * NOISE_ERROR
    assert drawn(score, FAMILIES["masked"], 3, 5, None).shape == (512, 3)
    assert drawn(score, FAMILIES["autoregressive"], 3, 5, NOISE_ERROR).shape == (512, 1)


@pytest.mark.parametrize("draws", [1, 2])
def test_a_final_number_says_its_draws_and_their_error(draws: int) -> None:
    """On 6 windows the goal is out of reach: the most draws are taken, and the error is said."""
    family = FAMILIES["masked"]
    how = {"length": LENGTH, "windows": WINDOWS, "draws": draws, "noise_error": NOISE_ERROR}
    found = evaluate(family, tiny(family), STREAM, **how)
    assert found.draws == 64 * draws and found.noise_error and found.noise_error > NOISE_ERROR
    assert "noise draws until their error is 0.002 nats" in found.protocol
    same = measured(family, family, 64 * draws)
    assert same.nats_per_token == found.nats_per_token and same.draws == found.draws
