"""Texts that a network is asked about, in batches whose composition never matters, and what that costs.

A *job* is one look at one text: which tokens are hidden, or which noise is met. Estimators make lists of
jobs; they are shown to the network `batch_size` at a time. What a job finds depends on its text and its key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.errors import InputError
from isodiff.families.base import AnyOrder, Family
from isodiff.network.view import Denoiser, Latent, Prediction, View
from isodiff.record import Kind
from isodiff.rng import Key, Placed, Rows, stream
from isodiff.types import Chosen, Nats, Tokens

Jobs = Int[Tensor, " J"]


@dataclass(frozen=True, slots=True)
class Found:
    """Nats of each text with their standard errors, what they are, and how they were found."""

    nats: Float[Tensor, " B"]
    se: Float[Tensor, " B"]
    kind: Kind
    protocol: str


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


class Counting:
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
class Inquiry:
    """Texts with tokens to score.

    Attributes:
        target: the tokens to score; the others are given.
        keys: of each text's random numbers.
        cost: network evaluations spent on each text so far.
    """

    family: Family
    network: Counting
    x: Tokens
    target: Chosen
    keys: Sequence[Key]
    seed: int
    batch_size: int
    cost: Float[Tensor, " B"] = field(init=False)

    def __post_init__(self) -> None:
        self.cost = torch.zeros(len(self.x), dtype=torch.float64)

    def ask(self, rows: Jobs, question: Callable[[Jobs], Tensor]) -> Tensor:
        """The answers to all jobs, in float64; job j is about text rows[j]."""
        answers = []
        with torch.no_grad():
            for jobs in torch.arange(len(rows)).split(self.batch_size):
                before = self.network.shown
                answers.append(question(jobs).double().cpu())
                share = (self.network.shown - before) / len(jobs)
                self.cost.index_add_(0, rows[jobs], torch.full((len(jobs),), share).double())
        return torch.cat(answers)

    def denoiser(self, rows: Jobs) -> Denoiser:
        """The network, for looks at these texts."""
        return self.network

    def noise(self, keys: Sequence[Key], places: Float[Tensor, " J"], rows: Jobs) -> Rows:
        """The numbers of looks at these texts."""
        return Placed(self.seed, keys, places, device=self.x.device)

    def nats(self, rows: Jobs, hidden: Bool[Tensor, "J L"], read: Bool[Tensor, "J L"]) -> Nats:
        """-log p(x_i | what is not hidden) at the positions read, 0 elsewhere."""
        family, device = self.family, self.x.device
        assert isinstance(family, AnyOrder)

        def question(jobs: Jobs) -> Nats:
            x, masked, want = self.x[rows[jobs]], hidden[jobs].to(device), read[jobs].to(device)
            found = family.predict(self.denoiser(rows[jobs]), x, masked, want).nats(x[want])
            return found.new_zeros(x.shape).masked_scatter(want, found)

        return self.ask(rows, question)

    def nelbo(self, rows: Jobs, keys: Sequence[Key], places: Float[Tensor, " J"]) -> Tensor:
        """The integrand of the family's bound at the places given."""
        observed = None if bool(self.target.all()) else ~self.target

        def question(jobs: Jobs) -> Tensor:
            which = rows[jobs]
            rng = self.noise([keys[j] for j in jobs.tolist()], places[jobs], which)
            known = None if observed is None else observed[which]
            denoiser = self.denoiser(which)
            return self.family.nelbo(denoiser, self.x[which], rng=rng, observed=known).nats

        return self.ask(rows, question)

    def uniform(self, row: int, *purpose: str | int, num: int) -> Float[Tensor, " {num}"]:
        """Numbers in [0, 1) that depend on the text's key and the purpose."""
        generator = stream(self.seed, "estimator", *self.keys[row], *purpose)
        return torch.rand(num, generator=generator, dtype=torch.float64)
