r"""Scores of many targets given their contexts, under noise that they share: a forward per target and draw.

The noise of a draw is a function of (key, number of the draw, place of the token in the target). Options of
an item have its key, so under the same draw they meet

    the same share of corrupted tokens, k_j = 1 + floor(u L_j) of L_j with one u      (strata by quantile)
    at the same places, by the same numbers                                           (common random numbers)

as far as their lengths allow, wherever the context ends, and whatever else is in the batch. The u of
successive draws are van der Corput's sequence 0, 1/2, 1/4, 3/4, ... shifted by a number of the item: the
first 2^m of them cover [0, 1) evenly, so an estimate is sharpened by further draws and none is wasted. Each
is uniform: no bias.

Families that fill masks in any order are asked for all masks once, and k_j = 1 + floor(u (L_j - 1)) after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from isodiff.evaluate.estimators.mask_counts import MaskCounts
from isodiff.evaluate.estimators.queries import Counting, Inquiry, Jobs
from isodiff.evaluate.items import Target
from isodiff.families.base import AnyOrder, Family
from isodiff.network.padding import Padded
from isodiff.network.view import Denoiser
from isodiff.rng import Key, Placed, Rows, stream
from isodiff.runs.resumable import Pieces, anew

GOLDEN = (math.sqrt(5) - 1) / 2
AT_ONCE = 1024
"""Targets whose mean is taken together, and what their tokens were expected to cost kept in memory."""


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


def places(seed: int, key: Key, draws: range) -> Float[ndarray, " D"]:
    """Van der Corput's sequence in base 2, shifted by a number of the key, mod 1."""
    shift = float(torch.rand((), generator=stream(seed, "shift", *key), dtype=torch.float64))
    return np.array([(reversed_bits(d) + shift) % 1 for d in draws])


def reversed_bits(number: int) -> float:
    """0.b_0 b_1 b_2 ... in base 2, of number = ... b_2 b_1 b_0."""
    digits = f"{number:b}"[::-1]
    return int(digits, 2) / 2 ** len(digits)


@dataclass(kw_only=True)
class Ragged(Inquiry):
    """Texts of different lengths, padded on the right; noise counts from the first token to score.

    Attributes:
        lengths, starts: of each text, and where what is scored begins.
    """

    lengths: Int[Tensor, " B"]
    starts: Sequence[int]

    def denoiser(self, rows: Jobs) -> Denoiser:
        """Padding is seen by nobody."""
        return Padded(self.network, self.lengths[rows].to(self.x.device))

    def noise(self, keys: Sequence[Key], places: Float[Tensor, " J"], rows: Jobs) -> Rows:
        """Shared by rows of one key."""
        starts, length = [self.starts[row] for row in rows.tolist()], self.x.shape[1]
        return FromStart(
            self.seed, keys, places, starts=starts, length=length, device=self.x.device
        )


class Group:
    """Targets of about the same length, shown to the network together."""

    def __init__(self, scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key]) -> None:
        lengths = torch.tensor([len(one) for one in targets])
        starts = [one.known for one in targets]
        x = torch.zeros(len(targets), int(lengths.max()), dtype=torch.long)
        for row, one in zip(x, targets, strict=True):
            row[: len(one)] = torch.from_numpy(one.ids)
        position = torch.arange(x.shape[1])
        scored = (position >= torch.tensor(starts)[:, None]) & (position < lengths[:, None])
        self.inquiry = Ragged(
            family=scorer.family,
            network=scorer.counting,
            x=x.to(scorer.device),
            target=scored.to(scorer.device),
            keys=keys,
            seed=scorer.seed,
            batch_size=max(1, scorer.batch_tokens // x.shape[1]),
            lengths=lengths,
            starts=starts,
        )
        self.ask = self.inquiry.nelbo
        if isinstance(scorer.family, AnyOrder):
            self.ask = MaskCounts(self.inquiry).whole

    def draw(self, rows: Sequence[int], draws: range) -> Float[Tensor, "T D"]:
        """Nats of these rows under these draws."""
        keys = [self.inquiry.keys[row] for row in rows]
        where = np.stack([places(self.inquiry.seed, key, draws) for key in keys])
        jobs = torch.tensor(rows).repeat_interleave(len(draws))
        each = [(*key, d) for key in keys for d in draws]
        return self.ask(jobs, each, torch.from_numpy(where).flatten()).view(where.shape)


class Scores:
    """Targets that are scored draw by draw.

    In families that fill masks in any order, a draw is less what its masked tokens were expected to cost by
    the looks so far (estimators/masks.py), so later draws scatter less; the others give the integrand of
    their bound.
    """

    def __init__(self, scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key]) -> None:
        self.groups: list[Group] = []
        self.place: dict[int, tuple[int, int]] = {}
        # Options of an item stay neighbors.
        order = sorted(range(len(targets)), key=lambda t: -(-len(targets[t]) // 8))
        while order:
            most = max(1, scorer.batch_tokens // len(targets[order[-1]]))
            order, some = order[:-most], order[-most:]
            self.place |= {t: (len(self.groups), row) for row, t in enumerate(some)}
            self.groups.append(Group(scorer, [targets[t] for t in some], [keys[t] for t in some]))

    def draw(self, numbers: Sequence[int], draws: range) -> Float[ndarray, "T D"]:
        """-log p(target | context), or unbiased estimates of its bound, of these targets."""
        found = np.empty((len(numbers), len(draws)))
        for number, group in enumerate(self.groups):
            some = [i for i, t in enumerate(numbers) if self.place[t][0] == number]
            if some:
                rows = [self.place[numbers[i]][1] for i in some]
                found[some] = torch.cat([group.draw(rows, part) for part in parts(draws)], 1)
        return found


def parts(draws: range) -> list[range]:
    """Cut at 2, 4, 8, 16, 32, 48, ...: what a part has found, the next ones know."""
    cuts = [2, 4, 8, *range(16, draws.stop, 16)]
    edges = [draws.start, *(cut for cut in cuts if cut in draws[1:]), draws.stop]
    return [range(*pair) for pair in pairwise(edges)]


@dataclass(slots=True)
class Scorer:
    """A family and a network that score targets in batches.

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

    def mean(
        self,
        targets: Sequence[Target],
        keys: Sequence[Key],
        draws: int,
        *,
        pieces: Pieces = anew,
    ) -> Float[ndarray, " T"]:
        """Mean nats of every target over so many draws; one where they are exact."""
        each = range(1 if self.family.kind == "exact" else draws)

        def drawn(rows: range) -> list[float]:
            scores = Scores(self, [targets[i] for i in rows], [keys[i] for i in rows])
            return scores.draw(range(len(rows)), each).mean(-1).tolist()

        found: list[float] = []
        for first in range(0, len(targets), AT_ONCE):
            rows = range(first, min(first + AT_ONCE, len(targets)))
            found += pieces(len(rows), partial(drawn, rows))
        return np.array(found)
