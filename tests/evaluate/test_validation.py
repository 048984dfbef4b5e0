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
from isodiff.runs.validation import evaluate
from tests.contract.networks import FAMILIES, tiny, tokens

WINDOWS, LENGTH = 6, 5
BYTES = np.array([0, 1, 1, 2, 7, 30, 90])
IDS = tokens(WINDOWS, LENGTH).numpy()
STREAM: Any = SimpleNamespace(
    num_windows=lambda length: WINDOWS,
    gather=lambda chosen, length: IDS[chosen],
    bytes_in=lambda row: float(BYTES[row].sum()),
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
