r"""Interpolating between masked diffusion and left-to-right (Eso-LM, variant B, arXiv 2506.01928).

The diffusion lifts masks in random order until a fraction 1 - alpha_0 is left; those are then filled
from left to right. alpha_0 = 1 is masked diffusion, alpha_0 = 0 is autoregressive (with every position
first a mask).

    NELBO = sum_k P(k_0 < k) C_k / k  +  E_{z_0} [ sum_{i masked in z_0} -log p(x_i | z_0, x_<i) ]

with k_0 ~ Binomial(L, 1 - alpha_0) masks left for the second phase, and C_k the mean nats of k masks
(process/counts.py, Eq. 3: the diffusion term of the paper's bound with its time integral done).

*One causal network for both phases.* Tokens are permuted: clean ones first, in the order in which
they appeared, masks last. Attention is causal in that order and rotary positions travel with the
tokens. The first phase reads the masks of [z]. The second reads the noisy half of [z_0 ; x] under
`TwoStream(1)`: each mask sees the true values of everything before it.

In training every second row takes the diffusion term, the rest the sequential term, each
normalised by its share of rows, so that the mean over the batch estimates the sum of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from isodiff.categorical import draw
from isodiff.errors import InputError
from isodiff.families.base import HOLE, Canvas, Family, Likelihood, Stepped, meta
from isodiff.families.unmasking import dense_rank, num_events, steps_drawn
from isodiff.network.attention import Causal, TwoStream
from isodiff.network.view import Denoiser, View, caching
from isodiff.process.categorical import Absorbing
from isodiff.process.counts import binomial, expected_masks, mask_counts
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens

Order = Int[Tensor, "B L"]


@dataclass(frozen=True, kw_only=True)
class TwoPhase(Stepped):
    """How much is decided in parallel.

    Attributes:
        steps: T of the first phase; None decides one token per evaluation there too.
        alpha_0: share of the tokens that the first phase decides; None for that of training.
    """

    alpha_0: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha_0 is not None and not 0 <= self.alpha_0 <= 1:
            raise InputError(f"alpha_0 must lie in [0, 1], got {self.alpha_0}")


@dataclass(frozen=True, kw_only=True)
class Interpolating(
    Family,
    name="interpolating",
    nickname="esolm",
    reference="arXiv 2506.01928, 2602.15014",
    kind="bound",
):
    """Options: alpha_0, and the weight of the diffusion term in training."""

    sampler = TwoPhase
    variants: ClassVar = {"two phases": {}}
    vocab_size: int
    alpha_0: float = 1.0
    objective: Literal["nelbo", "low_variance"] = "low_variance"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha_0 <= 1:
            raise InputError(f"alpha_0 must lie in [0, 1], got {self.alpha_0}")

    @property
    def process(self) -> Absorbing:
        """The masks of the first phase."""
        return Absorbing(self.vocab_size)

    @property
    def num_states(self) -> int:
        """V + 1: the mask comes last."""
        return self.process.num_states

    def diffused_rows(self, batch: int) -> int:
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
        diffused = self.diffused_rows(batch)
        sequential = batch - diffused
        kept = 1 - self.alpha_0
        views = []
        if diffused:
            read = meta(round(diffused * expected_masks(length, kept)))
            shown = meta(diffused, length)
            views.append(View(shown, shown, Causal(), read=read))
        if sequential:
            read = meta(round(sequential * length * kept))
            shown = meta(sequential, 2 * length)
            views.append(View(shown, shown, TwoStream(1), read=read))
        return tuple(views)

    def diffusion_nats(
        self, denoiser: Denoiser, x: Tokens, order: Order, k: Int[Tensor, " B"]
    ) -> Nats:
        """-log p(x_i | z) of the last k tokens in `order`, 0 elsewhere."""
        length = x.shape[1]
        masked = torch.arange(length, device=x.device) >= (length - k)[:, None]
        z = x.gather(1, order).masked_fill(masked, self.process.mask)
        return self.read(denoiser, View(z, order, Causal()), x, order, masked)

    def sequential_nats(
        self, denoiser: Denoiser, x: Tokens, order: Order, k: Int[Tensor, " B"]
    ) -> Nats:
        """-log p(x_i | z_0, x_<i) of the last k tokens in `order`, taken from left to right."""
        order = left_to_right(order, k)
        length = x.shape[1]
        masked = torch.arange(length, device=x.device) >= (length - k)[:, None]
        clean = x.gather(1, order)
        z = clean.masked_fill(masked, self.process.mask)
        view = View(torch.cat([z, clean], 1), torch.cat([order, order], 1), TwoStream(1))
        return self.read(denoiser, view, x, order, masked)

    def read(self, denoiser: Denoiser, view: View, x: Tokens, order: Order, masked: Chosen) -> Nats:
        """Nats at the masks among the first L positions shown, put back where the tokens belong."""
        row, column = masked.nonzero(as_tuple=True)
        place = order[row, column]
        read = row * view.inputs.shape[1] + column
        view = View(view.inputs, view.positions, view.attention, read=read)
        nats = denoiser(view).nats(x[row, place])
        return nats.new_zeros(x.shape).index_put((row, place), nats)

    def leftover(self, rng: Rows, length: int) -> Int[Tensor, " B"]:
        """k_0: masks that the diffusion leaves to the second phase."""
        chance = binomial(length, 1 - self.alpha_0, rng.device)
        return draw(chance.expand(len(rng), length + 1), rng.strata())

    def loss(self, denoiser: Denoiser, x: Tokens, *, rng: Rows) -> Nats:
        """Both terms, each on its rows, scaled so that the mean over the batch is their sum."""
        length = x.shape[1]
        kept = 1 - self.alpha_0
        num, total, row = self.diffused_rows(rng.total), rng.total, rng.index.to(x.device)
        share = num / total
        # Spread evenly, so that the strata of either phase cover [0, 1).
        diffused = (row + 1) * num // total > row * num // total
        out = x.new_zeros(x.shape, dtype=torch.get_default_dtype())
        if share > 0:
            k, weight = mask_counts(rng, length, kept)
            order = rng.permutation(length)
            nats = self.diffusion_nats(denoiser, x[diffused], order[diffused], k[diffused])
            if self.objective == "nelbo":
                nats = nats * weight[diffused, None].to(nats.dtype)
            out = out.index_put((diffused,), nats / share)
        if share < 1:
            k = self.leftover(rng, length)
            order = rng.permutation(length)
            nats = self.sequential_nats(denoiser, x[~diffused], order[~diffused], k[~diffused])
            out = out.index_put((~diffused,), nats / (1 - share))
        return out

    def nelbo(self, denoiser: Denoiser, x: Tokens, *, rng: Rows) -> Likelihood:
        """Both terms on every row."""
        length = x.shape[1]
        total = x.new_zeros(len(x), dtype=torch.get_default_dtype())
        if self.alpha_0 > 0:
            k, weight = mask_counts(rng, length, 1 - self.alpha_0)
            nats = self.diffusion_nats(denoiser, x, rng.permutation(length), k)
            total = total + weight.to(nats.dtype) * nats.sum(-1)
        if self.alpha_0 < 1:
            k = self.leftover(rng, length)
            nats = self.sequential_nats(denoiser, x, rng.permutation(length), k)
            total = total + nats.sum(-1)
        return Likelihood(total, "bound")

    def walk(
        self, denoiser: Denoiser, prompt: Tokens, sampler: TwoPhase, *, rng: Noise
    ) -> Iterator[Canvas]:
        """T ancestral steps down to the leftover masks, then one token at a time, all of it cached.

        A network evaluation is shown the tokens decided last time and the masks to decide now, nothing else.
        """
        (batch, length), x = prompt.shape, prompt
        order, counts, done = self.schedule(prompt, sampler, rng)
        model = caching(denoiser, prompt.device)
        cache = model.cache(batch, length)
        shown = torch.zeros_like(done)
        rank = torch.arange(length, device=x.device)
        for count in counts.unbind(-1):
            u = rng.uniform(length)
            end = done + count
            width = int((end - shown).max())
            # Rows with less to show repeat their last entry, which changes nothing.
            slots = torch.minimum(shown[:, None] + rank[:width], (end - 1).clamp_min(0)[:, None])
            place = order.gather(1, slots)
            now = (slots >= done[:, None]) & (rank[:width] < (end - shown)[:, None])
            states = x.gather(1, place)
            states = states.masked_fill(states == HOLE, self.process.mask)
            read = now.flatten().nonzero().squeeze(-1)
            view = View(states, place, Causal(), read=read, slots=slots)
            row, column = now.nonzero(as_tuple=True)
            drawn = model.cached(view, cache).draw(u.gather(1, slots)[row, column], sampler)
            x = x.index_put((row, place[row, column]), drawn)
            shown, done = done, end
            yield Canvas(x, count > 0)

    def schedule(
        self, prompt: Tokens, sampler: TwoPhase, rng: Noise
    ) -> tuple[Order, Int[Tensor, "B E"], Int[Tensor, " B"]]:
        """The order of the tokens, how many each event decides, and how many the prompt gives."""
        length, holes = prompt.shape[1], prompt == HOLE
        alpha_0 = self.alpha_0 if sampler.alpha_0 is None else sampler.alpha_0
        if sampler.steps is None:
            steps, later = length, rng.uniform(length) >= alpha_0
            event = steps_drawn(holes, None, rng).masked_fill(later, steps)
        else:
            steps = sampler.steps
            alphas = torch.linspace(0, alpha_0, steps + 1, dtype=torch.float64)
            event = steps_drawn(holes, alphas, rng)
        left = holes & (event >= steps)
        place = torch.arange(length, device=prompt.device)
        # Prompt first, then the first phase in random order within a step, then from left to right.
        shuffled = rng.permutation(length).argsort(-1)
        key = event * length + torch.where(left, place, shuffled)
        order = torch.where(holes, key + length, place).argsort(-1)
        group = dense_rank(torch.where(left, steps + place, event), holes)
        counts = torch.zeros(len(prompt), length + 1, dtype=torch.long, device=prompt.device)
        counts = counts.scatter_add(1, group, holes.long())[:, : num_events(group, holes)]
        return order, counts, (~holes).sum(-1)


def left_to_right(order: Order, k: Int[Tensor, " B"]) -> Order:
    """`order` with its last k items sorted by position."""
    length = order.shape[1]
    tail = torch.arange(length, device=order.device) >= (length - k)[:, None]
    rank = torch.arange(length, device=order.device).expand_as(order)
    key = torch.where(tail, length + order, rank)
    return order.gather(1, key.argsort(-1))
