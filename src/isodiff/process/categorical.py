r"""Interpolating categorical processes.

Every token is corrupted independently towards a mixing distribution,

    q(z_t | x) = alpha_t x + nu_t,        nu_t = (1 - alpha_t) pi_t,                          (1)

with alpha_0 = 1 (clean). A process is the pair (alpha, nu); the rest follows. For s < t and
a = alpha_t / alpha_s,

    q(z_t | z_s)    = a z_s + nu_t - a nu_s,                                                  (2)
    q(z_s | z_t, x) = q(z_t | z_s) q(z_s | x) / q(z_t | x),                                   (3)
    rho_t           = nu_t' - (alpha_t' / alpha_t) nu_t,                                      (4)

where rho_t(j) is the rate of the forward jump to state j. The reverse jump z -> j has rate
rho_t(z) q_t(j | x) / q_t(z | x), so predicting x_hat in place of x costs, per unit of time,

    rho_t(z) sum_{j != z} [r_hat_j - r_j + r_j log(r_j / r_hat_j)],                           (5)

with r_j = q_t(j | x) / q_t(z | x) and r_hat_j likewise: the integrand of the continuous-time NELBO.
It is the slow oracle (B L S memory). MDLM (arXiv 2406.07524), UDLM (2412.10193), Duo (2506.10892)
and GIDD (2503.04482) each print a special case; tests tie them to Eq. (5).

For uniform noise the best x_hat is the leave-one-out posterior p(x_i | z without z_i), not
E[x_i | z]; for masks the two coincide.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch.func import jvp
from torch.nn.functional import one_hot, pad

from isodiff.categorical import pick
from isodiff.process.schedule import Linear, Schedule
from isodiff.types import CleanProbabilities, Probabilities, State, Time


class Process(ABC):
    """Forward noise over `num_states` states, the first `vocab_size` of them clean."""

    vocab_size: int

    @property
    @abstractmethod
    def num_states(self) -> int:
        """S: clean tokens plus the process's own states."""

    @abstractmethod
    def alpha(self, t: Time) -> Time:
        """Probability that a token is still clean at time t."""

    @abstractmethod
    def nu(self, t: Time) -> Probabilities:
        """Mass (1 - alpha_t) pi_t that the noise puts on each state."""

    def grid(self, u: Time) -> Time:
        """Times at which equal steps of u in [0, 1] make a first-order sampler."""
        return u

    def marginal(self, x: CleanProbabilities, t: Time) -> Probabilities:
        """q(z_t | x), Eq. (1). Linear in x, so x may be a prediction."""
        clean = pad(x, (0, self.num_states - self.vocab_size))
        return self.alpha(t)[..., None] * clean + self.nu(t)

    def posterior(self, z: State, x: CleanProbabilities, s: Time, t: Time) -> Probabilities:
        """q(z_s | z_t, x), Eq. (3). Needs s < t; exact at s = 0 and t = 1."""
        a = (self.alpha(t) / self.alpha(s))[..., None]
        stay = one_hot(z, self.num_states)
        enter = pick(self.nu(t) - a * self.nu(s), z)[..., None]
        joint = (a * stay + enter) * self.marginal(x, s)
        return joint / joint.sum(-1, keepdim=True)

    def jump_rate(self, t: Time) -> Probabilities:
        """rho_t, Eq. (4), per unit of time."""
        t = t.clone()  # forward-mode differentiation refuses expanded tensors
        one = torch.ones_like(t)
        d_alpha = jvp(self.alpha, (t,), (one,))[1]
        d_nu = jvp(self.nu, (t,), (one,))[1]
        return d_nu - (d_alpha / self.alpha(t))[..., None] * self.nu(t)

    def nelbo_rate(self, x: State, x_hat: CleanProbabilities, z: State, t: Time) -> Time:
        """Nats per token per unit of time, Eq. (5)."""
        clean = one_hot(x, self.vocab_size).to(x_hat)
        q, q_hat = self.marginal(clean, t), self.marginal(x_hat, t)
        r, r_hat = q / pick(q, z)[..., None], q_hat / pick(q_hat, z)[..., None]
        # j = z adds 0 (both ratios are 1), so the sum may run over every state.
        divergence = r_hat - r + torch.xlogy(r, r) - torch.xlogy(r, r_hat)
        return pick(self.jump_rate(t), z) * divergence.sum(-1)


@dataclass(frozen=True)
class Absorbing(Process):
    """Masked diffusion: pi is the mask, state number `vocab_size`."""

    vocab_size: int
    schedule: Schedule = field(default_factory=Linear)

    @property
    def num_states(self) -> int:
        """V + 1: the mask is the last state."""
        return self.vocab_size + 1

    @property
    def mask(self) -> int:
        """The mask's state number."""
        return self.vocab_size

    def alpha(self, t: Time) -> Time:
        """The schedule's alpha."""
        return self.schedule.alpha(t)

    def nu(self, t: Time) -> Probabilities:
        """1 - alpha_t on the mask."""
        return pad((1 - self.alpha(t))[..., None], (self.vocab_size, 0))


@dataclass(frozen=True)
class UniformState(Process):
    """Uniform-state diffusion: pi is uniform over the clean vocabulary, x itself included."""

    vocab_size: int
    schedule: Schedule = field(default_factory=Linear)

    @property
    def num_states(self) -> int:
        """V: noise is made of ordinary tokens."""
        return self.vocab_size

    def alpha(self, t: Time) -> Time:
        """The schedule's alpha."""
        return self.schedule.alpha(t)

    def nu(self, t: Time) -> Probabilities:
        """(1 - alpha_t) / V on every token."""
        level = (1 - self.alpha(t)) / self.vocab_size
        return level[..., None].expand(*level.shape, self.vocab_size)

    def prior_nats(self) -> float:
        """KL(q(z_1 | x) || uniform) per token: zero where the schedule reaches alpha_1 = 0."""
        v = self.vocab_size
        alpha = float(self.alpha(torch.ones((), dtype=torch.float64)))
        if alpha == 0:
            return 0.0
        own = alpha + (1 - alpha) / v
        other = torch.tensor((1 - alpha), dtype=torch.float64)
        rest = (1 - 1 / v) * torch.xlogy(other, other)
        return float(own * torch.tensor((v - 1) * alpha, dtype=torch.float64).log1p() + rest)
