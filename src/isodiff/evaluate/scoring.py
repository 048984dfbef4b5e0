r"""Scores of many targets given their contexts, under noise that they share: a forward per target and draw.

The noise of a draw is a function of (key, number of the draw, position of the token in the target). Options
of an item have its key, so under the same draw they meet

    the same share of corrupted tokens, k_j = 1 + floor(u L_j) of L_j with one u      (strata by quantile)
    at the same positions, by the same numbers                                        (common random numbers)

as far as their lengths allow, wherever the context ends, and whatever else is in the batch. The u of
successive draws are van der Corput's sequence 0, 1/2, 1/4, 3/4, ... shifted by a number of the item: the
first 2^m of them cover [0, 1) evenly, so an estimate is sharpened by further draws and none is wasted. Each
is uniform: no bias.

Families that fill masks in any order are queried about all masks once; then k_j = 1 + floor(u (L_j - 1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats.qmc import Halton
from torch import Tensor

from isodiff.evaluate.estimators.mask_counts import MaskCounts
from isodiff.evaluate.estimators.queries import CountingDenoiser, Queries, TextRows
from isodiff.evaluate.items import Target
from isodiff.families.base import AnyOrder, Family
from isodiff.network.padding import Padded
from isodiff.network.view import Denoiser
from isodiff.rng import Key, Placed, Rows, stream
from isodiff.runs.resumable import Pieces, anew

_GOLDEN = (math.sqrt(5) - 1) / 2
_AT_ONCE = 1024
"""Targets whose mean is taken together, and what their tokens were expected to cost kept in memory."""


class FromStart(Placed):
    """Rows that count random numbers from a position of their own, `starts`, along the axis of positions.

    Every call has a stream of its own, so what a position meets depends neither on `length` nor on how much
    earlier calls asked for.
    """

    def __init__(
        self,
        seed: int,
        keys: Sequence[Key],
        levels: Float[Tensor, " B"],
        *,
        starts: Sequence[int],
        length: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(seed, keys, levels, device=device)
        self.seed, self.keys, self.calls = seed, keys, 0
        self.length = length
        self.order = (torch.arange(length) - torch.tensor(starts)[:, None]) % length

    def uniform(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """Fresh numbers in [0, 1); along positions, each row's from its start on, then round about."""
        generators = [stream(self.seed, "from start", self.calls, *key) for key in self.keys]
        self.calls += 1
        if not shape:
            rows = [torch.rand((), generator=g, dtype=torch.float64) for g in generators]
            return torch.stack(rows).to(self.device)
        length, rest = shape[along], shape[:along] + shape[along + 1 :]
        assert length == self.length, (shape, along)
        rows = [
            torch.rand(self.length, *rest, generator=g, dtype=torch.float64)[order]
            for g, order in zip(generators, self.order, strict=True)
        ]
        return torch.stack(rows).movedim(1, along + 1).contiguous().to(self.device)

    def scattered(self, places: int) -> Float[Tensor, "B {places}"]:
        """The level plus i golden ratios, mod 1: even within a row and over rows, whatever `places`."""
        steps = torch.arange(places, device=self.device, dtype=torch.float64) * _GOLDEN
        return (self.strata()[:, None] + steps) % 1


@cache
def _van_der_corput(draws: range) -> Float[ndarray, " D"]:
    sequence = Halton(1, scramble=False)
    sequence.fast_forward(draws.start)
    return sequence.random(len(draws))[:, 0]


def shared_levels(seed: int, key: Key, draws: range) -> Float[ndarray, " D"]:
    """Van der Corput's sequence in base 2, shifted by a number of the key, mod 1."""
    shift = float(torch.rand((), generator=stream(seed, "shift", *key), dtype=torch.float64))
    return (_van_der_corput(draws) + shift) % 1


@dataclass(kw_only=True)
class _PaddedQueries(Queries):
    """Of texts of different lengths, padded on the right; noise counts from the first token to score.

    Attributes:
        lengths, starts: of each text, and where what is scored begins.
    """

    lengths: Int[Tensor, " B"]
    starts: Sequence[int]

    def denoiser(self, rows: TextRows) -> Denoiser:
        """Padding is seen by nobody."""
        return Padded(self.network, self.lengths[rows].to(self.x.device))

    def noise(self, keys: Sequence[Key], levels: Float[Tensor, " Q"], rows: TextRows) -> Rows:
        """Shared by rows of one key."""
        starts, length = [self.starts[row] for row in rows.tolist()], self.x.shape[1]
        device = self.x.device
        return FromStart(self.seed, keys, levels, starts=starts, length=length, device=device)


class PaddedBatch:
    """Targets of about the same length, shown to the network together."""

    def __init__(self, scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key]) -> None:
        lengths = torch.tensor([len(one) for one in targets])
        starts = [one.known for one in targets]
        x = torch.zeros(len(targets), int(lengths.max()), dtype=torch.long)
        for row, one in zip(x, targets, strict=True):
            row[: len(one)] = torch.from_numpy(one.ids)
        position = torch.arange(x.shape[1])
        scored = (position >= torch.tensor(starts)[:, None]) & (position < lengths[:, None])
        self.queries = _PaddedQueries(
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
        self.bound = self.queries.nelbo
        if isinstance(scorer.family, AnyOrder):
            self.bound = MaskCounts(self.queries).draw_bound

    def draw(self, rows: Sequence[int], draws: range) -> Float[Tensor, "T D"]:
        """Nats of these rows under these draws."""
        keys = [self.queries.keys[row] for row in rows]
        levels = np.stack([shared_levels(self.queries.seed, key, draws) for key in keys])
        texts = torch.tensor(rows).repeat_interleave(len(draws))
        each = [(*key, d) for key in keys for d in draws]
        return self.bound(texts, each, torch.from_numpy(levels).flatten()).view(levels.shape)


class TargetScores:
    """Targets that are scored draw by draw.

    In families that fill masks in any order, a draw is less what its masked tokens were expected to cost by
    the draws so far (estimators/control_variate.py), so later draws scatter less; the others give the
    integrand of their bound.
    """

    def __init__(self, scorer: Scorer, targets: Sequence[Target], keys: Sequence[Key]) -> None:
        self.batches: list[PaddedBatch] = []
        self.where: dict[int, tuple[int, int]] = {}
        # Options of an item stay neighbors.
        order = sorted(range(len(targets)), key=lambda t: -(-len(targets[t]) // 8))
        while order:
            most = max(1, scorer.batch_tokens // len(targets[order[-1]]))
            order, some = order[:-most], order[-most:]
            self.where |= {t: (len(self.batches), row) for row, t in enumerate(some)}
            batch = PaddedBatch(scorer, [targets[t] for t in some], [keys[t] for t in some])
            self.batches.append(batch)

    def draw(self, numbers: Sequence[int], draws: range) -> Float[ndarray, "T D"]:
        """-log p(target | context), or unbiased estimates of its bound, of these targets."""
        nats = np.empty((len(numbers), len(draws)))
        for number, batch in enumerate(self.batches):
            some = [i for i, t in enumerate(numbers) if self.where[t][0] == number]
            if some:
                rows = [self.where[numbers[i]][1] for i in some]
                nats[some] = torch.cat(
                    [batch.draw(rows, part) for part in doubling_parts(draws)], 1
                )
        return nats


def doubling_parts(draws: range) -> list[range]:
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
    counting: CountingDenoiser = field(init=False)

    def __post_init__(self) -> None:
        self.counting = CountingDenoiser(self.network)

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
            scores = TargetScores(self, [targets[i] for i in rows], [keys[i] for i in rows])
            return scores.draw(range(len(rows)), each).mean(-1).tolist()

        nats: list[float] = []
        for first in range(0, len(targets), _AT_ONCE):
            rows = range(first, min(first + _AT_ONCE, len(targets)))
            nats += pieces(len(rows), partial(drawn, rows))
        return np.array(nats)
