r"""Gaussian noise on vectors of length 1 (VDM, arXiv 2107.00630; Plaid, 2305.18619).

    q(z_t | x) = N(alpha_t e(x), sigma_t^2 I),   alpha^2 = sigmoid(-gamma),  sigma^2 = sigmoid(gamma)     (1)

with gamma = log sigma^2 / alpha^2 rising from gamma_0 to gamma_1. With x_hat the predicted mean of e(x) in
E dimensions, -log p(x) is at most the sum of three terms (VDM, Eqs. 11, 13, 17), per token

    prior           KL(q(z_1 | x) || N(0, I)) = 1/2 [alpha_1^2 - E (alpha_1^2 + log sigma_1^2)]           (2)
    reconstruction  E[-log p(x | z_0)]                                                                (3)
    diffusion       int_0^1 E[1/2 e^-gamma gamma' |e(x) - x_hat(z_t)|^2] dt                           (4)

and nothing is left out: t = 0 is not clean, and (3) pays for the noise that is left there. For the exact
posterior mean, (4) is the information about x that z_0 has and z_1 has not (I-MMSE): whatever the ends of
gamma and the path between them, the sum is -log p(x) in the mean, but for what is lost at the ends, where
z_1 is taken for N(0, I) and the decoder takes positions one by one.

As |e(x)| = 1, log q(z_t | x) differs between tokens by (alpha / sigma^2) <z_t, e(x)> only.               (5)

*Steps* from t to s < t, with c = 1 - e^{gamma_s - gamma_t}:

    ancestral  z_s = (1 - c) alpha_s / alpha_t z_t + c alpha_s x_hat + sigma_s sqrt(c) eps            (6)
    ODE        z_s = sigma_s / sigma_t z_t + (alpha_s - alpha_t sigma_s / sigma_t) x_hat              (7)

(VDM, Eq. 33; DDIM, arXiv 2010.02502). (7) solves the probability-flow ODE for a constant x_hat. With x_hat
extrapolated from the step before to the middle of this one,

    x_hat + (x_hat - x_hat_before) (gamma_t - gamma_s) / 2 (gamma_before - gamma_t),                  (8)

it is of second order: DPM-Solver++(2M) (arXiv 2211.01095, Algorithm 2, where lambda = -gamma / 2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

Gamma = Float[Tensor, "..."]
Vector = Float[Tensor, "... E"]


def alpha(gamma: Gamma) -> Gamma:
    """Signal kept, Eq. (1)."""
    return torch.sigmoid(-gamma).sqrt()


def sigma(gamma: Gamma) -> Gamma:
    """Standard deviation of the noise, Eq. (1)."""
    return torch.sigmoid(gamma).sqrt()


def noised(vector: Vector, noise: Vector, gamma: Gamma) -> Vector:
    """z_t, Eq. (1)."""
    return alpha(gamma) * vector + sigma(gamma) * noise


def prior_nats(gamma_1: Gamma, width: int) -> Gamma:
    """Nats per token of starting from N(0, I), Eq. (2)."""
    signal = torch.sigmoid(-gamma_1)
    return 0.5 * (signal - width * (signal + logsigmoid(gamma_1)))


def diffusion_nats(gamma: Gamma, slope: Gamma, error: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The integrand of Eq. (4), for a squared distance `error`."""
    return 0.5 * (-gamma).exp() * slope * error


def evidence(z: Vector, gamma: Gamma) -> Vector:
    """What z says of its own token: its products with e(v) are log q(z | v) but for a constant, Eq. (5)."""
    return alpha(gamma) / sigma(gamma) ** 2 * z


def ancestral(z: Vector, x_hat: Vector, gamma_t: Gamma, gamma_s: Gamma, noise: Vector) -> Vector:
    """A draw of z_s from q(z_s | z_t, x_hat), Eq. (6)."""
    c = -torch.expm1(gamma_s - gamma_t)
    kept = (1 - c) * alpha(gamma_s) / alpha(gamma_t)
    return kept * z + c * alpha(gamma_s) * x_hat + sigma(gamma_s) * c.sqrt() * noise


def ode_step(z: Vector, x_hat: Vector, gamma_t: Gamma, gamma_s: Gamma) -> Vector:
    """z_s on the path of the probability-flow ODE with constant x_hat, Eq. (7)."""
    shrink = sigma(gamma_s) / sigma(gamma_t)
    return shrink * z + (alpha(gamma_s) - alpha(gamma_t) * shrink) * x_hat


def extrapolated(
    x_hat: Vector, before: Vector, gamma_before: Gamma, gamma_t: Gamma, gamma_s: Gamma
) -> Vector:
    """x_hat in the middle of the step from t to s, Eq. (8)."""
    ratio = (gamma_t - gamma_s) / (gamma_before - gamma_t)
    return x_hat + 0.5 * ratio * (x_hat - before)


def tempered(z: Vector, x_hat: Vector, gamma: Gamma, temperature: float) -> Vector:
    """x_hat with the score divided by `temperature`, as the released sampler of arXiv 2305.18619 does."""
    return (z - (z - alpha(gamma) * x_hat) / temperature) / alpha(gamma)


def guided(x_hat: Vector, pull: Vector, gamma: Gamma) -> Vector:
    """x_hat with `pull` added to the score: as score = (alpha x_hat - z) / sigma^2."""
    return x_hat + sigma(gamma) ** 2 / alpha(gamma) * pull


@dataclass
class Solver:
    """Steps along falling `gammas`: "ancestral", Eq. (6); "ddim", Eq. (7); "dpm", Eqs. (7) and (8)."""

    method: str
    _before: Vector | None = None

    def step(
        self, z: Vector, x_hat: Vector, gammas: Gamma, now: int, noise: Callable[[], Vector]
    ) -> Vector:
        """z at the noise level after that of number `now`; `noise` is asked for where the method has any."""
        if self.method == "ancestral":
            return ancestral(z, x_hat, gammas[now], gammas[now + 1], noise())
        middle = x_hat
        if self.method == "dpm" and self._before is not None:
            middle = extrapolated(x_hat, self._before, *gammas[now - 1 : now + 2])
        self._before = x_hat
        return ode_step(z, middle, gammas[now], gammas[now + 1])
