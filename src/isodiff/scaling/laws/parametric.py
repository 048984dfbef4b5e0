"""The parametric law E + A/N^alpha + B/D^beta of each family (approach 3 of arXiv 2203.15556).

Huber's loss of log loss, summed (`huber`), minimized from many starts (`_starts`); replicates
(`resample`) are refitted from the best, all at once. Arrays are [1 + replicates]: row 0 is the fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from isodiff.errors import InputError
from isodiff.record import Kind
from isodiff.scaling.fitting.bootstrap import (
    Resampling,
    check_options,
    common_errors,
    noise,
    weights,
)
from isodiff.scaling.fitting.newton import NAMES, Design, design, minimize
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.law import Draws, Fit, Ranges, Span, generator
from isodiff.scaling.laws.loss_surface import Cost, Surface, fit_cost
from isodiff.scaling.points import Point, Points, by_family

_EXPONENTS = (0.15, 0.4, 0.8, 1.5)
_SHARES = tuple(itertools.product((0.3, 0.6, 0.9), (0.25, 0.5, 0.75)))
"""Of the loss at the middle of the points: E's share, and A's of the rest."""
_THINNED = 500
"""Runs that the starts are tried on, where there are more; the best ends then go on with all."""
_FINALISTS = 5
_SAME = 1e-6
"""Starts that end within this relative distance of the best objective found the optimum."""
LOOSE = 1e-9
"""Relative gain below which a replicate is done."""


@dataclass(frozen=True)
class Runs:
    """The runs of one family as arrays [points], in the order of `points`."""

    points: tuple[Point, ...]

    def log(self, quantity: str) -> Array:
        """ln of a quantity of every run."""
        return np.log([getattr(point, quantity) for point in self.points])

    @cached_property
    def log_n(self) -> Array:
        """ln N."""
        return self.log("parameters")

    @cached_property
    def log_d(self) -> Array:
        """ln D."""
        return self.log("tokens")

    @cached_property
    def log_nats(self) -> Array:
        """ln L."""
        return self.log("nats")

    @cached_property
    def cost(self) -> Cost:
        """FLOPs per token."""
        return fit_cost(self.log_n, self.log_d, self.log("flops"))

    @cached_property
    def design(self) -> Design:
        """The law's terms at these runs."""
        return design(self.log_n, self.log_d)

    def keep(self, chosen: Sequence[bool] | np.ndarray) -> Runs:
        """The chosen runs."""
        return Runs(tuple(p for p, kept in zip(self.points, chosen, strict=True) if kept))

    @property
    def ranges(self) -> Ranges:
        """Smallest and largest C, N and D."""

        def span(quantity: str) -> Span:
            values = self.log(quantity)
            return float(np.exp(values.min())), float(np.exp(values.max()))

        return Ranges(C=span("flops"), N=span("parameters"), D=span("tokens"))

    def check(self, name: str) -> None:
        """Whether these runs can say anything of five parameters.

        Raises:
            InputError: they cannot, and why.
        """
        k = len(NAMES)
        if len(self.points) <= k:
            raise InputError(
                f"{name} has {len(self.points)} runs; a law of {k} parameters needs {k + 1} at least"
            )
        columns = np.column_stack([np.ones(len(self.points)), self.log_n, self.log_d])
        if np.linalg.matrix_rank(columns - columns.mean(axis=0), tol=1e-6) < 2:
            raise InputError(
                f"{name} has one budget only (or one size, or one number of tokens): N and D move "
                "together, so their terms cannot be told apart; add runs at another budget"
            )


@dataclass(frozen=True)
class ParametricFamilyFit:
    """The parametric law of one family; `theta` [1 + replicates, 5] in the centered form."""

    name: str
    runs: Runs
    theta: Array
    objective: float
    starts: int
    agreeing: int
    bootstrap: int
    seed: int

    @property
    def kind(self) -> Kind | None:
        """Of its losses."""
        return self.runs.points[0].kind

    @cached_property
    def surface(self) -> Surface:
        """The law and its replicates."""
        return Surface.of(self.runs.design.of_family(self.theta, 0))

    @cached_property
    def residuals(self) -> Array:
        """ln L_i - ln of the law."""
        return self.runs.log_nats - self.runs.design.terms.log_nats(self.theta[:1])[0][0]

    @cached_property
    def middle(self) -> float:
        """ln C in the middle of the runs, where exponents are given if they vary."""
        log_c = self.runs.log("flops")
        return float(log_c.min() + log_c.max()) / 2

    def exponents(self) -> tuple[Array, Array]:
        """Of N* and D* in C: [1 + replicates] each."""
        return self.surface.exponents(self.middle, self.runs.cost)

    def new_runs(self, log_nats: Array) -> Array:
        """Losses of law replicates [1 + replicates, points] with the noise of a run added."""
        rng = generator(self.seed, self.name, "new runs")
        fresh = noise(self.residuals, len(NAMES), log_nats[1:].shape, rng)
        return np.vstack([log_nats[:1], log_nats[1:] + fresh])


@dataclass(frozen=True)
class ParametricFit(Fit):
    """The parametric law of every family, and what was asked for."""

    law: ClassVar = "parametric"

    families: dict[str, ParametricFamilyFit]
    resampling: Resampling

    def numbers(self) -> dict[str, dict[str, float | None]]:
        """Constants and exponents."""
        return {
            name: {
                "E": float(family.surface.irreducible[0]),
                "alpha": float(family.surface.alpha[0]),
                "beta": float(family.surface.beta[0]),
                "N_exponent": float(family.exponents()[0][0]),
                "D_exponent": float(family.exponents()[1][0]),
            }
            for name, family in self.families.items()
        }


def fit_parametric(
    points: Points | Sequence[Point],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    resampling: Resampling = "case",
) -> ParametricFit:
    """Fit the parametric law to each family; a family's numbers depend on no other.

    Raises:
        InputError: no points, too few of a family, one budget only, or mixed kinds of loss.
    """
    data, named = by_family(points)
    check_options(bootstrap, seed)
    families = {
        name: fit_parametric_family(name, Runs(ordered(own)), bootstrap, seed, resampling)
        for name, own in named.items()
    }
    return ParametricFit(data, bootstrap, seed, families, resampling)


def ordered(points: Sequence[Point]) -> tuple[Point, ...]:
    """An order that the caller's does not change: replicates are drawn by position."""
    return tuple(sorted(points, key=lambda p: (p.flops, p.parameters, p.tokens, p.nats, p.id)))


def fit_parametric_family(
    name: str, runs: Runs, bootstrap: int, seed: int, resampling: Resampling = "case"
) -> ParametricFamilyFit:
    """The law of one family with its replicates."""
    runs.check(name)
    terms, y = runs.design.terms, runs.log_nats
    few = runs.keep(np.arange(len(y)) % max(1, len(y) // _THINNED) == 0)
    begun = _starts(few)
    found = minimize(few.design.terms, begun, few.log_nats)
    agreeing = int((found.objective <= found.objective.min() * (1 + _SAME) + 1e-15).sum())
    if few.points != runs.points:
        ends = few.design.of_family(found.theta[np.argsort(found.objective)[:_FINALISTS]], 0)
        again = np.array([runs.design.from_families([end]) for end in ends])
        found = minimize(terms, again, y)
    best, objective = found.best, float(found.objective.min())
    check_falling(name, best)
    again = replicate(runs, best, bootstrap, generator(seed, name, resampling), resampling)
    theta = np.vstack([best[None], again])
    return ParametricFamilyFit(name, runs, theta, objective, len(begun), agreeing, bootstrap, seed)


def check_falling(name: str, theta: Array) -> None:
    """Whether a fitted law has an optimum.

    Raises:
        InputError: its loss does not fall with N or with D.
    """
    for place, quantity in ((1, "size"), (3, "tokens")):
        if theta[place] <= 0:
            raise InputError(
                f"the loss of {name} does not fall with {quantity} in these runs, so there is no "
                "optimum; add runs over a wider range"
            )


def falling(names: Sequence[str], theta: Array) -> Draws:
    """The replicates whose terms fall with N and with D; others have no optimum."""
    return Draws.of(names, theta[(theta[:, 1] > 0) & (theta[:, 3] > 0)])


def replicate(
    runs: Runs, best: Array, num: int, rng: np.random.Generator, resampling: Resampling
) -> Array:
    """The law fitted again to `num` replicates of the runs, from the best fit: [num, 5]."""
    terms, y = runs.design.terms, runs.log_nats
    warm = np.repeat(best[None], num, axis=0)
    if not num:
        return warm
    if resampling == "case":
        drawn = weights(len(y), num, rng)
        fresh = y + common_errors(runs.points, num, rng) / np.exp(y)
        return minimize(terms, warm, fresh, drawn, tolerance=LOOSE, calm=1).theta
    fitted = terms.log_nats(best[None])[0][0]
    fresh = fitted + noise(y - fitted, len(NAMES), (num, len(y)), rng)
    fresh += common_errors(runs.points, num, rng) / np.exp(y)
    return minimize(terms, warm, fresh, tolerance=LOOSE, calm=1).theta


def _starts(runs: Runs) -> Array:
    """A lattice of exponents and of shares of the loss."""
    middle = float(runs.log_nats.mean())
    lattice = [
        [
            middle + np.log((1 - e) * a),
            alpha,
            middle + np.log((1 - e) * (1 - a)),
            beta,
            middle + np.log(e),
        ]
        for alpha, beta, (e, a) in itertools.product(_EXPONENTS, _EXPONENTS, _SHARES)
    ]
    return np.array(lattice)
