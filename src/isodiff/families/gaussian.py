r"""Gaussian diffusion of learned vectors (Plaid, arXiv 2305.18619): tokens sink in noise.

    q(z_t | x) = N(alpha_t e(x), sigma_t^2 I),  |e(v)| = 1
    NELBO = prior + reconstruction + diffusion          (process/gaussian.py, Eqs. 2, 3, 4)

Continuous in time, without steps and without an epsilon: t = 0 is noisy and has a decoder. The vectors
e(v) and the schedule gamma(t) are learned with the network, which owns them (network/latent.py) and is
shown z_t at unit variance and m = sigma_t^2.

*Output prior.* A position's own evidence, Eq. (5), is added to its logits: the network need only find
log p(x_i | z without z_i). *Categorical reparametrization.* x_hat = sum_v p(x_i = v | z) e(v).
*Self-conditioning.* A first look's x_hat, without gradient, is shown beside z in a second look: in training
for every fourth sequence, in the bound for all. As the first look is not differentiated, those sequences
teach the network only, and neither vectors nor schedule.

*Schedule.* The path of gamma between its ends changes the variance of Eq. (4) and not its mean, so it
follows the gradient of (rate - c)^2, and the ends that of the bound. Any constant c has the same mean
gradient. Plaid's c is 0, which fails where few sequences are a batch; here it is log V / 2, about what a
token costs. t is stratified over the batch.

In training a sequence is at t = 0 with probability 1/4, or else at a random t; each term is weighted by
the inverse of its chance. (Plaid adapts the share, and ramps the output prior up over 5000 steps.)

Samplers (docs/samplers.md): T network evaluations at equal steps of t, the last at t = 0, where the
decoder draws the tokens. A step ends at the noise level that the next evaluation is told (those of
published code fall short by 1 / T(T - 1)). The x_hat of the step before serves as the first look. Given
tokens k add `guidance` times the gradient of sum_k log p(x_k | z) to the score; or they are clamped: shown as
alpha_t e(x_k), without noise, as a network sees them that was trained with given tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding

from isodiff.bounds import Count, DividingTemperature, NonNegative, VocabularySize
from isodiff.cost.sampling import SamplingCost, shown_whole
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SampleState, Stepped
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, Prediction, Vectors, View, for_rows, latent_of
from isodiff.process import gaussian as process
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens

CLEAN = 1 / 4  # chance of a training sequence to be at t = 0
_AGAIN = 4  # every fourth training sequence is looked at twice
PACE = 1e-3  # scale of the schedule's own objective: it should not fill the clipped norm of the gradient

Z = Float[Tensor, "B L E"]
Level = Float[Tensor, " B"]
Table = Float[Tensor, "V E"]


@dataclass(frozen=True, kw_only=True)
class GaussianSampler(Stepped):
    """How noise is taken out.

    Attributes:
        steps: T network evaluations; must be given.
        method: "ancestral" draws noise in every step; "ddim" and "dpm", of first and second order, follow the
            probability-flow ODE.
        score_temperature: the score is divided by it; below 1 texts are likelier and less varied.
        condition: "guidance" by the gradient of the given tokens' likelihood, or "clamp".
        guidance: weight of the given tokens in the score.
    """

    method: Literal["ancestral", "ddim", "dpm"] = "ancestral"
    score_temperature: DividingTemperature = 1.0
    condition: Literal["guidance", "clamp"] = "guidance"
    guidance: NonNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None:
            raise InputError("gaussian noise needs a number of steps")


@dataclass(frozen=True, kw_only=True)
class Gaussian(
    Family, name="gaussian", nickname="plaid", reference="arXiv 2305.18619", kind="bound"
):
    """Options: each part of the method, to be taken away.

    Attributes:
        embedding_width: E, numbers in a token's vector.
        self_conditioning: a second look that is shown the estimate of the first.
        output_prior: a position's own evidence is added to its logits.
        learned_schedule, learned_embeddings: learned with the network; or a straight line, random vectors.
    """

    shows = "noisy vectors, a first estimate, and m; full"
    reads = "all L"
    examples: ClassVar = {
        "once": {"self_conditioning": False},
        "fixed": dict(output_prior=False, learned_schedule=False, learned_embeddings=False),
        "schedule": {"learned_embeddings": False, "embedding_width": 4},
        "embeddings": {"learned_schedule": False, "embedding_width": 4},
    }
    sampler = GaussianSampler
    variants: ClassVar = {"ancestral": {}, "ddim": {"method": "ddim"}, "dpm": {"method": "dpm"}}
    bibtex = arxiv(
        "2305.18619",
        "Likelihood-Based Diffusion Language Models",
        "Gulrajani, Ishaan and Hashimoto, Tatsunori B.",
    )
    vocab_size: VocabularySize
    embedding_width: Count = 16
    self_conditioning: bool = True
    output_prior: bool = True
    learned_schedule: bool = True
    learned_embeddings: bool = True

    @property
    def num_states(self) -> int:
        """V: nothing is shown but vectors of tokens."""
        return self.vocab_size

    @property
    def vectors(self) -> Vectors:
        """Vectors of tokens, and beside them the estimate of a first look."""
        return Vectors(
            width=self.embedding_width,
            shown=self.embedding_width * (2 if self.self_conditioning else 1),
            learned_table=self.learned_embeddings,
            learned_schedule=self.learned_schedule,
        )

    @property
    def row_period(self) -> int:
        """One row of so many is looked at twice."""
        return _AGAIN if self.self_conditioning else 1

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """One look at most sequences, two at every fourth; the first of the two is not trained."""
        twice = batch // _AGAIN if self.self_conditioning else 0
        once = self._planned(batch - twice, length, differentiated=True)
        second = self._planned(twice, length, differentiated=False)
        return (once, replace(second, trained=False), second) if twice else (once,)

    def _planned(self, batch: int, length: int, *, differentiated: bool) -> View:
        """A view without memory; `differentiated` in its vectors and its schedule too."""
        moves = differentiated and self.learned_schedule
        learns = differentiated and self.learned_embeddings
        size = batch, length, self.embedding_width
        with torch.enable_grad():
            z = torch.empty(size, device="meta", requires_grad=moves or learns)
            gamma = torch.empty(batch, device="meta", requires_grad=moves)
            table = torch.empty(self.vocab_size, size[2], device="meta", requires_grad=learns)
            return self.view(z, gamma, table, None)

    def view(self, z: Z, gamma: Level, table: Table, guess: Z | None) -> View:
        """z at unit variance, a first look's estimate or nothing, and the noise's share of the power."""
        level, width = gamma[:, None, None], self.embedding_width
        noise = torch.sigmoid(level)
        shown = z / (torch.sigmoid(-level) / width + noise).sqrt()
        if self.self_conditioning:
            guess = torch.zeros_like(z) if guess is None else guess * math.sqrt(width)
            shown = torch.cat([shown, guess], -1)
        evidence = process.evidence(z, level).to(table.dtype) if self.output_prior else None
        shown, place = shown.to(table.dtype), torch.arange(z.shape[1], device=z.device)
        return View(shown, place, Full(), time=noise.flatten(), table=table, evidence=evidence)

    def nats(
        self, denoiser: Denoiser, x: Tokens, t: Level, noise: Z, observed: Chosen, *, twice: bool
    ) -> Nats:
        """The decoder's nats where t = 0, Eq. (3), and the integrand of Eq. (4) elsewhere; 0 if given."""
        latent = latent_of(denoiser)
        table, ends, path = latent.table(), latent.ends(), latent.progress(t)
        if twice:
            table = table.detach()
            ends, path = (tuple(part.detach() for part in pair) for pair in (ends, path))
        usual = math.log(self.vocab_size) / 2
        for part in path:
            if part.requires_grad:  # d(rate - usual)^2 = 2 (rate - usual) d(rate)
                part.register_hook(lambda g: g * PACE * 2 * (typical - usual))
        span = ends[1] - ends[0]
        gamma, slope = ends[0] + span * path[0], span * path[1]
        vector = embedding(x, table)
        noise = noise.masked_fill(observed[..., None], 0)
        z = process.noised(vector, noise, gamma[:, None, None])
        guess = None
        if twice:
            with torch.no_grad():
                first = denoiser(replace(self.view(z, gamma, table, None), trained=False))
                guess = first.nats_and_mean(x.flatten(), table)[1].view_as(z)
                guess = torch.where(observed[..., None], vector.to(guess.dtype), guess)
        prediction = denoiser(self.view(z, gamma, table, guess))
        decoder, x_hat = prediction.nats_and_mean(x.flatten(), table)
        error = (vector - x_hat.view_as(vector)).square().sum(-1)
        rate = process.diffusion_nats(gamma[:, None], slope[:, None], error)
        rate = rate.masked_fill(observed, 0)
        typical = rate.detach().sum(-1) / (~observed).sum(-1).clamp_min(1)
        nats = torch.where(t[:, None] == 0, decoder.view_as(x), rate).to(error.dtype)
        return nats.masked_fill(observed, 0)

    def prior_nats(self, denoiser: Denoiser) -> Float[Tensor, ""]:
        """Nats per token of the prior, Eq. (2)."""
        _, gamma_1 = latent_of(denoiser).ends()
        return process.prior_nats(gamma_1, self.embedding_width).to(torch.get_default_dtype())

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """One term of the bound per sequence, weighted by the inverse of its chance, and the prior."""
        observed = torch.zeros_like(x, dtype=torch.bool) if observed is None else observed
        u, noise = rng.strata(), rng.normal(x.shape[1], self.embedding_width)
        clean = u < CLEAN
        t = torch.where(clean, 0, (u - CLEAN) / (1 - CLEAN))
        weight = torch.where(clean, 1 / CLEAN, 1 / (1 - CLEAN))[:, None]
        again = (rng.index % _AGAIN == _AGAIN - 1) & self.self_conditioning
        prior = self.prior_nats(denoiser)
        out = torch.zeros_like(x, dtype=prior.dtype)
        for twice in (False, True):
            rows = (again == twice).nonzero().squeeze(-1).to(x.device)
            if len(rows):
                shown = x[rows], t[rows], noise[rows], observed[rows]
                nats = self.nats(for_rows(denoiser, rows), *shown, twice=twice)
                nats = weight[rows].to(nats.dtype) * nats + (prior.detach() if twice else prior)
                out = out.index_put((rows,), nats)
        return out.masked_fill(observed, 0)

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """All three terms for every sequence."""
        observed = torch.zeros_like(x, dtype=torch.bool) if observed is None else observed
        t, row = rng.strata(), torch.arange(len(x), device=x.device).repeat(2)
        noise = torch.cat(rng.normal(2, x.shape[1], self.embedding_width, along=1).unbind(1))
        shown = x[row], torch.cat([torch.zeros_like(t), t]), noise, observed[row]
        nats = self.nats(for_rows(denoiser, row), *shown, twice=self.self_conditioning)
        reconstruction, diffusion = nats.sum(-1).chunk(2)
        prior = (~observed).sum(-1) * self.prior_nats(denoiser)
        return Likelihood(reconstruction + diffusion + prior, "bound")

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """All positions at every step, and all of them pass the head."""
        return shown_whole(length, steps, read=steps * length)

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: GaussianSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """T evaluations, from pure noise to the decoder; first the tokens whose vectors are nearest to it."""
        assert sampler.steps is not None
        latent, length, width = latent_of(denoiser), prompt.shape[1], self.embedding_width
        table, ends, observed = latent.table(), latent.ends(), prompt != UNDECIDED
        rows = (~observed).any(-1)
        if not bool(rows.any()):
            return
        times = torch.linspace(1, 0, sampler.steps, dtype=torch.float64, device=prompt.device)
        gammas = ends[0] + (ends[1] - ends[0]) * latent.progress(times)[0]
        z = rng.normal(length, width)[rows]
        near = torch.stack([(one.to(table) @ table.T).argmax(-1) for one in z])
        texts = prompt.index_put((rows,), near)
        yield SampleState(prompt.where(observed, texts), torch.zeros_like(rows))
        guess, solver = None, process.Solver(sampler.method)
        some, shown = for_rows(denoiser, rows), prompt[rows]
        clamped = ((shown != UNDECIDED) & (sampler.condition == "clamp"))[..., None]
        vector = embedding(shown.clamp_min(0), table)
        shown = shown.masked_fill(clamped.squeeze(-1), UNDECIDED)  # what guides
        for now, gamma in enumerate(gammas):
            z = torch.where(clamped, process.alpha(gamma) * vector, z)
            guess = None if guess is None else torch.where(clamped, vector, guess)
            prediction, pull = self.look(some, z, gamma, table, guess, shown)
            if now + 1 == len(gammas):
                drawn = prediction.draw(rng.uniform(length)[rows].flatten(), sampler)
            else:
                p = sampler.weights(prediction.log_probs())
                drawn = p.argmax(-1)
                guess = (p @ table / p.sum(-1, keepdim=True)).view(z.shape).to(z.dtype)
                x_hat = process.tempered(z, guess, gamma, sampler.score_temperature)
                if pull is not None:
                    x_hat = process.guided(x_hat, sampler.guidance * pull, gamma)
                z = solver.step(z, x_hat, gammas, now, lambda: rng.normal(length, width)[rows])
            texts = prompt.index_put((rows,), drawn.view(-1, length))
            yield SampleState(prompt.where(observed, texts), rows)

    def look(
        self, denoiser: Denoiser, z: Z, gamma: Tensor, table: Table, guess: Z | None, prompt: Tokens
    ) -> tuple[Prediction, Z | None]:
        """p(x | z), and the gradient of sum_k log p(x_k | z) over the tokens that are given, if any."""
        gamma, observed = gamma.expand(len(z)), prompt.flatten() != UNDECIDED
        if not bool(observed.any()):
            return denoiser(self.view(z, gamma, table, guess)), None
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            prediction = denoiser(self.view(z, gamma, table, guess))
            nats = prediction.nats(prompt.clamp_min(0).flatten())[observed].sum()
            return prediction, -torch.autograd.grad(nats, z)[0]
