"""What families say that sampling asks of a network, against what their samplers show one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from networks import FAMILIES, V, tiny

from isodiff.cost.flops import forward_flops
from isodiff.cost.sampling import TypicalNetwork
from isodiff.families.base import Family, undecided
from isodiff.network.attention import Attention
from isodiff.network.shape import Backbone, Shape
from isodiff.network.view import Cache, Latent, LogProbTable, Prediction, View
from isodiff.rng import Streams

BUILT_IN = ["autoregressive", "masked", "uniform", "hybrid", "interpolating", "block", "gaussian"]
LENGTH, STEPS = 24, 6
LEAST, MOST = 20, 150  # texts
NAMES = ("evaluations", "positions", "pairs", "read", "slots")
SAID = [name for name in FAMILIES if FAMILIES[name].sampling_cost(LENGTH, STEPS) is not None]


@dataclass
class Counting:
    """Knows nothing, which is right for texts of independent even tokens; counts what it is shown."""

    latent: Latent | None
    counts: dict[str, float] = field(default_factory=lambda: dict.fromkeys(NAMES, 0.0))
    vocab_size: int = V

    def __call__(self, view: View) -> Prediction:
        n = view.inputs.shape[1]
        return self.seen(view, view.attention.pairs_in(1, n), 0)

    def cache(self, batch: int, capacity: int) -> Cache:
        return Cache()

    def cached(self, view: View, cache: Cache) -> Prediction:
        assert view.slots is not None
        slots = view.slots.flatten()
        end = int(slots.max()) + 1
        return self.seen(view, pairs(view.attention, slots, end), end)

    def seen(self, view: View, pairs: int, slots: int) -> Prediction:
        found = (1, view.inputs.shape[1], pairs, view.num_read, slots)
        for name, number in zip(NAMES, found, strict=True):
            self.counts[name] += number
        return LogProbTable(torch.full((view.num_read, V), -math.log(V)))


def pairs(attention: Attention, slots: torch.Tensor, end: int) -> int:
    """Attended pairs between the slots shown and all up to `end`."""
    return int(attention.allowed(slots[:, None], torch.arange(end), LENGTH).sum())


def counted(family: Family) -> dict[str, np.ndarray]:
    """Of single texts, one after the other, until every mean is known to one per cent."""
    network = tiny(family)
    rows: list[list[float]] = []
    while len(rows) < MOST:
        counting = Counting(network.latent)
        rng = Streams(0, 1, first=len(rows))
        with torch.no_grad():
            for _ in family.denoise(
                counting, undecided(1, LENGTH), family.sampler_with(STEPS), rng=rng
            ):
                pass
        rows.append(list(counting.counts.values()))
        found = np.array(rows)
        if len(rows) >= LEAST and (standard_error(found) <= 0.01 * found.mean(0)).all():
            break
    return dict(zip(NAMES, np.array(rows).T, strict=True))


def standard_error(found: np.ndarray) -> np.ndarray:
    """Of the mean over the first axis."""
    return found.std(0, ddof=1) / math.sqrt(len(found))


@pytest.mark.parametrize("name", SAID)
def test_a_family_shows_on_average_what_it_says(name: str) -> None:
    said, found = FAMILIES[name].sampling_cost(LENGTH, STEPS), counted(FAMILIES[name])
    assert said is not None
    for part in NAMES:
        mean = found[part].mean()
        error = standard_error(found[part])
        expected = getattr(said, part)
        # Where the last event's size or the share of masks is taken at its mean: 2 per cent.
        assert abs(mean - expected) <= 4 * error + 0.02 * expected, (part, mean, expected)


def test_every_family_but_one_variant_says_it() -> None:
    silent = {name for name in set(FAMILIES) - set(SAID) if FAMILIES[name].name in BUILT_IN}
    assert silent == {"interpolating-A", "interpolating-A-0.5"}


def test_flops_of_sampling_are_those_of_the_views() -> None:
    """Left to right with a cache costs one look at the whole text; masks one such look an event."""
    shape, vocab_size, length = Shape(depth=12, width=768, heads=12), 1000, 64
    network = TypicalNetwork.of(shape.core_parameters, "core", vocab_size)
    assert network.depth == pytest.approx(12) and network.width == pytest.approx(768)
    for name in ("autoregressive", "masked"):
        family = type(FAMILIES[name])(vocab_size=vocab_size)  # type: ignore[call-arg]
        (view,) = family.training_views(1, length)
        whole = forward_flops(
            view, shape=shape, backbone=Backbone(), vocab_size=vocab_size, timed=False
        )
        said = family.sampling_cost(length, 10**9)
        assert said is not None
        looks = said.evaluations if name == "masked" else 1
        head = 2 * length * 768 * vocab_size
        expected = looks * (whole.blocks + whole.attention) + head
        assert network.flops(said) == pytest.approx(expected, rel=1e-6)
