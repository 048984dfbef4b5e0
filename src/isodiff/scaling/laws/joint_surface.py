"""One surface of all runs of all families, where budgets are too few to tell each family's laws by minima.

    ln L_i = ln(E_f + A_f / N_i^alpha_f + B_f / D_i^beta_f) + eps_i,     eps_i ~ N(0, sigma_f^2)     (1)

    alpha_f ~ N(a, .09^2),  beta_f ~ N(b, .09^2),  ln E_f ~ N(e, .35^2),  a, b ~ N(.35, .2^2)        (2)

Families may differ, but not by any amount: of 120 runs of four families (arXiv 2602.15014) alpha and beta
scatter by .06 and ln E by .25 about their means. The most probable constants minimize the squares of (1),
over sigma_f^2, and those of (2). The latter are pseudo-runs of `newton.Terms`: three terms that are alike, so
that the logarithm of their sum is affine. Of the n_f runs of a family gamma_f go into constants, with g_i the
slopes of run i and H the curvature of all squares; what is left tells sigma_f (MacKay 1992), where the mean
of all families counts as q = 4 runs more:

    gamma_f = sum_i g_i' H^-1 g_i / sigma_f^2,     s^2 = sum r^2 / sum (n_f - gamma_f),
    sigma_f^2 = (q s^2 + sum_i r_i^2) / (q + n_f - gamma_f)                                          (3)

Draws are randomized maxima: the runs with fresh noise, whose scales these residuals leave uncertain, and
with the error that runs of a family have in common (`bootstrap.common_errors`); the centers of (2) moved by
their own widths. For a linear law these are exact draws from the posterior.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.bootstrap import common_errors
from isodiff.scaling.fitting.newton import NAMES, Design, Terms, design, minimize
from isodiff.scaling.fitting.power_law import Array, Index, PowerLaw, straight
from isodiff.scaling.laws.loss_surface import Cost, Surface
from isodiff.scaling.laws.parametric import Runs

_TIED = {"alpha": 0.09, "beta": 0.09, "log_e": 0.35}
"""Eq. (2): widths about the mean of all families."""
_MEANS = {"alpha": (0.35, 0.2), "beta": (0.35, 0.2)}
"""Eq. (2): of the means; that of ln E may be anything."""
_ALIKE = 4.0
"""q of Eq. (3)."""
_EXPONENTS, _SHARES = (0.2, 0.4, 0.7), (0.3, 0.6, 0.8)
"""Starts: exponents, and E's share of the loss."""
_ROUNDS, _SETTLED = 30, 1e-3
"""Of Eq. (3), and the relative change at which it is solved."""
_QUIET = 1e-6
"""sigma is never believed to be smaller."""
_SAMPLES = 9
"""Budgets at which the optimum is read for its power laws."""


@dataclass(frozen=True)
class JointSurface:
    """Surfaces [1 + draws] of every family; row 0 is the most probable one.

    `freedom` is n_f - gamma_f, `scatter` sigma_f of Eq. (3).
    """

    surfaces: dict[str, Surface]
    costs: dict[str, Cost]
    scatter: dict[str, float]
    freedom: dict[str, float]

    def laws(self, name: str, log_c: Array) -> tuple[PowerLaw, PowerLaw, PowerLaw]:
        """N*, D*, L* = E + k C^p of a family about the budgets ln C, a decade beyond either way.

        Exact where C = 6 N D (`loss_surface`, Eq. 2), else within .5 % of L*.
        """
        surface = self.surfaces[name]
        at = np.linspace(log_c.min() - np.log(10), log_c.max() + np.log(10), _SAMPLES)
        best = surface.optimum(at, self.costs[name])
        above = best.nats - surface.irreducible[:, None]
        keep = np.isfinite(above) & (above > 0)
        rows = np.broadcast_to(at, above.shape)
        size, tokens = (
            straight(rows, np.where(keep, y, 0.0), keep) for y in (best.log_n, best.log_d)
        )
        loss = straight(rows, np.log(np.where(keep, above, 1.0)), keep)
        return size, tokens, PowerLaw(loss.log_k, loss.exponent, surface.irreducible)


def fit_joint_surface(
    families: Mapping[str, Runs], num: int, rng: np.random.Generator
) -> JointSurface | None:
    """The surface of all runs with `num` draws; None where runs cannot tell N from D, or have no optimum."""
    names, runs = list(families), list(families.values())
    owner = np.repeat(np.arange(len(runs)), [len(own.points) for own in runs])
    log_n, log_d, nats = (
        np.concatenate([getattr(own, key) for own in runs])
        for key in ("log_n", "log_d", "log_nats")
    )
    n, law = len(nats), design(log_n, log_d, owner)
    columns = np.column_stack([np.ones(n), log_n, log_d])
    if np.linalg.matrix_rank(columns - columns.mean(axis=0), tol=1e-6) < 2:
        return None
    terms, target, width = _with_ties(law, nats)
    sigma, best = np.full(len(runs), 0.01), _starts(law, runs)
    squares, freedom = sigma, sigma
    for _ in range(_ROUNDS):
        deviations = np.concatenate([sigma[owner], width])
        best = minimize(terms, best, target, _weights(deviations)).best[None]
        squares, freedom = _left_over(terms, best, target, deviations, owner)
        if freedom.sum() < 1:
            return None
        before, sigma = sigma, _scatter(squares, freedom, freedom.sum(), _ALIKE + freedom)
        if np.abs(sigma / before - 1).max() < _SETTLED:
            break
    drawn_scatter = _scatter(
        squares,
        freedom,
        rng.chisquare(freedom.sum(), size=(num, 1)),
        rng.chisquare(_ALIKE + freedom, size=(num, len(runs))),
    )
    deviations = np.hstack([drawn_scatter[:, owner], np.broadcast_to(width, (num, len(width)))])
    fresh = target + deviations * rng.standard_normal(deviations.shape)
    common = [common_errors(own.points, num, rng) / np.exp(own.log_nats) for own in runs]
    fresh[:, :n] += np.hstack(common)
    warm = np.repeat(best, num, axis=0)
    drawn = minimize(terms, warm, fresh, _weights(deviations), tolerance=1e-9, calm=1).theta
    theta = np.vstack([best, drawn])
    surfaces = {name: Surface.of(law.of_family(theta, i)) for i, name in enumerate(names)}
    if any(surface.alpha[0] <= 0 or surface.beta[0] <= 0 for surface in surfaces.values()):
        return None
    return JointSurface(
        surfaces,
        {name: own.cost for name, own in families.items()},
        dict(zip(names, sigma.tolist(), strict=True)),
        dict(zip(names, freedom.tolist(), strict=True)),
    )


def _with_ties(law: Design, nats: Array) -> tuple[Terms, Array, Array]:
    """Runs and the pseudo-runs of Eq. (2), three columns for the means; targets; widths of the latter."""
    k = law.num_parameters
    rows, centers, widths = [], [], []
    for mean, (name, width) in enumerate(_TIED.items(), start=k):
        for column in law.columns[:, NAMES.index(name)]:
            row = np.zeros(k + len(_TIED))
            row[column], row[mean] = 1.0, -1.0
            rows, centers, widths = [*rows, row], [*centers, 0.0], [*widths, width]
        if name in _MEANS:
            center, width = _MEANS[name]
            row = np.zeros(k + len(_TIED))
            row[mean] = 1.0
            rows, centers, widths = [*rows, row], [*centers, center], [*widths, width]
    x = np.pad(law.terms.x, ((0, 0), (0, 0), (0, len(_TIED))))
    alike = np.broadcast_to(np.array(rows), (3, len(rows), x.shape[2]))
    target = np.concatenate([nats, np.array(centers) + np.log(3)])
    return Terms(np.concatenate([x, alike], axis=1), np.inf), target, np.array(widths)


def _weights(deviations: Array) -> Array:
    """1 / deviation^2, the largest 1: objectives keep their scale."""
    return (deviations.min(axis=-1, keepdims=True) / deviations) ** 2


def _left_over(
    terms: Terms, best: Array, target: Array, deviations: Array, owner: Index
) -> tuple[Array, Array]:
    """Squared residuals and n_f - gamma_f of each family, with the curvature of Gauss and Newton."""
    values, shares = terms.log_nats(best)
    slopes = np.einsum("jn,jnk->nk", shares[:, 0], terms.x) / deviations[:, None]
    leverage = np.einsum("nk,kl,nl->n", slopes, np.linalg.pinv(slopes.T @ slopes), slopes)
    n = len(owner)
    residual = (values - target)[0, :n]
    of_family = (owner == np.arange(owner.max() + 1)[:, None]).astype(np.float64)
    return of_family @ residual**2, of_family @ (1 - leverage[:n])


def _scatter(squares: Array, freedom: Array, of_all: float | Array, of_each: Array) -> Array:
    """sigma_f of Eq. (3), or draws of it, with chi^2 in place of the degrees of freedom."""
    common = squares.sum() / of_all
    return np.maximum(np.sqrt((_ALIKE * common + squares) / of_each), _QUIET)


def _starts(law: Design, runs: list[Runs]) -> Array:
    """Exponents and shares of E on a lattice, the same for all families; each at its own mean loss."""
    middles = np.array([own.log_nats.mean() for own in runs])
    rows = []
    for alpha, beta, share in itertools.product(_EXPONENTS, _EXPONENTS, _SHARES):
        row = np.zeros(law.num_parameters + len(_TIED))
        part = np.log((1 - share) / 2)
        for place, middle in zip(law.columns, middles, strict=True):
            row[place] = middle + part, alpha, middle + part, beta, middle + np.log(share)
        row[-len(_TIED) :] = alpha, beta, middles.mean() + np.log(share)
        rows.append(row)
    return np.array(rows)
