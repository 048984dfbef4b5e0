r"""Masks and random tokens: the hybrid noise of GIDD (arXiv 2503.04482, 2512.10858).

Everything is a function of o, the odds on which the process's clock tau = log o runs. Of one token,

    clean : random : mask  =  1 : B o : o^2                      o = sqrt(t / (1 - t))           (1)
    clean : random : mask  =  1 : o s : o (1 - s)                o = t / (1 - t) = exp(-log SNR)  (2)

(1) `Peaked`: the share of random tokens peaks at p_u, at t = 1/2; B = 2 p_u / (1 - p_u) (first paper, with
its exponent gamma = 1). (2) `Shifted`: alpha_t = 1 - t, and the share of random tokens in the noise is
s = sigmoid(log SNR + shift) (second paper). In (1) that share is s = B / (B + o). Either way noise is made
of random tokens while there is little of it, and of masks when there is much.

*Rates.* rho = alpha (nu / alpha)', so a state of noise enters at rho_j / nu_j = g_j, the growth of
log(nu_j / alpha); per unit of tau

    (1)  g = 1 for a token, 2 for the mask;      (2)  g = s for a token, 1 + s for the mask.      (3)

The ELBO weight of a token x in state z is rho_z / q(z | x) = g_z, and g_z / (1 + c) for z = x, with
c = V alpha / (m s) the signal per unit of noise in one token. log(m / alpha) grows by s g + (1 - s) g_mask
per unit of tau, from which follow the weights per unit of m = 1 - alpha, in which nothing is singular but
the 1/m of a corrupted token (process/counts.py removes it).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch

from isodiff.categorical import draw, pick
from isodiff.errors import InputError
from isodiff.process.categorical import Process
from isodiff.process.counts import jump_times
from isodiff.rng import Rows
from isodiff.types import Chosen, Probabilities, Time

Weighting = Literal["elbo", "clip", "dynamic", "dynamic_as_released"]
_P_U = 0.1
_LEAST_SHARE = 1e-9  # p_u below it is masked diffusion but for rounding; 0 is masked diffusion
_LARGEST_SHIFT = 30.0  # beyond it, the rarer kind of noise is never met


class Moment(NamedTuple):
    """The noise at which a token is corrupted with probability m = 1 - alpha.

    Attributes:
        share: s, of random tokens in the noise.
        c: signal per unit of noise in one token; infinite without random tokens.
        own, other, mask: ELBO weights of a token in its own state, in another one's, masked; per unit of m.
        time: dt/dm.
        clock: dt/dtau.
    """

    m: Time
    share: Time
    c: Time
    own: Time
    other: Time
    mask: Time
    time: Time
    clock: Time


class HybridNoise(Process):
    """V clean tokens, which are also noise, and the mask, state number V."""

    @property
    def num_states(self) -> int:
        """V + 1: the mask is the last state."""
        return self.vocab_size + 1

    @property
    def mask(self) -> int:
        """The mask's state number."""
        return self.vocab_size

    @abstractmethod
    def parts(self, t: Time) -> tuple[Time, Time, Time]:
        """Probability of clean, random and mask at time t; the noise without 1 - alpha, which cancels."""

    @abstractmethod
    def at(self, m: Time) -> Moment:
        """The noise of corruption probability m in (0, 1)."""

    def alpha(self, t: Time) -> Time:
        """Probability that a token is still clean."""
        return self.parts(t)[0]

    def nu(self, t: Time) -> Probabilities:
        """Evenly on the tokens, and on the mask."""
        _, random, mask = self.parts(t)
        each = (random / self.vocab_size)[..., None].expand(*random.shape, self.vocab_size)
        return torch.cat([each, mask[..., None]], -1)

    def grid(self, u: Time) -> Time:
        """t = sin^2(pi u / 2): o = tan(pi u / 2) in (1), whose sqrt(t) would spoil equal steps of t."""
        return torch.sin(math.pi / 2 * u).square()

    def entering(self, now: Sequence[float], then: Sequence[float]) -> list[list[float]]:
        """nu_t and nu_t - (alpha_t / alpha_s) nu_s of one token, and of the mask; from `parts` at t > s."""
        (alpha_t, random_t, mask_t), (alpha_s, random_s, mask_s) = now, then
        a, v = alpha_t / alpha_s, self.vocab_size
        return [[random_t / v, (random_t - a * random_s) / v], [mask_t, mask_t - a * mask_s]]

    def weight(self, moment: Moment, same: Chosen, masked: Chosen, weighting: Weighting) -> Time:
        """Of D in training, per unit of m (families/hybrid.py)."""
        elbo = torch.where(masked, moment.mask, torch.where(same, moment.own, moment.other))
        if weighting == "elbo":
            return elbo
        if weighting == "clip":
            return torch.minimum(elbo, moment.time)
        if weighting == "dynamic":
            return elbo * moment.clock
        token = torch.where(same, self.released(moment.m), 1)
        return moment.time * torch.where(masked, 2, token)

    def released(self, m: Time) -> Time:
        """What the released code trains x in state x with."""
        raise InputError("dynamic_as_released is a weight of the p_u form; with shift use dynamic")

    def due(self, times: Time) -> Time:
        """Mean chance of a position, at each step between falling `times`, that the network has a say in it.

        A mask must turn clean, a token move even if it has no support; a share of mask_t of them are masks.
        """
        (alpha, random, mask), now, then = self.parts(times), slice(-1), slice(1, None)
        a = alpha[now] / alpha[then]
        cleared = (mask[now] - a * mask[then]) * alpha[then]
        moved = (random[now] - a * random[then]) / random[now].where(random[now] > 0, 1)
        return cleared + (1 - mask[now]) * moved.clamp_max(1)

    def mean_parts(self) -> tuple[float, float, float]:
        """`parts` on average over t ~ U(0, 1), by the midpoint rule on the process's own grid."""
        u = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
        density = math.pi / 2 * torch.sin(math.pi * u)  # dt/du
        clean, random, mask = (float((part * density).mean()) for part in self.parts(self.grid(u)))
        return clean, random, mask

    def moment(self, m: Time, share: Time, token: Time, mask: Time, clock: Time) -> Moment:
        """From growths per unit of tau to weights per unit of m."""
        pace = m * (1 - m) * (share * token + (1 - share) * mask)  # dm/dtau
        c = self.vocab_size * (1 - m) / (m * share)
        other = token / pace
        return Moment(m, share, c, other / (1 + c), other, mask / pace, clock / pace, clock)


def divergence(s: Time, a: Time, b: Time, moment: Moment, same: Chosen, masked: Chosen) -> Time:
    """KL plus Itakura-Saito from s = sum_j log y_j, a = log y_x, b = log y_z, y_j = 1 + c x_hat_j.

    Eqs. (1) to (3) of families/hybrid.py. `same`: z is x; `masked`: z is the mask.
    """
    s, a, b = s.double(), a.double(), b.double()
    most = torch.log1p(moment.c)
    kl = (1 - moment.m) * (most - a + (most - s) / moment.c)
    log_r = torch.where(same, most - a, -b)
    return kl + torch.where(masked, 0, torch.expm1(log_r) - log_r)


class Corruption(NamedTuple):
    """Which tokens are corrupted, with what chance at random, at what m, and the weight of the rate in m."""

    moved: Chosen
    share: Time
    m: Time
    weight: Time


def shared_moment(
    process: HybridNoise, rng: Rows, length: int, observed: Chosen | None
) -> Corruption:
    """One moment for all tokens, when the k-th of them is corrupted (process/counts.py)."""
    moved, m, weight = jump_times(rng, length, observed)
    m, weight = (each[:, None].expand(moved.shape) for each in (m, weight))
    return Corruption(moved, process.at(m).share, m, weight)


def own_moments(
    process: HybridNoise, rng: Rows, length: int, observed: Chosen | None
) -> Corruption:
    """Every token i has a time t_i ~ U(0, 1) of its own (arXiv 2512.10858), which the network is not shown.

    So t_i matters to the loss of token i alone. States are drawn by their chances over all t; then m_i
    uniformly, with weight P(state | m_i) / P(state). As P(corrupted | m) = m, the 1/m of the rate is gone.
    """
    chances = torch.tensor(process.mean_parts(), dtype=torch.float64, device=rng.device)
    state, m = rng.uniform(2, length).unbind(1)
    kind = draw(chances.expand(*state.shape, 3), state)
    kind = kind if observed is None else kind.masked_fill(observed, 0)
    share = process.at(m).share
    likely = torch.stack([1 - m, m * share, m * (1 - share)], -1)
    return Corruption(kind > 0, (kind == 1).to(m), m, pick(likely / chances, kind))


@dataclass(frozen=True)
class Peaked(HybridNoise):
    """Eq. (1): the share of random tokens peaks at p_u; 0 is masked diffusion."""

    vocab_size: int
    p_u: float

    def __post_init__(self) -> None:
        if not (self.p_u == 0 or _LEAST_SHARE <= self.p_u < 1):
            raise InputError(f"p_u must be 0 or lie in [{_LEAST_SHARE:g}, 1), got {self.p_u}")

    @property
    def b(self) -> float:
        """B = 2 p_u / (1 - p_u)."""
        return 2 * self.p_u / (1 - self.p_u)

    def parts(self, t: Time) -> tuple[Time, Time, Time]:
        """1 - t : B sqrt(t (1 - t)) : t."""
        random = self.b * (t * (1 - t)).sqrt()
        whole = 1 + random
        return (1 - t) / whole, random / whole, t / whole

    def odds(self, m: Time) -> Time:
        """The o at which B o + o^2 = m / alpha."""
        e = m / (1 - m)
        return 2 * e / (self.b + (self.b**2 + 4 * e).sqrt())

    def at(self, m: Time) -> Moment:
        """s = B / (B + o); t = o^2 / (1 + o^2), so dt/dtau = 2 t (1 - t)."""
        o = self.odds(m)
        one = torch.ones_like(o)
        clock = 2 * (o / (1 + o.square())).square()
        return self.moment(m, self.b / (self.b + o), one, 2 * one, clock)

    def released(self, m: Time) -> Time:
        """Its log-SNR is sigmoid(-t), its V has the mask."""
        t = self.odds(m).square() / (1 + self.odds(m).square())
        return self.b / self.num_states * torch.exp(torch.sigmoid(-t) / 2)


@dataclass(frozen=True)
class Shifted(HybridNoise):
    """Eq. (2): random tokens down to a log-SNR of -shift, masks beyond."""

    vocab_size: int
    shift: float

    def __post_init__(self) -> None:
        if not abs(self.shift) <= _LARGEST_SHIFT:
            raise InputError(f"shift must lie within +-{_LARGEST_SHIFT:g}, got {self.shift}")

    def parts(self, t: Time) -> tuple[Time, Time, Time]:
        """1 - t : t s : t (1 - s)."""
        masks = t * math.exp(-self.shift)
        whole = 1 - t + masks
        return 1 - t, t * (1 - t) / whole, t * masks / whole

    def at(self, m: Time) -> Moment:
        """s = sigmoid(log SNR + shift); t = m, so dt/dtau = t (1 - t)."""
        share = 1 / (1 + m / (1 - m) * math.exp(-self.shift))
        return self.moment(m, share, share, 1 + share, m * (1 - m))


def hybrid_noise(vocab_size: int, p_u: float | None, shift: float | None) -> HybridNoise:
    """In the form that is given; p_u = 0.1 where neither is."""
    if p_u is not None and shift is not None:
        raise InputError("p_u and shift are two forms of the noise; give one of them")
    if shift is not None:
        return Shifted(vocab_size, shift)
    return Peaked(vocab_size, _P_U if p_u is None else p_u)
