"""Queries to a network about texts, in batches whose composition never matters, and what they cost.

A query is one network evaluation of one text: some tokens are hidden, or all are noised. Estimators make
lists of queries, each given by the row of its text; the network gets `batch_size` at a time. The answer to a
query depends on its text and its key alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.errors import InputError
from isodiff.families.base import AnyOrder, Bound, Family
from isodiff.network.view import Denoiser, Latent, Prediction, View
from isodiff.record import Kind
from isodiff.rng import Key, Placed, Rows, stream
from isodiff.types import Chosen, Nats, Tokens

TextRows = Int[Tensor, " Q"]
"""The row of each query's text."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Nats of each text with their standard errors, what they are, and how they were found."""

    nats: Float[Tensor, " B"]
    se: Float[Tensor, " B"]
    kind: Kind
    protocol: str

    @classmethod
    def exact(cls, nats: Float[Tensor, " B"], protocol: str, kind: Kind = "exact") -> Estimate:
        """Without noise."""
        return cls(nats, torch.zeros_like(nats), kind, protocol)


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop.

    Attributes:
        target_se: standard error in nats, per text.
        budget: network evaluations of each text, at most.
    """

    target_se: float | None
    budget: int | None

    def go_on(
        self,
        se: Float[Tensor, " A"],
        cost: Float[Tensor, " A"],
        more: Float[Tensor, " A"],
        done: int,
        *,
        usual: int,
    ) -> Bool[Tensor, " A"]:
        """The texts that want, and can pay, another round of `more` evaluations after `done` rounds.

        Without limits there are `usual` rounds. A standard error counts as reached after two.
        """
        if self.budget is None and self.target_se is None:
            return torch.full_like(se, done < usual, dtype=torch.bool)
        wants = torch.ones_like(se, dtype=torch.bool)
        if self.target_se is not None and done > 1:
            wants = se > self.target_se
        return wants if self.budget is None else wants & (cost + more <= self.budget)

    def check(self, least: float) -> None:
        """`InputError` if no error bar can be had for the budget."""
        if self.budget is not None and least > self.budget:
            raise InputError(
                f"a budget of {self.budget} network evaluations per text is too small for an error bar; "
                f"this method needs {math.ceil(least)}"
            )


class CountingDenoiser:
    """A denoiser that counts the texts it is shown."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser, self.shown = denoiser, 0

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.denoiser.vocab_size

    @property
    def latent(self) -> Latent | None:
        """The denoiser's own, if it has one."""
        return getattr(self.denoiser, "latent", None)

    def __call__(self, view: View) -> Prediction:
        """The denoiser's own answer."""
        self.shown += len(view.inputs)
        return self.denoiser(view)


@dataclass
class Queries:
    """Texts with tokens to score, and the network that is queried about them.

    Attributes:
        target: the tokens to score; the others are given.
        keys: of each text's random numbers.
        cost: network evaluations spent on each text so far.
    """

    family: Family
    network: CountingDenoiser
    x: Tokens
    target: Chosen
    keys: Sequence[Key]
    seed: int
    batch_size: int
    cost: Float[Tensor, " B"] = field(init=False)

    def __post_init__(self) -> None:
        self.cost = torch.zeros(len(self.x), dtype=torch.float64)

    @property
    def all_rows(self) -> TextRows:
        """A query for every text."""
        return torch.arange(len(self.x))

    def run(self, rows: TextRows, answer: Callable[[TextRows], Tensor]) -> Tensor:
        """The answers to all queries, in float64; `answer` gets the numbers of some of them."""
        answers = []
        with torch.no_grad():
            for batch in torch.arange(len(rows)).split(self.batch_size):
                before = self.network.shown
                answers.append(answer(batch).double().cpu())
                share = (self.network.shown - before) / len(batch)
                self.cost.index_add_(0, rows[batch], torch.full((len(batch),), share).double())
        return torch.cat(answers)

    def denoiser(self, rows: TextRows) -> Denoiser:
        """The network, for queries about these texts."""
        return self.network

    def noise(self, keys: Sequence[Key], levels: Float[Tensor, " Q"], rows: TextRows) -> Rows:
        """The random numbers of queries about these texts, at these noise levels in [0, 1)."""
        return Placed(self.seed, keys, levels, device=self.x.device)

    def nats(self, rows: TextRows, hidden: Bool[Tensor, "Q L"], read: Bool[Tensor, "Q L"]) -> Nats:
        """-log p(x_i | what is not hidden) at the positions read, 0 elsewhere."""
        family, device = self.family, self.x.device
        assert isinstance(family, AnyOrder)

        def answer(batch: TextRows) -> Nats:
            x, masked, want = self.x[rows[batch]], hidden[batch].to(device), read[batch].to(device)
            nats = family.predict(self.denoiser(rows[batch]), x, masked, want).nats(x[want])
            return nats.new_zeros(x.shape).masked_scatter(want, nats)

        return self.run(rows, answer)

    def nelbo(self, rows: TextRows, keys: Sequence[Key], levels: Float[Tensor, " Q"]) -> Tensor:
        """The integrand of the family's bound at these noise levels."""
        return self.bound(self.family.nelbo, rows, keys, levels)

    def bound(
        self, bound: Bound, rows: TextRows, keys: Sequence[Key], levels: Float[Tensor, " Q"]
    ) -> Tensor:
        """Draws of a bound at these noise levels."""
        observed = None if bool(self.target.all()) else ~self.target

        def answer(batch: TextRows) -> Tensor:
            some = rows[batch]
            rng = self.noise([keys[q] for q in batch.tolist()], levels[batch], some)
            known = None if observed is None else observed[some]
            return bound(self.denoiser(some), self.x[some], rng=rng, observed=known).nats

        return self.run(rows, answer)

    def uniform(self, row: int, *purpose: str | int, num: int) -> Float[Tensor, " {num}"]:
        """Numbers in [0, 1) that depend on the text's key and the purpose."""
        generator = stream(self.seed, "estimator", *self.keys[row], *purpose)
        return torch.rand(num, generator=generator, dtype=torch.float64)
