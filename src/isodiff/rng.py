"""Counter-based randomness: every draw is a pure function of (seed, purpose, step, row).

Nothing random is ever saved: a resumed run asks for the same stream again. Noise is drawn for the
*global* batch and cut to the rows at hand, so that ranks and accumulation steps see the same numbers.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Key = tuple[str | int, ...]
"""What a row's numbers are for."""


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator that depends on nothing but its arguments."""
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


class Noise(ABC):
    """Random numbers in [0, 1), a block for each row; successive calls give fresh ones."""

    device: torch.device

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abstractmethod
    def uniform(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """Independent numbers, a block of `shape` for each row, in float64.

        Positions run `along` this axis of the shape; noise that counts them from a start of its own asks.
        """

    def normal(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """Independent standard normal numbers, by inverse CDF; a uniform 0 stands for half a grid step."""
        return torch.special.ndtri(self.uniform(*shape, along=along).clamp_min(2.0**-54))

    def permutation(self, length: int) -> Int[Tensor, "B {length}"]:
        """One uniformly random order of `length` items per row."""
        return self.uniform(length).argsort(-1)


class Streams(Noise):
    """A stream of its own for each sample, so that sample i does not depend on who else is in the batch.

    Rows are samples first .. first + num - 1 of `seed`.
    """

    BLOCK = 4096  # numbers drawn from each stream at a time

    def __init__(
        self, seed: int, num: int, *, first: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.generators = [stream(seed, "sample", first + i) for i in range(num)]
        self.waiting = torch.empty(num, 0, dtype=torch.float64)

    @classmethod
    def of(
        cls, seed: int, samples: Sequence[int], *, device: torch.device | str = "cpu"
    ) -> Streams:
        """These samples of `seed`, in this order."""
        chosen = cls(seed, 0, device=device)
        chosen.generators = [stream(seed, "sample", i) for i in samples]
        chosen.waiting = torch.empty(len(samples), 0, dtype=torch.float64)
        return chosen

    def __len__(self) -> int:
        return len(self.generators)

    def uniform(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """The next numbers of every stream."""
        need = math.prod(shape)
        while self.waiting.shape[1] < need:
            fresh = [
                torch.rand(self.BLOCK, generator=g, dtype=torch.float64) for g in self.generators
            ]
            self.waiting = torch.cat([self.waiting, torch.stack(fresh)], 1)
        taken, self.waiting = self.waiting[:, :need], self.waiting[:, need:]
        return taken.contiguous().view(len(self), *shape).to(self.device)


class Rows(Noise):
    """Noise of losses and bounds: each row also has one number that says how much of it is corrupted.

    Attributes:
        index, total: the rows, among those of a global batch.
    """

    index: Int[Tensor, " B"]
    total: int

    @staticmethod
    def of(
        generator: torch.Generator,
        total: int,
        rows: range | None = None,
        device: torch.device | str = "cpu",
    ) -> Spread:
        """Rows `rows` (all by default) of a batch of `total`, spread evenly."""
        chosen = range(total) if rows is None else rows
        index = torch.arange(chosen.start, chosen.stop, chosen.step)
        return Spread(generator, index, total, torch.device(device))

    @abstractmethod
    def strata(self) -> Float[Tensor, " B"]:
        """One number in [0, 1) per row."""

    @abstractmethod
    def scattered(self, places: int) -> Float[Tensor, "B {places}"]:
        """One number per row and place, uniform; those of a row cover [0, 1) evenly or are independent."""

    @abstractmethod
    def antithetic(self, count: int | Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """One k per row, uniform on {1..count}."""


@dataclass(frozen=True, slots=True)
class Spread(Rows):
    """Rows `index` of a global batch of `total` rows, whose numbers together cover [0, 1) evenly.

    Successive calls give fresh numbers. All are float64: on the 2^-24 grid of float32 ties are
    common, and tails are cut (arXiv 2409.02908).
    """

    generator: torch.Generator
    index: Int[Tensor, " B"]
    total: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.index)

    def uniform(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """Independent numbers in [0, 1), a block of `shape` for each row."""
        block = torch.rand(self.total, *shape, generator=self.generator, dtype=torch.float64)
        return block[self.index].to(self.device)

    def strata(self) -> Float[Tensor, " B"]:
        """One number per row: u + i/total mod 1 with one shared u (arXiv 2107.00630, App. I.1).

        Each row's number is uniform; together they cover [0, 1) evenly.
        """
        u = torch.rand((), generator=self.generator, dtype=torch.float64)
        return ((u + self.index / self.total) % 1).to(self.device)

    def scattered(self, places: int) -> Float[Tensor, "B {places}"]:
        """One number per row and place, uniform: u + i/n mod 1 over all of them, dealt out at random.

        Neither the row nor the place tells which part of [0, 1) a number comes from. Rows are paired: where
        one has v, the other has 1 - v.
        """
        pairs = (self.total + 1) // 2
        n = pairs * places
        u = torch.rand((), generator=self.generator, dtype=torch.float64)
        dealt = torch.randperm(n, generator=self.generator).view(pairs, places)[self.index // 2]
        v = (u + dealt / n) % 1
        return torch.where(self.index[:, None] % 2 == 1, 1 - v, v).to(self.device)

    def antithetic(self, count: int | Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """One k per row, uniform on {1..count}: stratified over pairs of rows, which sum to count + 1.

        The pairing makes the number of chosen positions of an even batch a constant and cancels the
        part of a bound's integrand that is linear in k.
        """
        pairs = (self.total + 1) // 2
        u = torch.rand((), generator=self.generator, dtype=torch.float64)
        u = ((u + self.index // 2 / pairs) % 1).to(self.device)
        k = 1 + (u * count).long()
        return torch.where((self.index % 2 == 1).to(self.device), count + 1 - k, k)


class Placed(Rows):
    """Rows with a stream of their own each and a given place in [0, 1): row i depends on no other row.

    Two rows with the same key meet the same numbers, as far as both ask for them: options of one question.
    """

    def __init__(
        self,
        seed: int,
        keys: Sequence[Key],
        places: Float[Tensor, " B"],
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.generators = [stream(seed, "placed", *key) for key in keys]
        self.places = places.double()
        self.total = len(self.generators)
        self.index = torch.arange(self.total)

    def __len__(self) -> int:
        return self.total

    def uniform(self, *shape: int, along: int = 0) -> Float[Tensor, "B ..."]:
        """The next numbers of every row's stream."""
        rows = [torch.rand(shape, generator=g, dtype=torch.float64) for g in self.generators]
        return torch.stack(rows).to(self.device)

    def strata(self) -> Float[Tensor, " B"]:
        """The places given."""
        return self.places.to(self.device)

    def scattered(self, places: int) -> Float[Tensor, "B {places}"]:
        """The place given plus i/places mod 1, dealt out at random within the row."""
        dealt = self.permutation(places).to(self.device)
        return (self.strata()[:, None] + dealt / places) % 1

    def antithetic(self, count: int | Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """1 + floor(place x count)."""
        return 1 + (self.strata() * count).long()
