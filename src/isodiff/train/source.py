"""What a run learns from: batches that are pure functions of (seed, step), and what is held out to look at.

A source is either the windows of a corpus or the examples of a task (examples.py). Nothing else in the
training loop knows which.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.data.tokens import Corpus, batch, epochs
from isodiff.data.tokens import Tokens as TokenStream
from isodiff.errors import InputError
from isodiff.families import Family
from isodiff.network.padding import Padded
from isodiff.network.view import Denoiser
from isodiff.record import HeldOutLoss
from isodiff.rng import Rows, stream
from isodiff.runs.spec import RunSpec
from isodiff.runs.validation import Over, evaluate, one_by_one
from isodiff.types import Chosen, Nats, Tokens


class Batch(NamedTuple):
    """Some rows of a step's global batch; what is given in them; and how long each is, where they differ."""

    x: Tokens
    observed: Chosen | None = None
    lengths: Int[Tensor, " B"] | None = None

    def denoiser(self, network: Denoiser) -> Denoiser:
        """The network, blind to padding."""
        return network if self.lengths is None else Padded(network, self.lengths)

    def loss(self, family: Family, network: Denoiser, rng: Rows) -> Nats:
        """The family's."""
        return family.loss(self.denoiser(network), self.x, rng=rng, observed=self.observed)

    def adapt(self, family: Family, network: Denoiser, rng: Rows) -> tuple[Family, dict[str, Any]]:
        """The family with options that suit these rows."""
        return family.adapt(self.denoiser(network), self.x, rng=rng, observed=self.observed)


class Source(Protocol):
    """Where batches come from."""

    @property
    def task(self) -> dict[str, Any] | None:
        """What a spec says of it; None for the spec's corpus."""
        ...

    @property
    def scored(self) -> int:
        """Tokens of a row that are scored: the loss is a mean over them."""
        ...

    def batch(self, step: int, rows: range, device: torch.device) -> Batch:
        """Rows of the global batch of a step."""
        ...

    def epochs(self, step: int) -> float:
        """How often everything has been seen after so many steps."""
        ...

    def evaluate(
        self,
        family: Family,
        network: Denoiser,
        num: int,
        draws: int,
        noise_error: float | None,
        device: torch.device,
        over: Over = one_by_one,
    ) -> HeldOutLoss:
        """The family's likelihood of at most `num` of the texts held out (`validation.evaluate`)."""
        ...


@dataclass(frozen=True)
class Windows:
    """A corpus in windows of the spec's length."""

    spec: RunSpec
    corpus: Corpus

    def __post_init__(self) -> None:
        if self.spec.recipe.labels_given is not None and len(self.corpus.labels) < 2:
            raise InputError(
                f"{self.corpus.folder} has no labels to give: its documents do not begin with tokens of "
                "their own; leave out labels_given, or prepare documents that begin with their labels"
            )

    @property
    def task(self) -> None:
        """None."""
        return None

    @property
    def scored(self) -> int:
        """All tokens."""
        return self.spec.length

    @cached_property
    def tokens(self) -> TokenStream:
        """The training split."""
        return self.corpus.split("train")

    def batch(self, step: int, rows: range, device: torch.device) -> Batch:
        """Windows of the training split."""
        ids = batch(
            self.tokens,
            length=self.spec.length,
            batch_size=self.spec.recipe.batch_size,
            step=step,
            seed=self.spec.seed,
            rows=slice(rows.start, rows.stop),
        )
        return Batch(torch.from_numpy(ids).to(device), self.given(ids, step, rows, device))

    def given(self, ids: np.ndarray, step: int, rows: range, device: torch.device) -> Chosen | None:
        """The labels of some windows (classifier-free guidance, arXiv 2207.12598: the others drop them)."""
        share = self.spec.recipe.labels_given
        if share is None:
            return None
        u = torch.rand(
            self.spec.recipe.batch_size, generator=stream(self.spec.seed, "labels", step)
        )
        labels = torch.from_numpy(np.isin(ids, self.corpus.labels))
        return (labels & (u[rows.start : rows.stop, None] < share)).to(device)

    def epochs(self, step: int) -> float:
        """Of the training split."""
        size = self.spec.recipe.batch_size
        return epochs(self.tokens, length=self.spec.length, batch_size=size, step=step)

    def evaluate(
        self,
        family: Family,
        network: Denoiser,
        num: int,
        draws: int,
        noise_error: float | None,
        device: torch.device,
        over: Over = one_by_one,
    ) -> HeldOutLoss:
        """On windows of the validation split."""
        return evaluate(
            family,
            network,
            self.corpus.split("validation"),
            length=self.spec.length,
            windows=num,
            draws=draws,
            noise_error=noise_error,
            device=device,
            over=over,
        )
