r"""Interpolating between masked diffusion and left-to-right (Eso-LM, arXiv 2506.01928).

The diffusion lifts masks in random order until a fraction 1 - alpha_0 is left; those are then filled from
left to right. alpha_0 = 1 is masked diffusion, alpha_0 = 0 autoregressive (every position first a mask).

    NELBO = sum_k P(k_0 < k) C_k / k  +  E_{z_0} [ sum_{i masked in z_0} -log p(x_i | z_0, x_<i) ]

with k_0 ~ Binomial(L, 1 - alpha_0) masks left for the second phase, and C_k the mean nats of k masks
(process/counts.py, Eq. 3: the diffusion term of the paper's bound with its time integral done).

*One network for both phases.* Tokens are permuted: clean ones first, in the order in which they
appeared, masks last. Attention is causal in that order and rotary positions travel with the tokens.
The first phase reads the masks of [z]. The second reads the noisy half of [z_0 ; x] under
`TwoStream(1)`: each mask sees the true values of everything before it. That is variant B. In variant A
clean tokens see each other both ways; each new one changes them all, so only the second phase is cached.

*Two laws.* The bound's masks also see the masks before them in the order; the cached sampler is shown no mask
but those it decides. So the bound is that of another law, which shows all masks left, in random order, and
decides one of them at a time. The cached sampler (variant B, `steps: None`) has a likelihood for each order o
that it may take, and the second phase's view of all tokens in that order finds it in one pass:

    -log p(x) <= E [ -log (1/K) sum_k p(x | o_k) ],   which falls in K                                (1)

(the paper's any-order estimate, and importance weighting, arXiv 1509.00519). For evaluation only.

In training every second row takes the diffusion term, the rest the sequential term, each
normalized by its share of rows, so that the mean over the batch estimates the sum of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.bounds import Fraction, VocabularySize
from isodiff.cost.sampling import SamplingCost, expected_events, shown_twice
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SamplerLaw, SampleState, meta
from isodiff.families.interpolating_order import InterpolatingSampler, Order, reveal_schedule
from isodiff.families.reveal_times import event_sizes
from isodiff.network.attention import Attention, BidirectionalPrefix, Causal, TwoStream
from isodiff.network.view import Denoiser, Prediction, View, caching, for_rows
from isodiff.process import counts
from isodiff.process.categorical import Absorbing
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens


@dataclass(frozen=True, kw_only=True)
class Interpolating(
    Family,
    name="interpolating",
    nickname="esolm",
    reference="arXiv 2506.01928, 2602.15014",
    kind="bound",
):
    """Options: alpha_0, the variant of the attention, and the weight of the diffusion term in training.

    Attributes:
        alpha_0: share of the tokens decided by diffusion; the rest are filled in from left to right.
        variant: of the attention: causal everywhere (B), or both ways among clean tokens (A).
        objective: the bound itself (nelbo), or the same with weight 1 for every mask (low_variance).
    """

    shows = "z permuted, clean first; causal"
    reads = "the masks"
    examples: ClassVar = {
        "0.5": {"alpha_0": 0.5},
        "0": {"alpha_0": 0.0},
        "A": {"variant": "A"},
        "A-0.5": {"variant": "A", "alpha_0": 0.5, "objective": "nelbo"},
    }
    exact_at: ClassVar = {"alpha_0": 0.0}
    sampler = InterpolatingSampler
    variants: ClassVar = {"two phases": {}, **{o: {"order": o} for o in ("strided", "anchored")}}
    bibtex = arxiv(
        "2506.01928",
        "Esoteric Language Models",
        "Sahoo, Subham Sekhar and Yang, Zhihan and Akhauri, Yash and Liu, Johnna and Singh, Deepansha and "
        "Cheng, Zhoujun and Liu, Zhengzhong and Xing, Eric and Thickstun, John and Vahdat, Arash",
    )
    vocab_size: VocabularySize
    alpha_0: Fraction = 1.0
    variant: Literal["A", "B"] = "B"
    objective: Literal["nelbo", "low_variance"] = "low_variance"

    @property
    def process(self) -> Absorbing:
        """The masks of the first phase."""
        return Absorbing(self.vocab_size)

    @property
    def num_states(self) -> int:
        """V + 1: the mask comes last."""
        return self.process.num_states

    def _diffused_rows(self, batch: int) -> int:
        """How many of `batch` rows train the diffusion term."""
        if self.alpha_0 in (0, 1):
            return round(batch * self.alpha_0)
        if batch < 2:
            raise InputError(
                "0 < alpha_0 < 1 needs at least 2 sequences per step, one for each phase"
            )
        return batch // 2

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """A view of each phase that has rows."""
        diffused = self._diffused_rows(batch)
        sequential, kept, views = batch - diffused, 1 - self.alpha_0, []
        masks = diffused * counts.expected_masks(length, kept), sequential * length * kept
        first = diffused, length, masks[0], Causal(), counts.visited(length, kept)
        second = sequential, 2 * length, masks[1], TwoStream(1), counts.binomial(length, kept)
        for rows, n, read, base, chance in (first, second):
            if rows:
                pattern = self.pattern(base, counts.typical_clean(chance).expand(rows))
                shown = meta(rows, n)
                views.append(View(shown, shown, pattern, read=meta(round(read))))
        return tuple(views)

    def pattern(self, base: Causal | TwoStream, clean: Int[Tensor, " B"]) -> Attention:
        """Who sees whom, where each sequence begins with so many clean tokens."""
        return base if self.variant == "B" else BidirectionalPrefix(base, tuple(clean.tolist()))

    def phase_nats(
        self, denoiser: Denoiser, x: Tokens, order: Order, k: Int[Tensor, " B"], *, first: bool
    ) -> Nats:
        """-log p(x_i | z) of the last k in `order`; in the second phase given the true tokens before each."""
        length = x.shape[1]
        masked = torch.arange(length, device=x.device) >= (length - k)[:, None]
        clean = x.gather(1, order)
        z = clean.masked_fill(masked, self.process.mask)
        if first:
            view = View(z, order, self.pattern(Causal(), length - k))
        else:
            pattern = self.pattern(TwoStream(1), length - k)
            view = View(torch.cat([z, clean], 1), torch.cat([order, order], 1), pattern)
        row, column = masked.nonzero(as_tuple=True)
        place = order[row, column]  # where the masks among the first L positions shown belong
        view = replace(view, read=row * view.inputs.shape[1] + column)
        nats = denoiser(view).nats(x[row, place])
        return nats.new_zeros(x.shape).index_put((row, place), nats)

    def _phases(
        self, rng: Rows, length: int, observed: Chosen | None
    ) -> Iterator[tuple[bool, Int[Tensor, " B"], Order, Float[Tensor, " B"]]]:
        """Of each phase that there is: whether it is the first, its masks, their order and their weight."""
        if self.alpha_0 > 0:
            k, weight = counts.draw_mask_counts(rng, length, 1 - self.alpha_0, observed)
            yield True, k, counts.known_first(rng.permutation(length), observed), weight
        if self.alpha_0 < 1:  # k_0 masks are left by the first
            k = counts.leftover_counts(rng, length, 1 - self.alpha_0, observed)
            order = counts.known_first(rng.permutation(length), observed)
            order = counts.tail_left_to_right(order, k)
            yield False, k, order, torch.ones(len(rng), dtype=torch.float64, device=rng.device)

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """Both terms, each on its rows, scaled so that the mean over the batch is their sum."""
        num, total, row = self._diffused_rows(rng.total), rng.total, rng.index.to(x.device)
        # Spread evenly, so that the strata of either phase cover [0, 1).
        diffused = (row + 1) * num // total > row * num // total
        out = x.new_zeros(x.shape, dtype=torch.get_default_dtype())
        for first, k, order, weight in self._phases(rng, x.shape[1], observed):
            rows, share = (diffused, num / total) if first else (~diffused, 1 - num / total)
            some = for_rows(denoiser, rows)
            nats = self.phase_nats(some, x[rows], order[rows], k[rows], first=first)
            if self.objective == "nelbo":
                nats = nats * weight[rows, None].to(nats.dtype)
            out = out.index_put((rows,), nats / share)
        return out

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """Both terms."""
        total = x.new_zeros(len(x), dtype=torch.get_default_dtype())
        for first, k, order, weight in self._phases(rng, x.shape[1], observed):
            nats = self.phase_nats(denoiser, x, order, k, first=first)
            total = total + weight.to(nats.dtype) * nats.sum(-1)
        return Likelihood(total, self.kind)

    @property
    def law(self) -> str:
        """Not that of the cached sampler, unless there is no first phase."""
        return "of the law that shows all masks left" if self.alpha_0 else ""

    @property
    def cached_sampler(self) -> SamplerLaw | None:
        """In variant A an order takes a pass for each token of the first phase: not offered."""
        if self.variant == "A" and self.alpha_0:
            return None
        law = "of the cached sampler (steps: None)"
        return SamplerLaw(nelbo=self._in_random_order, law=law, kind=self.kind)

    def _in_random_order(
        self, denoiser: Denoiser, x: Tokens, *, rng: Noise, observed: Chosen | None = None
    ) -> Likelihood:
        """-log p(x | order), in an order as the cached sampler draws it: Eq. (1) with K = 1."""
        shown = torch.zeros_like(x, dtype=torch.bool) if observed is None else observed
        prompt, sampler = x.masked_fill(~shown, UNDECIDED), InterpolatingSampler(steps=None)
        order, _, _ = reveal_schedule(prompt, sampler, self.alpha_0, rng)
        nats = self.phase_nats(denoiser, x, order, (~shown).sum(-1), first=False)
        return Likelihood(nats.sum(-1), self.kind)

    def sampling_cost(self, length: int, steps: int) -> SamplingCost | None:
        """Each token twice; variant A, whose first phase is not cached, is not counted."""
        events = expected_events(steps, length, self.alpha_0)
        return None if self.variant == "A" else shown_twice(length, events, self.alpha_0)

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: InterpolatingSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """The first phase down to the leftover masks, then one token at a time.

        A cached network evaluation is shown the tokens decided last time and the masks to decide now, nothing
        else; in the first phase of variant A it is shown all that is known.
        """
        x, undecided, u = prompt, prompt == UNDECIDED, rng.uniform(prompt.shape[1])
        order, event, later = reveal_schedule(prompt, sampler, self.alpha_0, rng)
        shown, done = torch.zeros_like(x[:, 0]), (~undecided).sum(-1)
        if self.variant == "A":
            for count in event_sizes(event, undecided & ~later).unbind(-1):
                slots = shown, done, done + count
                x = self._draw(denoiser, self.pattern(Causal(), done), x, order, slots, u, sampler)
                done = done + count
                yield SampleState(x, count > 0)
            undecided = later
        model = caching(denoiser, prompt.device)
        show = partial(model.cached, cache=model.cache(*prompt.shape))
        pattern = self.pattern(Causal(), done)
        for count in event_sizes(event, undecided).unbind(-1):
            x = self._draw(show, pattern, x, order, (shown, done, done + count), u, sampler)
            shown, done = done, done + count
            yield SampleState(x, count > 0)

    def _draw(
        self,
        show: Callable[[View], Prediction],
        pattern: Attention,
        x: Tokens,
        order: Order,
        slots: tuple[Int[Tensor, " B"], Int[Tensor, " B"], Int[Tensor, " B"]],
        u: Float[Tensor, "B L"],
        sampler: InterpolatingSampler,
    ) -> Tokens:
        """x with the tokens of slots done .. end - 1 drawn, where slots shown .. end - 1 are shown."""
        shown, done, end = (slot[:, None] for slot in slots)
        rank = torch.arange(int((end - shown).max()), device=x.device)
        # Rows with less to show repeat their last entry, which changes nothing.
        slot = torch.minimum(shown + rank, (end - 1).clamp_min(0))
        place = order.gather(1, slot)
        now = (slot >= done) & (rank < end - shown)
        states = x.gather(1, place)
        states = states.where(states != UNDECIDED, self.process.mask)
        read = now.flatten().nonzero().squeeze(-1)
        prediction = show(View(states, place, pattern, read=read, slots=slot))
        row, column = now.nonzero(as_tuple=True)
        place = place[row, column]
        return x.index_put((row, place), prediction.draw(u[row, place], sampler))
