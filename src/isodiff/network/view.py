"""The waist: what a family shows a network, and what it gets back.

Families know `View`, `Denoiser` and `Prediction`, and no network; networks know no family.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.categorical import Truncation, draw, pick
from isodiff.network.attention import Attention


@dataclass(frozen=True, slots=True)
class View:
    """What a family shows the network: N positions of each of B sequences.

    Attributes:
        inputs: states to embed, or vectors.
        positions: rotary index of each position; two copies of a token share one.
        attention: who may attend to whom, in the order shown.
        time: noise level of each sequence in [0, 1]; None where the family does not condition on it.
        read: which of the B * N positions (row by row) are predictions; None for all.
        slots: with a cache, the place of each position in the order shown so far; the pattern then speaks
            of slots. A position shown again replaces what its slot held.
        table: the vector of each clean token, where predictions are averaged over it.
        evidence: with a table, what a position's own vector says of its token: added to the logits are
            the products of this with every row of the table.
        trained: whether the prediction is differentiated in training. A first look whose prediction only
            feeds the next one is not, and costs a third.
    """

    inputs: Int[Tensor, "B N"] | Float[Tensor, "B N I"]
    positions: Int[Tensor, "B N"] | Int[Tensor, " N"]
    attention: Attention
    time: Float[Tensor, " B"] | None = None
    read: Int[Tensor, " M"] | None = None
    slots: Int[Tensor, "B N"] | Int[Tensor, " N"] | None = None
    table: Float[Tensor, "V E"] | None = None
    evidence: Float[Tensor, "B N E"] | None = None
    trained: bool = True

    @property
    def num_read(self) -> int:
        """M: how many positions the vocabulary head runs on."""
        return math.prod(self.inputs.shape[:2]) if self.read is None else self.read.numel()


class Prediction(ABC):
    """Predicted clean tokens, one row per position read (all B * N of them, or M).

    The vocabulary is touched only as far as a method needs.
    """

    @abstractmethod
    def log_probs(self) -> Float[Tensor, "M V"]:
        """Normalized log-probabilities, float32 or better. The mask is not among them."""

    def probs(self) -> Float[Tensor, "M V"]:
        """Probabilities."""
        return self.log_probs().exp()

    def in_pieces(self, *columns: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Log-probabilities (K, V), each row up to a constant, with the same rows of `columns` (M, ...).

        K may be chosen so that memory is bounded whatever M and V.
        """
        yield self.log_probs(), *columns

    def nats(self, target: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
        """-log p(target)."""
        return -pick(self.log_probs(), target)

    def nats_and_mass(
        self, target: Int[Tensor, " M"]
    ) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
        """-log p(target), and the logarithm of the mean of exp(logits): 0 for what has none."""
        nats = self.nats(target)
        return nats, torch.zeros_like(nats)

    def nats_and_mean(
        self, target: Int[Tensor, " M"], table: Float[Tensor, "V E"]
    ) -> tuple[Float[Tensor, " M"], Float[Tensor, "M E"]]:
        """-log p(target), and the mean of the table's rows under p; never in low precision."""
        log_p = self.log_probs()
        with torch.autocast(log_p.device.type, enabled=False):
            return -pick(log_p, target), log_p.exp() @ table

    def uniform_statistics(
        self, c: Float[Tensor, " M"], x: Int[Tensor, " M"], z: Int[Tensor, " M"]
    ) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
        """sum_j log(1 + c p_j), log(1 + c p_x), log(1 + c p_z): all that uniform noise needs."""
        p = self.probs()
        total = torch.log1p(c[:, None] * p).sum(-1)
        return total, torch.log1p(c * pick(p, x)), torch.log1p(c * pick(p, z))

    def draw(
        self, u: Float[Tensor, " M"], truncation: Truncation | None = None
    ) -> Int[Tensor, " M"]:
        """One exact draw per row; `u` is uniform on [0, 1)."""
        cut = truncation or Truncation()
        return torch.cat([draw(cut.weights(logits), v) for logits, v in self.in_pieces(u)])


@dataclass(frozen=True, slots=True)
class LogProbTable(Prediction):
    """A prediction given as numbers: oracles and tests."""

    values: Float[Tensor, "M V"]

    def log_probs(self) -> Float[Tensor, "M V"]:
        """The numbers."""
        return self.values


class Cache:
    """What a denoiser remembers of the positions it was shown, by slot. Its kind is the denoiser's affair."""


@runtime_checkable
class Denoiser(Protocol):
    """Predicts clean tokens from a view."""

    @property
    def vocab_size(self) -> int:
        """V."""
        ...

    def __call__(self, view: View) -> Prediction:
        """p(x_i | view) for every position read."""
        ...


@runtime_checkable
class CachingDenoiser(Denoiser, Protocol):
    """A denoiser that need not be shown again what it has seen."""

    def cache(self, batch: int, capacity: int) -> Cache:
        """An empty cache of `capacity` slots for each of `batch` sequences."""
        ...

    def cached(self, view: View, cache: Cache) -> Prediction:
        """p(x_i | everything in the cache and `view`), and `view` goes into the cache."""
        ...


@runtime_checkable
class _RowwiseDenoiser(Denoiser, Protocol):
    """A denoiser that knows something of every sequence of its batch."""

    def of(self, rows: Int[Tensor, " R"] | Bool[Tensor, " B"]) -> Denoiser:
        """The same for some of the sequences."""
        ...


def for_rows(denoiser: Denoiser, rows: Int[Tensor, " R"] | Bool[Tensor, " B"]) -> Denoiser:
    """The denoiser for a batch of `rows` only, in this order."""
    return denoiser.of(rows) if isinstance(denoiser, _RowwiseDenoiser) else denoiser


@dataclass(frozen=True, kw_only=True, slots=True)
class Vectors:
    """What a family that shows vectors instead of states asks of the network.

    Attributes:
        width: E, numbers in the vector of a token.
        shown: numbers in an input. Those after the first E are an addition; their weights start at zero.
        learned_table, learned_schedule: whether the tokens' vectors and the noise schedule are learned.
    """

    width: int
    shown: int
    learned_table: bool = True
    learned_schedule: bool = True


@runtime_checkable
class Latent(Protocol):
    """What a noise process over vectors learns. The network owns it; the family uses it."""

    def table(self) -> Float[Tensor, "V E"]:
        """The vector of each token, of length 1."""
        ...

    def ends(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """gamma_0 < gamma_1: log of noise over signal at t = 0 and t = 1, in float64."""
        ...

    def progress(self, t: Float[Tensor, " B"]) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """The share of the way from gamma_0 to gamma_1 at t, from 0 to 1, and its slope, in float64."""
        ...


@runtime_checkable
class LatentDenoiser(Denoiser, Protocol):
    """A denoiser with learned vectors; None where the family asked for none."""

    @property
    def latent(self) -> Latent | None:
        """The vectors and the schedule."""
        ...


def latent_of(denoiser: Denoiser) -> Latent:
    """The denoiser's vectors and schedule."""
    latent = denoiser.latent if isinstance(denoiser, LatentDenoiser) else None
    if latent is None:
        raise TypeError(f"{type(denoiser).__name__} was made without vectors and shows none")
    return latent


@dataclass(frozen=True, slots=True)
class Replay(Cache):
    """The states and positions shown, by slot."""

    inputs: Int[Tensor, "B N"]
    positions: Int[Tensor, "B N"]


@dataclass(frozen=True, slots=True)
class Replaying:
    """Any denoiser as a caching one: it is shown everything again, every time. The reference for caches."""

    denoiser: Denoiser
    device: torch.device | str = "cpu"

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.denoiser.vocab_size

    def __call__(self, view: View) -> Prediction:
        """The denoiser's own answer."""
        return self.denoiser(view)

    def cache(self, batch: int, capacity: int) -> Replay:
        """Nothing shown yet."""
        empty = torch.zeros(2, batch, capacity, dtype=torch.long, device=self.device)
        return Replay(empty[0], empty[1])

    def cached(self, view: View, cache: Cache) -> Prediction:
        """Show everything up to the last slot."""
        assert isinstance(cache, Replay) and view.slots is not None
        slots = view.slots.expand(view.inputs.shape)
        cache.inputs.scatter_(1, slots, view.inputs)
        cache.positions.scatter_(1, slots, view.positions.expand(view.inputs.shape))
        shown = int(slots.max()) + 1
        # A row that has been shown less repeats its last entry.
        index = torch.arange(shown, device=slots.device)
        index = torch.minimum(index, slots.amax(-1, keepdim=True))
        if view.read is None:
            read = torch.arange(view.inputs.numel(), device=slots.device)
        else:
            read = view.read
        row = read // view.inputs.shape[1]
        everything = View(
            cache.inputs.gather(1, index),
            cache.positions.gather(1, index),
            view.attention,
            time=view.time,
            read=row * shown + slots.flatten()[read],
        )
        return self.denoiser(everything)


def caching(denoiser: Denoiser, device: torch.device) -> CachingDenoiser:
    """The denoiser itself if it can cache, else one that is shown everything again."""
    return denoiser if isinstance(denoiser, CachingDenoiser) else Replaying(denoiser, device)
