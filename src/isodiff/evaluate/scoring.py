r"""Scores of many targets given their contexts, under noise that they share: a forward per target and draw.

The noise of a draw is a function of (key, number of the draw, place of the token in the target). Options of
an item have its key, so under the same draw they meet

    the same share of corrupted tokens, k_j = 1 + floor(u L_j) of L_j with one u      (strata by quantile)
    at the same places, by the same numbers                                           (common random numbers)

as far as their lengths allow, wherever the context ends, and whatever else is in the batch. The u of
successive draws are van der Corput's sequence 0, 1/2, 1/4, 3/4, ... shifted by a number of the item: the
first 2^m of them cover [0, 1) evenly, so an estimate is sharpened by further draws and none is wasted. Each
is uniform: no bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from isodiff.evaluate.estimators.inquiry import Counting
from isodiff.evaluate.items import Target
from isodiff.families.base import Family
from isodiff.network.padding import Padded
from isodiff.network.view import Denoiser
from isodiff.rng import Key, Placed, stream

GOLDEN = (math.sqrt(5) - 1) / 2


class FromStart(Placed):
    """Rows that count numbers from a place of their own, `starts`, along an axis of `length` positions.

    Every call has a stream of its own, so what a position meets depends neither on `length` nor on how much
    earlier calls asked for.
    """

    def __init__(
        self,
        seed: int,
        keys: Sequence[Key],
        places: Float[Tensor, " B"],
        *,
        starts: Sequence[int],
        length: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seed, keys, places, device=device)
        self.seed, self.keys, self.calls = seed, keys, 0
        self.length = length
        self.order = (torch.arange(length) - torch.tensor(starts)[:, None]) % length

    def uniform(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Fresh numbers in [0, 1); along positions, each row's from its start on, then round about."""
        generators = [stream(self.seed, "from start", self.calls, *key) for key in self.keys]
        self.calls += 1
        along = shape.index(self.length) if self.length in shape else None
        if along is None:
            rows = [torch.rand(shape, generator=g, dtype=torch.float64) for g in generators]
            return torch.stack(rows).to(self.device)
        rest = [size for axis, size in enumerate(shape) if axis != along]
        rows = [
            torch.rand(self.length, *rest, generator=g, dtype=torch.float64)[order]
            for g, order in zip(generators, self.order, strict=True)
        ]
        return torch.stack(rows).movedim(1, along + 1).contiguous().to(self.device)

    def scattered(self, places: int) -> Float[Tensor, "B {places}"]:
        """The place given plus i golden ratios, mod 1: even within a row and over rows, whatever `places`."""
        steps = torch.arange(places, device=self.device, dtype=torch.float64) * GOLDEN
        return (self.strata()[:, None] + steps) % 1


class Job(NamedTuple):
    """A target to score, and the noise to do it under."""

    target: Target
    key: Key
    place: float


def places(seed: int, key: Key, draws: range) -> Float[ndarray, " D"]:
    """Van der Corput's sequence in base 2, shifted by a number of the key, mod 1."""
    shift = float(torch.rand((), generator=stream(seed, "shift", *key), dtype=torch.float64))
    return np.array([(reversed_bits(d) + shift) % 1 for d in draws])


def reversed_bits(number: int) -> float:
    """0.b_0 b_1 b_2 ... in base 2, of number = ... b_2 b_1 b_0."""
    digits = f"{number:b}"[::-1]
    return int(digits, 2) / 2 ** len(digits)


@dataclass(slots=True)
class Scorer:
    """A family and a network that score jobs in batches.

    Attributes:
        batch_tokens: most positions of a batch, padding included.
    """

    family: Family
    network: Denoiser
    seed: int = 0
    device: torch.device | str = "cpu"
    batch_tokens: int = 2**14
    counting: Counting = field(init=False)

    def __post_init__(self) -> None:
        self.counting = Counting(self.network)

    @property
    def num_forwards(self) -> int:
        """Sequences shown to the network so far."""
        return self.counting.shown

    @torch.no_grad()
    def nats(self, jobs: Sequence[Job]) -> Float[ndarray, " J"]:
        """-log p(target | context), or an unbiased estimate of its bound, for every job."""
        found = np.empty(len(jobs))
        # Of about the same length together; options of an item stay neighbours.
        order = sorted(range(len(jobs)), key=lambda j: -(-len(jobs[j].target) // 8))
        while order:
            longest = len(jobs[order[-1]].target)
            rows = max(1, self.batch_tokens // longest)
            order, batch = order[:-rows], order[-rows:]
            found[batch] = self.batch([jobs[j] for j in batch])
        return found

    def mean(
        self, targets: Sequence[Target], keys: Sequence[Key], draws: int
    ) -> Float[ndarray, " T"]:
        """Mean nats of every target over so many draws; one where they are exact."""
        each = range(1 if self.family.kind == "exact" else draws)
        jobs = [
            Job(target, (*key, d), place)
            for target, key in zip(targets, keys, strict=True)
            for d, place in zip(each, places(self.seed, key, each), strict=True)
        ]
        return self.nats(jobs).reshape(len(targets), len(each)).mean(-1)

    def batch(self, jobs: Sequence[Job]) -> Float[ndarray, " J"]:
        """The jobs of one batch, padded on the right."""
        lengths = [len(job.target) for job in jobs]
        length = max(lengths)
        x = torch.zeros(len(jobs), length, dtype=torch.long)
        given = torch.ones(len(jobs), length, dtype=torch.bool)
        for row, (target, _, _) in enumerate(jobs):
            x[row, : len(target)] = torch.from_numpy(target.ids)
            given[row, target.known : len(target)] = False
        rng = FromStart(
            self.seed,
            [job.key for job in jobs],
            torch.tensor([job.place for job in jobs], dtype=torch.float64),
            starts=[job.target.known for job in jobs],
            length=length,
            device=self.device,
        )
        padded = Padded(self.counting, torch.tensor(lengths, device=self.device))
        answer = self.family.nelbo(padded, x.to(self.device), rng=rng, given=given.to(self.device))
        return answer.nats.double().cpu().numpy()
