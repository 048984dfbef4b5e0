"""One surface of all families, for budgets too few to say where a family's loss levels off.

    ln L_i = ln(E_f + A_f / N_i^alpha_f + B_f / D_i^beta_f) + eps_i,     eps_i ~ N(0, sigma^2)     (1)

    alpha_f ~ N(a, .06^2),  beta_f ~ N(b, .06^2),  ln E_f ~ N(e, .25^2),  a, b ~ N(.35, .2^2)      (2)

Families may differ, but not by any amount: of 120 runs of four families (arXiv 2602.15014) alpha and beta
scatter by .06 and ln E by .25 about their means. The most probable constants minimize the squares of (1) and,
times sigma^2, those of (2); the latter are pseudo-runs of `newton.Terms`: three terms that are alike, so that
the logarithm of their sum is affine. sigma is where it equals what the residuals say (MacKay 1992):

    sigma^2 = sum r^2 / (n - gamma),     gamma = tr (H + sigma^2 P)^-1 H                           (3)

with the curvatures H of the runs and P of (2). Draws are randomized maxima: the runs with fresh noise, whose
scale n - gamma residuals leave uncertain, and the centers of (2) moved by their own widths; for a linear
law these are exact draws from the posterior.

Of the best sizes L* - E is a power law in C where C = 6 N D (`loss_surface`, Eq. 2), and next to one else.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from isodiff.scaling.fitting.newton import NAMES, Design, Terms, design, minimize
from isodiff.scaling.fitting.power_law import Array, PowerLaw, straight
from isodiff.scaling.laws.loss_surface import Cost, Surface
from isodiff.scaling.laws.parametric import Runs

_TIED = {"alpha": 0.09, "beta": 0.09, "log_e": 0.35}
"""Eq. (2): widths about the mean of all families."""
_MEANS = {"alpha": (0.35, 0.2), "beta": (0.35, 0.2)}
"""Eq. (2): of the means; that of ln E may be anything."""
_EXPONENTS, _SHARES = (0.2, 0.4, 0.7), (0.3, 0.6, 0.8)
"""Starts: exponents, and E's share of the loss."""
_ROUNDS, _SETTLED = 30, 1e-3
"""Of Eq. (3), and the relative change at which it is solved."""
_QUIET = 1e-6
"""sigma is never believed to be smaller."""
_SAMPLES = 9
"""Budgets at which the optimum is read for its power law."""


@dataclass(frozen=True)
class JointSurface:
    """Surfaces [1 + draws] of every family; row 0 is the most probable one.

    `freedom` is n - gamma, `scatter` sigma of Eq. (3).
    """

    surfaces: dict[str, Surface]
    costs: dict[str, Cost]
    scatter: float
    freedom: float

    def loss_law(self, name: str, log_c: Array) -> PowerLaw:
        """L*(C) = E + k C^p of a family, about the budgets ln C and a decade beyond either way."""
        surface, cost = self.surfaces[name], self.costs[name]
        at = np.linspace(log_c.min() - np.log(10), log_c.max() + np.log(10), _SAMPLES)
        above = surface.optimum(at, cost).nats - surface.irreducible[:, None]
        keep = np.isfinite(above) & (above > 0)
        rows = np.broadcast_to(at, above.shape)
        found = straight(rows, np.log(np.where(keep, above, 1.0)), keep)
        return PowerLaw(found.log_k, found.exponent, surface.irreducible)


def fit_joint_surface(
    families: Mapping[str, Runs], num: int, rng: np.random.Generator
) -> JointSurface | None:
    """The surface of all runs with `num` draws; None where runs cannot tell N from D, or have no optimum."""
    names = list(families)
    runs = [families[name] for name in names]
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
    sigma, freedom, best = 0.01, 1.0, _starts(law, runs)
    for _ in range(_ROUNDS):
        best = minimize(terms, best, target, _weights(n, width, sigma)).best[None]
        before, (sigma, freedom) = sigma, _noise(terms, best, target, width, n, sigma)
        if freedom < 1:
            return None
        if abs(sigma / before - 1) < _SETTLED:
            break
    scale = sigma * np.sqrt(freedom / rng.chisquare(freedom, size=(num, 1)))
    fresh = target + np.hstack([scale, np.ones((num, 1))])[:, (np.arange(len(target)) >= n) * 1] * (
        rng.standard_normal((num, len(target))) * np.concatenate([np.ones(n), width])
    )
    warm = np.repeat(best, num, axis=0)
    drawn = minimize(terms, warm, fresh, _weights(n, width, scale), tolerance=1e-9, calm=1).theta
    theta = np.vstack([best, drawn])
    surfaces = {name: Surface.of(law.of_family(theta, i)) for i, name in enumerate(names)}
    if any(surface.alpha[0] <= 0 or surface.beta[0] <= 0 for surface in surfaces.values()):
        return None
    costs = {name: own.cost for name, own in families.items()}
    return JointSurface(surfaces, costs, sigma, freedom)


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


def _weights(n: int, width: Array, sigma: float | Array) -> Array:
    """One for each run, sigma^2 over the squared width for each tie."""
    ties = np.broadcast_to(sigma, (np.size(sigma), 1)) ** 2 / width**2
    return np.hstack([np.ones((len(ties), n)), ties])


def _noise(
    terms: Terms, best: Array, target: Array, width: Array, n: int, sigma: float
) -> tuple[float, float]:
    """sigma and n - gamma of Eq. (3), from the curvature of Gauss and Newton."""
    values, shares = terms.log_nats(best)
    residual = (values - target)[0, :n]
    slopes = np.einsum("jn,jnk->nk", shares[:, 0], terms.x)
    runs = slopes[:n].T @ slopes[:n]
    ties = (slopes[n:] / width[:, None] ** 2).T @ slopes[n:]
    gamma = float(np.trace(np.linalg.pinv(runs + sigma**2 * ties) @ runs))
    freedom = n - gamma
    return max(float(np.sqrt(residual @ residual / max(freedom, 1e-9))), _QUIET), freedom


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
