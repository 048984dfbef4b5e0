"""Autoregressive: p(x) = prod_i p(x_i | x_<i), exact.

The sequence begins after a beginning-of-sequence state, so that all L tokens are positions_to_read, as every
other family scores them (published AR baselines often skip the first).

Sampler: one token per network evaluation, keys and values cached, only the last position through the head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from isodiff.bounds import VocabularySize, Whole
from isodiff.cost.sampling import SamplingCost, shown_one_by_one
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, Sampler, SampleState, meta
from isodiff.families.endings import end_at_stop
from isodiff.families.read_positions import gather_read, positions_to_read, scatter_read
from isodiff.network.attention import Causal
from isodiff.network.view import Denoiser, View, caching
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens


@dataclass(frozen=True, kw_only=True)
class AutoregressiveSampler(Sampler):
    """One token per network evaluation.

    Attributes:
        stop: token that ends a text; None gives every text its full length.
    """

    examples: ClassVar = ({"stop": 3},)
    stop: Whole | None = None


@dataclass(frozen=True, kw_only=True)
class Autoregressive(
    Family,
    name="autoregressive",
    nickname="ar",
    reference="Radford et al., 2019 (GPT-2)",
    kind="exact",
):
    """Left to right, one token at a time."""

    shows = "BOS, x_1 .. x_{L-1}; causal"
    reads = "all L"
    sampler = AutoregressiveSampler
    variants: ClassVar = {"left to right": {}}
    bibtex = """@techreport{gpt2,
  title = {Language Models are Unsupervised Multitask Learners},
  author = {Radford, Alec and Wu, Jeffrey and Child, Rewon and Luan, David and Amodei, Dario and Sutskever, Ilya},
  institution = {OpenAI},
  year = {2019},
}
"""  # noqa: E501
    vocab_size: VocabularySize

    @property
    def num_states(self) -> int:
        """V + 1: the beginning-of-sequence state comes last."""
        return self.vocab_size + 1

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """One causal view; every position is a prediction."""
        return (View(meta(batch, length), meta(length), Causal()),)

    def view(self, x: Tokens) -> View:
        """[beginning, x_1 .. x_{L-1}] under causal attention: row i predicts x_i."""
        start = torch.full_like(x[:, :1], self.vocab_size)
        positions = torch.arange(x.shape[1], device=x.device)
        return View(torch.cat([start, x[:, :-1]], 1), positions, Causal())

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """-log p(x_i | x_<i) of every token that is not given."""
        read = positions_to_read(observed)
        nats = denoiser(replace(self.view(x), read=read)).nats(gather_read(x, read))
        return scatter_read(nats, read, x)

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """-log p(x), exactly; with a prefix given, that of the rest. Given tokens after it are padding.

        Raises:
            InputError: tokens are given between others.
        """
        if observed is not None and bool((_begins(~observed).sum(-1) > 1).any()):
            raise InputError(
                f"{self.name} reads left to right: nothing may be given between two tokens that "
                "are scored; infilling needs a masked or uniform family"
            )
        return Likelihood(self.loss(denoiser, x, rng=rng, observed=observed).sum(-1), "exact")

    def check_given(self, undecided: Chosen) -> None:
        """Only what comes before all that is undecided."""
        if bool((undecided[:, :-1] & ~undecided[:, 1:]).any()):
            raise InputError(
                f"{self.name} writes from left to right: nothing may be given after a blank; "
                "infilling needs a masked or uniform family"
            )

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """One position at a time."""
        return shown_one_by_one(length)

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: AutoregressiveSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """One token at a time after the prompt; a row ends with the token `stop`, which then fills it."""
        (batch, length), x, undecided = prompt.shape, prompt, prompt == UNDECIDED
        model = caching(denoiser, prompt.device)
        cache = model.cache(batch, length)
        running = torch.ones(batch, dtype=torch.bool, device=prompt.device)
        shown, u = 0, rng.uniform(length)
        for i in range(int((~undecided).sum(-1).min()), length):
            slots = torch.arange(shown, i + 1, device=prompt.device)
            last = torch.arange(1, batch + 1, device=prompt.device) * len(slots) - 1
            inputs = self.view(x[:, : i + 1]).inputs[:, shown:]
            view = View(inputs, slots, Causal(), read=last, slots=slots)
            drawn = model.cached(view, cache).draw(u[:, i], sampler)
            due = (x[:, i] == UNDECIDED) & running
            x = x.clone()
            x[:, i] = drawn.where(due, x[:, i])
            x, running = end_at_stop(x, undecided, running, sampler.stop)
            shown = i + 1
            yield SampleState(x, due)
            if not bool(running.any()):
                return


def _begins(chosen: Chosen) -> Chosen:
    """Where a run of chosen positions begins."""
    return chosen & ~torch.nn.functional.pad(chosen, (1, 0))[:, :-1]
