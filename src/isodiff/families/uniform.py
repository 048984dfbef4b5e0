r"""Uniform-state diffusion (UDLM, arXiv 2412.10193; Duo, 2506.10892): tokens turn into random tokens.

    q(z_t | x) = alpha_t x + (1 - alpha_t) / V

With m = 1 - alpha_t, c = V alpha_t / m and y_j = 1 + c x_hat_j, Duo's Rao-Blackwellized bound needs three
reductions over the vocabulary, S = sum_j log y_j, a = log y_x, b = log y_z. Per token and unit of m it is

    z != x:  [ V b - S + (1+c) log(1+c) + c (b - a) + (V + c) (1/y_z - 1) ] / (V alpha)             (1)
    z == x:  [ V b - S - (V-1) log(1+c) + (V + c) ((1+c)/y_z - 1) ] / (V alpha (1+c))               (2)

(Duo's Eq. for D, rearranged so that nothing cancels for m -> 0 or 1). The network is shown m. The best
x_hat is the leave-one-out posterior p(x_i | z without z_i). Prior term: zero with alpha_1 = 0; `alpha_end =
0.001` is the schedule of published code, and its prior term is then part of the bound.

Departs from Duo: times are drawn at the moments when tokens are corrupted (process/counts.py), which
estimates the same integral with finite variance and without an epsilon.

Sampler. With a = alpha_t / alpha_s, the posterior of a position with state z is the mixture

    q(z_s | z_t = z, x_hat) = [ (V alpha_t x_hat_z + a - alpha_t) 1_z + (alpha_s - alpha_t) x_hat
                                + (1 - a)(1 - alpha_s) / V ] / (V alpha_t x_hat_z + 1 - alpha_t)       (3)

so all that it asks of the vocabulary is x_hat_z and a draw from x_hat. The chance to leave z falls with
x_hat_z; at x_hat_z = 0 it is known without the network, and positions whose random number lies above it stay
(thinning): only the others go through the head, and rows without one do not visit the network. The
predictor-corrector (Psi sampler of the second chapter of Duo) draws z_s from Eq. (3) with probability kappa,
else draws x from the posterior at s = 0 and noises it to s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.bounds import Decay, Fraction, VocabularySize
from isodiff.categorical import draw, pick
from isodiff.cost.sampling import SamplingCost, shown_where_due
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SampleState, Stepped, meta
from isodiff.families.read_positions import gather_read, positions_to_read, scatter_read
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, View, for_rows
from isodiff.process.categorical import UniformState
from isodiff.process.counts import jump_times, num_free
from isodiff.process.schedule import Linear
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Time, Tokens

Statistic = Float[Tensor, " M"]


def rate(
    s: Statistic, a: Statistic, b: Statistic, *, same: Bool[Tensor, " M"], m: Statistic, v: int
) -> Statistic:
    """Nats per token and unit of m, Eqs. (1) and (2); 0 < m < 1. Combined in float64."""
    dtype = s.dtype
    s, a, b, m = s.double(), a.double(), b.double(), m.double()
    alpha = 1 - m
    c = v * alpha / m
    log_ratio = torch.log1p(c)
    spread = v * b - s
    away = spread + (1 + c) * log_ratio + c * (b - a) + (v + c) * torch.expm1(-b)
    stay = (spread - (v - 1) * log_ratio + (v + c) * torch.expm1(log_ratio - b)) / (1 + c)
    return (torch.where(same, stay, away) / (v * alpha)).to(dtype)


@dataclass(frozen=True, kw_only=True)
class UniformSampler(Stepped):
    """How noise is taken out.

    Attributes:
        steps: T; must be given, as tokens may change at any time.
        tail: the last step draws ("draw"), or takes the likeliest token of the posterior ("posterior"), or
            that of x_hat as the papers do ("x_hat", which ignores the token already there).
        kappa: share of ancestral moves; the rest goes to t = 0 and is noised again.
    """

    examples: ClassVar = ({"kappa": 0.5}, {"tail": "x_hat"})
    tail: Literal["draw", "posterior", "x_hat"] = "draw"
    kappa: Fraction = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None:
            raise InputError("uniform noise needs a number of steps")


@dataclass(frozen=True, kw_only=True)
class Uniform(
    Family, name="uniform", nickname="duo", reference="arXiv 2506.10892, 2412.10193", kind="bound"
):
    """Options: where the schedule ends, and whether the network is shown the noise level.

    Attributes:
        alpha_end: share of the tokens that are still clean at t = 1.
        show_time: whether the network is shown the noise level.
    """

    shows = "z with random tokens and m; full"
    reads = "all L"
    examples: ClassVar = {"untimed": {"show_time": False}}
    sampler = UniformSampler
    variants: ClassVar = {"ancestral": {}, "greedy tail": {"tail": "posterior"}}
    bibtex = arxiv(
        "2506.10892",
        "The Diffusion Duality",
        "Sahoo, Subham Sekhar and Deschenaux, Justin and Gokaslan, Aaron and Wang, Guanghan and "
        "Chiu, Justin and Kuleshov, Volodymyr",
    ) + arxiv(
        "2412.10193",
        "Simple Guidance Mechanisms for Discrete Diffusion Models",
        "Schiff, Yair and Sahoo, Subham Sekhar and Phung, Hao and Wang, Guanghan and Boshar, Sam and "
        "Dalla-Torre, Hugo and de Almeida, Bernardo P. and Rush, Alexander and Pierrot, Thomas and "
        "Kuleshov, Volodymyr",
    )
    vocab_size: VocabularySize
    alpha_end: Decay = 0.0
    show_time: bool = True

    @property
    def process(self) -> UniformState:
        """alpha_t = 1 - (1 - alpha_end) t."""
        return UniformState(self.vocab_size, Linear(self.alpha_end))

    @property
    def num_states(self) -> int:
        """V: no state of its own."""
        return self.process.num_states

    @property
    def time_conditioned(self) -> bool:
        """As chosen."""
        return self.show_time

    def view(self, z: Tokens, m: Time, read: Int[Tensor, " M"] | None = None) -> View:
        """z under full attention, with the corruption probability m of each sequence."""
        positions = torch.arange(z.shape[1], device=z.device)
        return View(z, positions, Full(), time=m if self.show_time else None, read=read)

    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """One view; every position is a prediction."""
        time = torch.empty(batch, device="meta") if self.show_time else None
        return (View(meta(batch, length), meta(length), Full(), time=time),)

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """The bound's integrand at the moment when the k-th token is corrupted."""
        moved, m, weight = jump_times(rng, x.shape[1], observed)
        noise = (rng.uniform(x.shape[1]) * self.vocab_size).long()
        z, read = torch.where(moved, noise, x), positions_to_read(observed)
        each, was, now = (gather_read(part, read) for part in (m[:, None].expand(x.shape), x, z))
        c = self.vocab_size * (1 - each) / each
        prediction = denoiser(self.view(z, m, read))
        s, a, b = prediction.uniform_statistics(c.to(torch.get_default_dtype()), was, now)
        nats = rate(s, a, b, same=was == now, m=each, v=self.vocab_size)
        weight = torch.where(m <= 1 - self.alpha_end, weight, 0)
        return scatter_read(nats, read, x) * weight[:, None].to(nats.dtype)

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """The diffusion term plus the prior term."""
        nats = self.loss(denoiser, x, rng=rng, observed=observed).sum(-1)
        prior = num_free(rng, x.shape[1], observed) * self.process.prior_nats()
        return Likelihood(nats + prior, "bound")

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """All positions at each step at which one may change; those that may pass the head."""
        times = self.process.grid(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
        alphas, nowhere = self.process.alpha(times), times.new_zeros(())
        ends = pairwise(alphas)
        return shown_where_due(
            length, [float(_leaving(nowhere, float(a), s, self.vocab_size)) for a, s in ends]
        )

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: UniformSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """T steps from uniformly random tokens at the undecided positions, which come first."""
        assert sampler.steps is not None
        length, v, free = prompt.shape[1], self.vocab_size, prompt == UNDECIDED
        z = (rng.uniform(length) * v).long().where(free, prompt)
        yield SampleState(z, torch.zeros_like(free[:, 0]))
        times = self.process.grid(torch.linspace(1, 0, sampler.steps + 1, dtype=torch.float64))
        for alpha_t, alpha_s in pairwise(self.process.alpha(times).tolist()):
            u, which, corrects = rng.uniform(3, length).unbind(1)
            renew = rng.uniform(2, length)
            # A corrector's move is a step to s = 0, noised again.
            target = torch.where(corrects < sampler.kappa, alpha_s, 1.0).to(u)
            greedy = alpha_s == 1 and sampler.tail != "draw"
            due = free & ((u < _leaving(u.new_zeros(()), alpha_t, target, v)) | greedy)
            rows = due.any(-1)
            if bool(rows.any()):
                read = due[rows].flatten().nonzero().squeeze(-1)
                m = torch.full((int(rows.sum()),), 1 - alpha_t, device=z.device)
                view = self.view(z[rows], m.to(torch.get_default_dtype()), read)
                some, columns = for_rows(denoiser, rows), (z[due], u[due], which[due], target[due])
                moved = []
                for logits, z_t, leave, kind, s in some(view).in_pieces(*columns):
                    p = sampler.weights(logits)
                    if greedy:
                        moved.append(likeliest(p, z_t, alpha_t, v, sampler.tail))
                    else:
                        moved.append(moves(p, z_t, leave, kind, alpha_t, s))
                z = z.masked_scatter(due, torch.cat(moved))
            noised = free & (corrects >= sampler.kappa) & (renew[:, 0] >= alpha_s)
            z = (renew[:, 1] * v).long().where(noised, z)
            if bool(rows.any()):
                yield SampleState(z, rows)


def _leaving(p_z: Tensor, alpha_t: float, alpha_s: Tensor, v: int) -> Tensor:
    """P(z_s != z | z_t = z) of Eq. (3), where the network gives z the probability p_z; falls with p_z."""
    a = alpha_t / alpha_s
    drawn = (alpha_s - alpha_t) * (1 - p_z)
    return (drawn + (1 - a) * (1 - alpha_s) * (1 - 1 / v)) / (v * alpha_t * p_z + 1 - alpha_t)


def moves(
    p: Float[Tensor, "M V"],
    z: Tensor,
    u: Float[Tensor, " M"],
    which: Float[Tensor, " M"],
    alpha_t: float,
    alpha_s: Float[Tensor, " M"],
) -> Tensor:
    """z_s of Eq. (3): z itself unless u < leaving(...), else a token other than z. p in proportion."""
    v = p.shape[-1]
    p_z = pick(p, z).double() / p.sum(-1).double()
    leaves = u < _leaving(p_z, alpha_t, alpha_s, v)
    drawn = (alpha_s - alpha_t) * (1 - p_z)
    noise = (1 - alpha_t / alpha_s) * (1 - alpha_s) * (1 - 1 / v)
    share = drawn / (drawn + noise).clamp_min(torch.finfo(torch.float64).tiny)
    from_p = which < share
    again = torch.where(from_p, which / share, (which - share) / (1 - share)).clamp(0, 1)
    random = (again * (v - 1)).long().clamp_max(v - 2)
    z_s = torch.where(leaves, random + (random >= z), z)
    rows = (leaves & from_p).nonzero().squeeze(-1)
    others = p[rows].scatter_(-1, z[rows, None], 0)
    return z_s.index_put((rows,), draw(others, again[rows]))


def likeliest(p: Float[Tensor, "M V"], z: Tensor, alpha_t: float, v: int, tail: str) -> Tensor:
    """argmax of x_hat, or of q(x | z_t = z, x_hat)."""
    likeliest, best = p.max(-1)
    if tail == "x_hat":
        return best
    p_z = pick(p, z)
    return torch.where(p_z + p_z * (v * alpha_t / (1 - alpha_t)) > likeliest, z, best)
