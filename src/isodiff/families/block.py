r"""Block diffusion (BD3-LM, arXiv 2503.09573): autoregressive over blocks, masked diffusion inside each.

    log p(x) = sum_b log p(x^b | x^{<b})
    NELBO = sum_b E_{k_b ~ U{1..K_b}} [ (K_b/k_b) sum_{i masked in block b} -log p(x_i | z^b, x^{<b}) ],

the paper's bound with the time integral of every block done (process/counts.py, Eq. 2): k_b of the K_b
tokens of block b are masks, chosen uniformly. Blocks have `block_size` tokens, the last one what is left. A
single block is masked diffusion; blocks of one token have the autoregressive likelihood, token by token.

*One pass for all blocks.* [z ; x]: the noisy copy under `TwoStream`, where a block sees itself and the
clean blocks before it; both copies of a token share a rotary position. The head runs on the masks. The
clean copy of the last block, at which nobody looks, is not shown.

*Clipped noise.* Training draws mask probabilities from U[low, high], so that its gradient varies less. With
the integral done, those are k masks of K tokens with probability

    q_k = P(low < M_k <= high) / (K (high - low)),   M_k the k-th smallest of K uniform numbers,      (1)

and the weight K/k as before (process/counts.py, Eq. 6). The bound reported always has low = 0 and high = 1.
With `adapt_every`, training takes, every so many optimizer steps, the range of `RANGES` whose loss per
block has the least variance, as the paper does. One pass serves all ranges: counts are uniform, weighted by
K q_k.

Departs from published code: noise levels of a batch are dealt out at random over sequences and blocks
(there, the blocks of a sequence share a stratum); no weight turns into 1 for low > 0.5, and no block
is drawn again for its share of masks. `objective="low_variance"` is that of the masked family.

Samplers (docs/samplers.md). Block after block, each in T ancestral steps or one token per evaluation (first
hitting), or in another order of its masks (families/confidence.py). Keys and values of what is decided are
cached; a block is shown again until it is complete, and its final tokens enter the cache together with the
next block's masks: storing costs no evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.bounds import Count, Fraction, NonNegative, VocabularySize, Whole
from isodiff.categorical import draw
from isodiff.cost.sampling import SamplingCost, expected_events, shown_by_block
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SampleState, meta
from isodiff.families.confidence import Ordered, candidates, decide
from isodiff.families.endings import end_at_stop, repeating
from isodiff.families.reveal_times import Event, num_events
from isodiff.network.attention import BlockCausal, Full, TwoStream, block_sizes
from isodiff.network.view import Denoiser, Prediction, View, caching
from isodiff.process.categorical import Absorbing
from isodiff.process.counts import between, by_count, known_first, last_of_blocks
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens

RANGES = (
    (0.0, 1.0),
    *((i / 20, (i + width) / 20) for width in range(10, 20, 2) for i in range(21 - width)),
)
"""The 36 candidates of the published search: all, and widths 0.5 to 0.9 at every 0.05."""


@dataclass(frozen=True, kw_only=True)
class BlockSampler(Ordered):
    """How blocks are decided, and where a text ends.

    Attributes:
        steps: T of each block; None decides one token per evaluation.
        window: tokens that a block sees, its own included, in whole blocks (at least one); None for all.
        stop: token that ends a text; None gives every text its full length.
        repetition: ends a text whose last `span` tokens have a histogram of less entropy, in nats; None never
            does. What comes after it stays undecided.
        span: tokens of that histogram.
    """

    examples: ClassVar = ({"steps": None}, {"window": 8}, {"order": "margin"})
    window: Count | None = None
    stop: Whole | None = None
    repetition: NonNegative | None = None
    span: Count = 256


@dataclass(frozen=True, kw_only=True)
class BlockDiffusion(
    Family, name="block", nickname="bd3lm", reference="arXiv 2503.09573", kind="bound"
):
    """Options: the size of a block, and how it is trained.

    Attributes:
        block_size: tokens of a block.
        objective: the bound itself (nelbo), or the same with weight 1 for every mask (low_variance).
        low: least mask probability of a block in training.
        high: largest mask probability of a block in training.
        adapt_every: optimizer steps between searches for the range of least variance; 0 keeps low and high.
    """

    shows = "[z ; x without its last block]; two streams in blocks"
    reads = "the masks, (K+1)/2 of each block on average"
    examples: ClassVar = {
        "4": {"block_size": 4, "objective": "nelbo"},
        **{str(size): {"block_size": size} for size in (1, 5)},
        "clipped": {"block_size": 4, "low": 0.3, "high": 0.8},
    }
    exact_at: ClassVar = {"block_size": 1}
    sampler = BlockSampler
    variants: ClassVar = {"ancestral": {}}
    bibtex = arxiv(
        "2503.09573",
        "Block Diffusion: Interpolating Between Autoregressive and Diffusion Language Models",
        "Arriola, Marianne and Gokaslan, Aaron and Chiu, Justin T. and Yang, Zhihan and Qi, Zhixuan and "
        "Han, Jiaqi and Sahoo, Subham Sekhar and Kuleshov, Volodymyr",
    )
    vocab_size: VocabularySize
    block_size: Count = 16
    objective: Literal["nelbo", "low_variance"] = "low_variance"
    low: Fraction = 0.0
    high: Fraction = 1.0
    adapt_every: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise InputError(f"low must be less than high, got {self.low} and {self.high}")

    @property
    def process(self) -> Absorbing:
        """The masks inside a block."""
        return Absorbing(self.vocab_size)

    @property
    def num_states(self) -> int:
        """V + 1: the mask comes last."""
        return self.process.num_states

    def chances(self, size: Int[Tensor, "*B N"]) -> Float[Tensor, "*B N K"]:
        """q_k of blocks of so many tokens, k = 1, 2, ..; Eq. (1)."""

        def q(tokens: int) -> Float[Tensor, " K"]:
            chance = between(tokens, self.low, self.high, size.device)
            return chance / chance.sum()

        return by_count(size, max(1, int(size.max())), q)

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """One view of both copies; the masks of the noisy one are predictions."""
        q = self.chances(torch.tensor(block_sizes(length, self.block_size)))
        expected = float((q * torch.arange(1, q.shape[1] + 1)).sum())
        x = meta(batch, length)
        return (replace(self.view(x, x), read=meta(round(batch * expected))),)

    def view(self, z: Tokens, x: Tokens) -> View:
        """[z ; x without its last block]."""
        length = x.shape[1]
        place = torch.arange(length, device=x.device)
        clean = (length - 1) // self.block_size * self.block_size
        pattern = TwoStream(self.block_size, hidden=length - clean) if clean else Full()
        return View(torch.cat([z, x[:, :clean]], 1), torch.cat([place, place[:clean]]), pattern)

    def nats(self, denoiser: Denoiser, x: Tokens, masked: Chosen) -> Nats:
        """-log p(x_i | z^b, x^{<b}) at the masked positions, 0 elsewhere."""
        nats = self.predict(denoiser, x, masked, masked).nats(x[masked])
        return nats.new_zeros(x.shape).index_put(masked.nonzero(as_tuple=True), nats)

    def predict(self, denoiser: Denoiser, x: Tokens, masked: Chosen, read: Chosen) -> Prediction:
        """p(x_i | z^b, x^{<b}) at the masked positions to read."""
        view = self.view(x.masked_fill(masked, self.process.mask), x)
        row, column = read.nonzero(as_tuple=True)
        return denoiser(replace(view, read=row * view.inputs.shape[1] + column))

    def block(self, length: int, device: torch.device) -> Int[Tensor, " L"]:
        """The block of each position."""
        return torch.arange(length, device=device) // self.block_size

    def _free(self, x: Tokens, observed: Chosen | None) -> Int[Tensor, "B N"]:
        free = torch.ones_like(x) if observed is None else (~observed).long()
        block = self.block(x.shape[1], x.device)
        return x.new_zeros(len(x), int(block[-1]) + 1).index_add(1, block, free)  # K

    def _corrupted_nats(
        self, denoiser: Denoiser, x: Tokens, rng: Rows, observed: Chosen | None = None
    ) -> tuple[Nats, Int[Tensor, "B N"], Float[Tensor, "B N"]]:
        """Nats of k masked tokens in every block, k, and the weight K/k of the bound."""
        size = self._free(x, observed)
        k = (1 + draw(self.chances(size), rng.scattered(size.shape[1]))).minimum(size)
        order = known_first(rng.permutation(x.shape[1]), observed)
        masked = last_of_blocks(order, k, self.block_size)
        return self.nats(denoiser, x, masked), k, size / k.clamp_min(1).double()

    def _weighted(self, nats: Nats, weight: Float[Tensor, "B N"]) -> Nats:
        return nats * weight[:, self.block(nats.shape[1], nats.device)].to(nats.dtype)

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """The bound's integrand over [low, high], or the same with weight 1."""
        nats, _, weight = self._corrupted_nats(denoiser, x, rng, observed)
        return nats if self.objective == "low_variance" else self._weighted(nats, weight)

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """(K/k) times the nats of k masks, in every block, over all of [0, 1]."""
        whole = replace(self, low=0.0, high=1.0)
        nats, _, weight = whole._corrupted_nats(denoiser, x, rng, observed)
        return Likelihood(self._weighted(nats, weight).sum(-1), self.kind)

    def adapt(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> tuple[BlockDiffusion, dict[str, Any]]:
        """With the range of least variance."""
        found = self.variances(denoiser, x, rng, observed)
        low, high = min(found, key=lambda limits: found[limits])
        ranges = [[*limits, variance] for limits, variance in found.items()]
        return replace(self, low=low, high=high), {"low": low, "high": high, "variances": ranges}

    def variances(
        self, denoiser: Denoiser, x: Tokens, rng: Rows, observed: Chosen | None = None
    ) -> dict[tuple[float, float], float]:
        """Variance of the loss per token of a block, over texts, blocks and masks, for every range."""
        whole = replace(self, low=0.0, high=1.0)
        nats, k, weight = whole._corrupted_nats(denoiser, x, rng, observed)
        losses = nats if self.objective == "low_variance" else self._weighted(nats, weight)
        size, block = self._free(x, observed), self.block(x.shape[1], x.device)
        loss = losses.new_zeros(k.shape).index_add(1, block, losses).double() / size.clamp_min(1)
        found = {}
        for low, high in RANGES:
            q = replace(self, low=low, high=high).chances(size)
            share = size * q.gather(-1, (k - 1).clamp_min(0)[..., None]).squeeze(-1)
            mean = (share * loss).sum() / share.sum()
            found[low, high] = float((share * (loss - mean).square()).sum() / share.sum())
        return found

    def check_given(self, undecided: Chosen) -> None:
        """What comes before all that is undecided, or stands in the first block that is."""
        block = self.block(undecided.shape[1], undecided.device)
        first = block.where(undecided, len(block)).amin(-1, keepdim=True)
        if bool((~undecided & (block > first)).any()):
            raise InputError(
                f"{self.name} writes blocks of {self.block_size} tokens from left to right: "
                "nothing may be given in a block after one with a blank"
            )

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """The block at hand at each of its events."""
        blocks = block_sizes(length, self.block_size)
        return shown_by_block(blocks, [expected_events(steps, size) for size in blocks])

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: BlockSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """Block after block: an evaluation is shown what the cache lacks, to the end of the row's block."""
        (batch, length), x, size = prompt.shape, prompt, self.block_size
        undecided, place = prompt == UNDECIDED, torch.arange(length, device=x.device)
        pattern = BlockCausal(size, sampler.window and max(1, sampler.window // size))
        event, u = self._events(prompt, sampler, rng), rng.uniform(length)
        model = caching(denoiser, x.device)
        cache, block = model.cache(batch, length), (place // size).expand(prompt.shape)
        running = torch.ones(batch, dtype=torch.bool, device=x.device)
        start, end = torch.zeros_like(place[:1]).expand(batch), torch.ones_like(running).long()
        for number in range(num_events(event, undecided)):
            due = (event == number) & running[:, None]
            rows = due.any(-1)
            if not bool(rows.any()):
                return
            current = block.where(due, 0).amax(-1)
            end = torch.where(rows, ((current + 1) * size).clamp_max(length), end)
            # Rows with less to show repeat their last entry, which changes nothing.
            width = int((end - start)[rows].max())
            slots = torch.minimum(start[:, None] + place[:width], end[:, None] - 1)
            fresh = start[:, None] + place[:width] < end[:, None]
            states = x.masked_fill(x == UNDECIDED, self.process.mask).gather(1, slots)
            if sampler.by_sureness:  # it draws all that wait, and keeps what is surest
                u = rng.uniform(length)
            waiting = candidates(x, due, block, sampler)
            read = (waiting.gather(1, slots) & fresh).flatten().nonzero().squeeze(-1)
            prediction = model.cached(View(states, slots, pattern, read=read, slots=slots), cache)
            x = decide(prediction, x, waiting, due.sum(-1), sampler, u)
            # The block may not be complete: the next evaluation shows it again.
            start = torch.where(rows, current * size, end - 1)
            x, running = end_at_stop(x, undecided, running, sampler.stop)
            if sampler.repetition is not None:
                running &= ~repeating(x, self.vocab_size, sampler.repetition, sampler.span, size)
            yield SampleState(x, rows)

    def _events(self, prompt: Tokens, sampler: BlockSampler, rng: Noise) -> Event:
        """The network evaluation that decides each position: T steps in every block, empty ones left out."""
        undecided, block = prompt == UNDECIDED, self.block(prompt.shape[1], prompt.device)
        return sampler.events(block.expand(prompt.shape), undecided, sampler.steps, rng)
