r"""Masked diffusion (MDLM, arXiv 2406.07524): tokens turn into masks, the network fills them in.

    q(z_t | x) = alpha_t x + (1 - alpha_t) mask
    NELBO = E_{k ~ U{1..L}} [ (L/k) sum_{i masked} -log p(x_i | z) ],   k masks, chosen uniformly

the mask-count form of MDLM's Eq. (10) (process/counts.py): it needs no noise schedule and no epsilon,
while published code integrates over t in [0.001, 1] and so reports 0.6 % too low a perplexity.
`objective` is what training minimizes; the reported bound is always the NELBO. `low_variance`: weight 1
instead of L/k (arXiv 2602.15014). `d3pm`: the bound of T = `d3pm_steps` steps (arXiv 2107.03006), which only
changes the weight of k masks (process/counts.py, Eq. 5), so that no term is 0/0 or left out; the mask has no
logit, so its terms vanish. `sedd`: score entropy (arXiv 2310.16834). With q = alpha / (1 - alpha), the scores
s_y = q exp(u_y) / V at a mask and Z = sum_y exp(u_y) / V, it is

    sigma' [ sum_y s_y - q log s_x + q (log q - 1) ] = -alpha' / (1 - alpha) [ -log p(x) + Z - 1 - log Z ],

the NELBO and a price for scores that do not add up to q; 0 for those that do.
The network is not shown the time: p(x_i | z) does not depend on it.

Samplers (docs/samplers.md). *Ancestral*, T steps: which step lifts which mask is drawn first, and a row
visits the network only at steps that lift something; only the masks lifted go through the head, and their
tokens are drawn from p(x_i | z) alone, so that small steps never multiply small probabilities. steps = None
is first-hitting sampling, one token per evaluation. *Other orders*: as many tokens in every step, from the
left or where the network is surest (families/confidence.py): laws of their own, without a bound; one
token at a time has a likelihood (docs/estimators.md). *block*: block after block from left to right. *remask*
(ReMDM, arXiv 2503.00307, capped): known tokens turn into masks again with probability
sigma = min(remask, (1 - alpha_s) / alpha_t), and masks are lifted with probability
(alpha_s - (1 - sigma) alpha_t) / (1 - alpha_t), which keeps every marginal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.bounds import Count, Fraction, VocabularySize
from isodiff.categorical import pick
from isodiff.cost.sampling import SamplingCost, expected_events, shown_whole
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SampleState, meta
from isodiff.families.confidence import Ordered, candidates, decide
from isodiff.families.read_positions import scatter_read
from isodiff.families.reveal_times import Event, num_events
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, Prediction, View, for_rows
from isodiff.process.categorical import Absorbing
from isodiff.process.counts import (
    by_count,
    draw_mask_counts,
    expected_masks,
    known_first,
    last,
    num_free,
    step_weights,
)
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens


@dataclass(frozen=True, kw_only=True)
class MaskedSampler(Ordered):
    """In which order masks are lifted, and how many at a time.

    Attributes:
        block: tokens per block, blocks from left to right, `steps` shared among them; None for one block.
        remask: largest probability with which a step masks a known token again; 0 never does.
    """

    examples: ClassVar = (
        *({"order": "margin"}, {"order": "entropy", "block": 4}, {"block": 5}),
        *({"remask": 0.3}, {"steps": None}),
    )
    block: Count | None = None
    remask: Fraction = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.remask and (self.steps is None or self.order != "random" or self.block):
            raise InputError("remask needs steps, the random order and no blocks")


Measure = Callable[[Prediction, Int[Tensor, " M"]], Float[Tensor, " M"]]


def score_entropy(prediction: Prediction, x: Int[Tensor, " M"]) -> Float[Tensor, " M"]:
    """-log p(x) + Z - 1 - log Z."""
    nats, log_z = prediction.nats_and_mass(x)
    return nats + torch.expm1(log_z) - log_z


@dataclass(frozen=True, kw_only=True)
class Masked(
    Family, name="masked", nickname="mdlm", reference="arXiv 2406.07524, 2602.15014", kind="bound"
):
    """What training minimizes; the reported bound is always the NELBO.

    Attributes:
        objective: the bound itself (nelbo), the same with weight 1 for every mask (low_variance), the bound
            of `d3pm_steps` steps (d3pm), or score entropy (sedd).
        d3pm_steps: T of the d3pm objective.
    """

    shows = "z with masks; full"
    reads = "the masks, (L+1)/2 on average"
    examples: ClassVar = {
        "d3pm": {"objective": "d3pm", "d3pm_steps": 4},
        "sedd": {"objective": "sedd"},
    }
    sampler = MaskedSampler
    variants: ClassVar = {"ancestral": {}, "confidence": {"order": "confidence"}}
    bibtex = arxiv(
        "2406.07524",
        "Simple and Effective Masked Diffusion Language Models",
        "Sahoo, Subham Sekhar and Arriola, Marianne and Schiff, Yair and Gokaslan, Aaron and "
        "Marroquin, Edgar and Chiu, Justin T. and Rush, Alexander and Kuleshov, Volodymyr",
    )
    vocab_size: VocabularySize
    objective: Literal["nelbo", "low_variance", "d3pm", "sedd"] = "low_variance"
    d3pm_steps: Count = 1000

    @property
    def process(self) -> Absorbing:
        """alpha_t = 1 - t."""
        return Absorbing(self.vocab_size)

    @property
    def num_states(self) -> int:
        """V + 1: the mask comes last."""
        return self.process.num_states

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """One view; on average (L + 1) / 2 masks of each sequence are predictions."""
        read = meta(round(batch * expected_masks(length)))
        return (View(meta(batch, length), meta(length), Full(), read=read),)

    def nats(
        self, denoiser: Denoiser, x: Tokens, masked: Chosen, measure: Measure = Prediction.nats
    ) -> Nats:
        """-log p(x_i | z) at the masked positions, 0 elsewhere. The head runs on masks only."""
        read = masked.flatten().nonzero().squeeze(-1)
        prediction = self._prediction(denoiser, x.masked_fill(masked, UNDECIDED), masked)
        return scatter_read(measure(prediction, x[masked]), read, x)

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """The objective at k masks."""
        length = x.shape[1]
        k, weight = draw_mask_counts(rng, length, observed=observed)
        measure = score_entropy if self.objective == "sedd" else Prediction.nats
        masked = last(known_first(rng.permutation(length), observed), k)
        nats = self.nats(denoiser, x, masked, measure)
        if self.objective == "d3pm":
            n = num_free(rng, length, observed)
            table = by_count(n, length, lambda size: step_weights(size, self.d3pm_steps))
            weight = n * pick(table, (k - 1).clamp_min(0))
        weight = weight[:, None].to(nats.dtype)
        return nats if self.objective == "low_variance" else weight * nats

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """(L/k) times the nats of k masks."""
        k, weight = draw_mask_counts(rng, x.shape[1], observed=observed)
        nats = self.nats(denoiser, x, last(known_first(rng.permutation(x.shape[1]), observed), k))
        return Likelihood(weight.to(nats.dtype) * nats.sum(-1), "bound")

    def block(self, length: int, device: torch.device) -> Int[Tensor, " L"]:
        """One block."""
        return torch.zeros(length, dtype=torch.long, device=device)

    def predict(self, denoiser: Denoiser, x: Tokens, masked: Chosen, read: Chosen) -> Prediction:
        """p(x_i | what is not masked) at the masked positions to read."""
        return self._prediction(denoiser, x.masked_fill(masked, UNDECIDED), read)

    def alphas(self, steps: int) -> Float[Tensor, " T1"]:
        """alpha at the ends of T ancestral steps, from 0 to 1."""
        times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        return self.process.alpha(self.process.grid(times))

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """All positions at each event; every token passes the head once."""
        return shown_whole(length, expected_events(steps, length), read=length)

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: MaskedSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """Lift the masks of `prompt`, event by event."""
        if sampler.remask:
            yield from self._remasking(denoiser, prompt, sampler, rng)
            return
        x, undecided = prompt, prompt == UNDECIDED
        block, event = self._events(prompt, sampler, rng)
        u = rng.uniform(x.shape[1])  # a position is drawn only when it is lifted
        for number in range(num_events(event, undecided)):
            due = event == number
            rows = due.any(-1)
            if sampler.by_sureness:  # it draws all that wait, and keeps what is surest
                u = rng.uniform(x.shape[1])
            waiting = candidates(x, due, block, sampler)
            prediction = self._prediction(for_rows(denoiser, rows), x[rows], waiting[rows])
            x = decide(prediction, x, waiting, due.sum(-1), sampler, u)
            yield SampleState(x, rows)

    def _events(self, prompt: Tokens, sampler: MaskedSampler, rng: Noise) -> tuple[Event, Event]:
        length, undecided = prompt.shape[1], prompt == UNDECIDED
        place = torch.arange(length, device=prompt.device)
        block = (place // (sampler.block or length)).expand(prompt.shape)
        count = -(-length // (sampler.block or length))
        steps = None if sampler.steps is None else max(1, sampler.steps // count)
        return block, sampler.events(block, undecided, steps, rng)

    def _prediction(self, denoiser: Denoiser, x: Tokens, wanted: Chosen) -> Prediction:
        positions = torch.arange(x.shape[1], device=x.device)
        z = x.masked_fill(x == UNDECIDED, self.process.mask)
        return denoiser(View(z, positions, Full(), read=wanted.flatten().nonzero().squeeze(-1)))

    def _remasking(
        self, denoiser: Denoiser, prompt: Tokens, sampler: MaskedSampler, rng: Noise
    ) -> Iterator[SampleState]:
        """T steps that lift masks and put some back; steps that lift nothing cost nothing."""
        assert sampler.steps is not None
        x, free = prompt, prompt == UNDECIDED
        for alpha_t, alpha_s in pairwise(self.alphas(sampler.steps).tolist()):
            sigma = min(sampler.remask, (1 - alpha_s) / alpha_t) if alpha_t else 0.0
            chance = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
            u = rng.uniform(x.shape[1])
            lift = (x == UNDECIDED) & (u < chance)
            back = (x != UNDECIDED) & free & (u < sigma)
            rows = lift.any(-1)
            token = rng.uniform(x.shape[1])  # drawn at every step, whoever else is there
            if bool(rows.any()):
                prediction = self._prediction(for_rows(denoiser, rows), x[rows], lift[rows])
                x = decide(prediction, x, lift, lift.sum(-1), sampler, token)
            x = x.masked_fill(back, UNDECIDED)
            if bool(rows.any()):
                yield SampleState(x, rows)
