r"""Hybrid noise (GIDD, arXiv 2503.04482; as a function of the log-SNR, 2512.10858).

Tokens turn into random tokens, and all of them into masks (process/hybrid.py), so that the network learns to
mend as well as to fill. The bound is int E_{z ~ q_t(. | x)} [ w_t(z, x) D ] dt, w = rho_t(z) / q_t(z | x),

    D = KL(q_t(. | x) || q_t(. | x_hat)) + r - log r - 1,     r = q_t(z | x) / q_t(z | x_hat).             (1)

The second part, Itakura-Saito, is 0 for a mask. One reduction over the vocabulary gives both: with c the
signal per unit of noise in one token and y_j = 1 + c x_hat_j,

    KL = alpha [ log(1+c) - log y_x + (log(1+c) - sum_j log y_j) / c ],                                    (2)
    log r = log(1+c) - log y_x  for z = x,     - log y_z  for another token.                               (3)

The network is shown m = 1 - alpha. The best x_hat is the leave-one-out posterior p(x_i | z without z_i).

*Weights in training.* `elbo`: w. `clip`: min(w, 1). `dynamic`: w dt/dtau, which with p_u is 1 for a random
token, 2 for a mask and xi / (1 + xi), xi = (B/V) sqrt(t / (1 - t)), for x itself; the paper prints xi, but
only the exact ratio has the optimum of the bound. `dynamic_as_released`: the released code's, whose xi is
nearly constant by a slip. A weighting w' moves the optimum from x_hat_j to x_hat_j kappa^[j = z] with
kappa = (w'_x / w'_u) / (w_x / w_u). What is reported has w over all of [0, 1], and nothing is dropped.

*Sampler.* By Eqs. (2) and (3) of process/categorical.py the posterior is the mixture

    q(z_s | z_t = z, x_hat) = (1 - h) 1_z + h q_s(. | x_hat),     h = enter_z / q_t(z | x_hat),            (4)

enter = nu_t - (alpha_t / alpha_s) nu_s: with chance h the token is drawn afresh from the noisy prediction at
s, else it stays. What is fresh is clean with chance alpha_s, whatever the network says; h is known for a
mask, and for a token it is largest at x_hat_z = 0. So only masks that become clean, and tokens whose random
number lies below that bound, go through the head.

*Self-correction* (first paper). A finished text is shown as having noise t_0; every token is drawn again at a
low temperature, and the likeliest of those that came out different takes its place. It ends when none did,
or when the text has long not come to agree better with the network. A search, not a sampler of p.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isodiff.bounds import Count, Finite, Fraction, PartFraction, Temperature, VocabularySize, Whole
from isodiff.categorical import Truncation, draw, pick
from isodiff.cost.sampling import SamplingCost, shown_where_due
from isodiff.errors import InputError
from isodiff.families.base import UNDECIDED, Family, Likelihood, SampleState, Stepped, meta
from isodiff.families.read_positions import gather_read, positions_to_read, scatter_read
from isodiff.network.attention import Full
from isodiff.network.view import Denoiser, View, for_rows
from isodiff.process.hybrid import (
    Corruption,
    HybridNoise,
    Weighting,
    divergence,
    hybrid_noise,
    own_moments,
    shared_moment,
)
from isodiff.references import arxiv
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Time, Tokens


@dataclass(frozen=True, kw_only=True)
class HybridSampler(Stepped):
    """How noise is taken out, and whether the text is then corrected.

    Attributes:
        steps: T; must be given, as tokens may change at any time.
        corrections: most network evaluations spent on self-correction afterwards.
        correction_temperature: of the tokens drawn there.
        correction_noise: t_0, the noise that the finished text is shown as having.
        changes: tokens replaced per evaluation.
        patience: evaluations without a better agreement before it ends.
    """

    examples: ClassVar = ({"corrections": 4},)
    corrections: Whole = 0
    correction_temperature: Temperature = 0.1
    correction_noise: PartFraction = 0.01
    changes: Count = 1
    patience: Whole = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None:
            raise InputError("hybrid noise needs a number of steps")


@dataclass(frozen=True, kw_only=True)
class Hybrid(
    Family, name="hybrid", nickname="gidd", reference="arXiv 2503.04482, 2512.10858", kind="bound"
):
    """Options of the noise, of the weight in training, and of what the network is shown.

    Attributes:
        p_u: largest share of random tokens, as in the first paper; 0.1 unless `shift` is given.
        shift: the log-SNR form of the second paper instead; larger for more random tokens.
        weighting: of the training loss; the bound has the ELBO's weights.
        independent_noise: share of the training sequences in which every token has a noise level of its own.
        show_time: whether the network is shown the noise level.
    """

    shows = "z with masks and random tokens, and m; full"
    reads = "all L"
    examples: ClassVar = {
        "masks": {"p_u": 0.0},
        "shift": dict(shift=1.0, weighting="elbo", independent_noise=0.5, show_time=False),
    }
    sampler = HybridSampler
    variants: ClassVar = {"ancestral": {}, "self-correction": {"corrections": 128}}
    bibtex = arxiv(
        "2503.04482",
        "Generalized Interpolating Discrete Diffusion",
        r"von R{\"u}tte, Dimitri and Fluri, Janis and Ding, Yuhui and Orvieto, Antonio and "
        r"Sch{\"o}lkopf, Bernhard and Hofmann, Thomas",
    ) + arxiv(
        "2512.10858",
        "Scaling Behavior of Discrete Diffusion Language Models",
        r"von R{\"u}tte, Dimitri and Fluri, Janis and Pooladzandi, Omead and Sch{\"o}lkopf, Bernhard and "
        r"Hofmann, Thomas and Orvieto, Antonio",
    )
    vocab_size: VocabularySize
    p_u: Fraction | None = None
    shift: Finite | None = None
    weighting: Weighting = "dynamic"
    independent_noise: Fraction = 0.0
    show_time: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shift is not None and self.weighting == "dynamic_as_released":
            raise InputError(
                "dynamic_as_released is a weight of the p_u form; with shift use dynamic"
            )
        if self.independent_noise and self.show_time:
            raise InputError(
                "independent_noise has no one noise level to show; set show_time: false"
            )
        _ = self.process  # its own limits

    @property
    def process(self) -> HybridNoise:
        """The noise in either form."""
        return hybrid_noise(self.vocab_size, self.p_u, self.shift)

    @property
    def num_states(self) -> int:
        """V + 1: the mask comes last."""
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
        return (self.view(meta(batch, length), torch.empty(batch, device="meta")),)

    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """The weighted integrand at the moment when the k-th token is corrupted."""
        noise = shared_moment(self.process, rng, x.shape[1], observed)
        if self.independent_noise:
            apart = (rng.uniform() < self.independent_noise)[:, None]
            own = own_moments(self.process, rng, x.shape[1], observed)
            noise = Corruption(*(torch.where(apart, *two) for two in zip(own, noise, strict=True)))
        return self._integrand(denoiser, x, noise, rng, self.weighting, observed)

    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """The integrand of Eq. (1). At t = 1 all is masks, and what is left at t = 0 is x: no other term."""
        noise = shared_moment(self.process, rng, x.shape[1], observed)
        each = self._integrand(denoiser, x, noise, rng, "elbo", observed)
        return Likelihood(each.sum(-1), "bound")

    def _integrand(
        self,
        denoiser: Denoiser,
        x: Tokens,
        noise: Corruption,
        rng: Rows,
        weighting: Weighting,
        observed: Chosen | None,
    ) -> Nats:
        """Weighted D per token; 0 if given."""
        moved, share, m, weight = noise
        process, v, moment = self.process, self.vocab_size, self.process.at(m)
        random, kind = (rng.uniform(x.shape[1]) * v).long(), rng.uniform(x.shape[1])
        z = torch.where(moved, torch.where(kind < share, random, process.mask), x)
        masked, read = z == process.mask, positions_to_read(observed)
        prediction = denoiser(self.view(z, m[:, 0], read))
        if self.p_u == 0:  # c is infinite, and nothing but masks has a weight
            nats = scatter_read(prediction.nats(gather_read(x, read)), read, x)
            d = torch.where(masked, (1 - m) * nats, 0)
        else:
            c = moment.c.to(torch.get_default_dtype())
            columns = (gather_read(part, read) for part in (c, x, z.clamp_max(v - 1)))
            flat = prediction.uniform_statistics(*columns)
            total, at_x, at_z = (scatter_read(value, read, x) for value in flat)
            d = divergence(total, at_x, at_z, moment, z == x, masked)
        d = d * weight * process.weight(moment, z == x, masked, weighting)
        d = d if observed is None else d.masked_fill(observed, 0)
        return d.to(torch.get_default_dtype())

    def sampling_cost(self, length: int, steps: int) -> SamplingCost:
        """All positions at each step with a mask that turns clean, or a token that may move."""
        times = self.process.grid(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
        return shown_where_due(length, self.process.due(times).tolist())

    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: HybridSampler, *, rng: Noise
    ) -> Iterator[SampleState]:
        """T steps of Eq. (4) from masks at the undecided positions of `prompt`, then corrections."""
        assert sampler.steps is not None
        process, v = self.process, self.vocab_size
        length, free = prompt.shape[1], prompt == UNDECIDED
        z = prompt.masked_fill(free, process.mask)
        times = process.grid(torch.linspace(1, 0, sampler.steps + 1, dtype=torch.float64))
        for now, then in pairwise(torch.stack(process.parts(times), -1).tolist()):
            (alpha_t, *_), (alpha_s, random_s, _) = now, then
            u, kind, which = rng.uniform(3, length).unbind(1)
            masked = z == process.mask
            rates = u.new_tensor(process.entering(now, then))  # of a token, of the mask
            nu, enter = rates[masked.long()].unbind(-1)
            afresh, clean = free & (u * nu < enter), kind < alpha_s
            noise = torch.where(kind < alpha_s + random_s, (which * v).long(), process.mask)
            due = afresh & (clean | ~masked)
            rows = due.any(-1)
            fresh = noise
            if bool(rows.any()):
                p = self._x_hat(denoiser, z, due, 1 - alpha_t, sampler)
                p_z = pick(p, z[due].clamp_max(v - 1)).masked_fill(masked[due], 0)
                leaves = u[due] * (alpha_t * p_z + nu[due]) < enter[due]
                afresh = afresh.masked_scatter(due, leaves)
                drawn = leaves & clean[due]
                fresh = noise.masked_scatter(
                    afresh & due & clean, draw(p[drawn], which[due][drawn])
                )
            z = torch.where(afresh, fresh, z)
            if bool(rows.any()):
                yield SampleState(z.masked_fill(z == process.mask, UNDECIDED), rows)
        yield from self._correct(denoiser, z, free, sampler, rng)

    def _x_hat(
        self, denoiser: Denoiser, z: Tokens, wanted: Chosen, m: float, truncation: Truncation
    ) -> Float[Tensor, "M V"]:
        """At the positions wanted, truncated; only their rows visit the network."""
        rows = wanted.any(-1)
        read = wanted[rows].flatten().nonzero().squeeze(-1)
        shown = torch.full((int(rows.sum()),), m, device=z.device)
        prediction = for_rows(denoiser, rows)(self.view(z[rows], shown, read))
        weights = truncation.weights(prediction.log_probs())
        return weights / weights.sum(-1, keepdim=True)

    def _correct(
        self, denoiser: Denoiser, z: Tokens, free: Chosen, sampler: HybridSampler, rng: Noise
    ) -> Iterator[SampleState]:
        t = torch.tensor(sampler.correction_noise, dtype=torch.float64)
        m = float(sum(self.process.parts(t)[1:]))
        cold = replace(sampler, temperature=sampler.correction_temperature)
        live = free.any(-1)
        best, waited = torch.full(live.shape, -1.0, device=z.device), torch.zeros_like(live).long()
        for _ in range(sampler.corrections):
            if not bool(live.any()):
                return
            u, wanted = rng.uniform(z.shape[1]), free & live[:, None]
            p = self._x_hat(denoiser, z, wanted, m, cold)
            drawn = draw(p, u[wanted])
            gain = pick(p, drawn).masked_fill(drawn == z[wanted], 0)
            score = torch.zeros(z.shape, dtype=p.dtype, device=z.device)
            score = score.masked_scatter(wanted, gain)
            rank = score.argsort(dim=-1, descending=True, stable=True).argsort(-1)
            changed = (score > 0) & (rank < sampler.changes)
            z = torch.where(changed, z.masked_scatter(wanted, drawn), z)
            yield SampleState(z, live)
            agrees = torch.zeros_like(free).masked_scatter(wanted, p.argmax(-1) == z[wanted])
            agreement = agrees.sum(-1) / free.sum(-1).clamp_min(1)
            waited = torch.where(agreement > best, 0, waited + 1)
            best = torch.maximum(best, agreement)
            live = live & changed.any(-1) & (waited <= sampler.patience)
