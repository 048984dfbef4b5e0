r"""Which runs to train next: those after which the verdict will be surest, for the compute there is.

A verdict is about one number q at the target budget C: by how much the first family is ahead of the one that
may overtake it (`lead`, nats), or ln of the compute that a family needs over what autoregressive needs for
the same loss (`multiplier`). The parametric law of each family comes with replicates; each gives q, and the
log loss y_i of every run that could be trained (`candidates`). Taken as jointly Gaussian over replicates with
covariance S, the loss of run i, which scatters by sigma_i about the law, leaves, whatever it comes out as,

    S' = S - S_i S_i' / (S_ii + sigma_i^2),                                                         (1)
    Var'(q) = Var(q) - Cov(q, y_i)^2 / (Var(y_i) + sigma_i^2).                                      (2)

Replicates redraw the noise of the runs there are (`resample`, residual): what counts is which runs a law
rests on, not which of them happened to lie off it. Huber's loss makes less of a run than least squares would:
with psi = rho' and the scatter s of the residuals, taken as normal (Huber, 1964),

    sigma^2 = E psi^2 / (E psi')^2 nu / (nu - 2),   from s^2 (s << delta) to pi/2 s^2 (s >> delta),   (3)

where nu residuals beyond the parameters leave s as uncertain as the replicates have it. Runs are chosen one
after the other, S updated in between (greedily, as in sequential optimal design), within the compute allowed:
by the fall of Var(q); by its fall per FLOP; and by the fall among runs that cost no more than an even share.
The set that ends lowest is proposed (Leskovec et al., KDD 2007: either of the first two alone can be
arbitrarily bad, the better of both is not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.bootstrap import FEWEST
from isodiff.scaling.candidates import REACH, Candidate, budgets_to_try, candidates, ratios
from isodiff.scaling.huber import DELTA
from isodiff.scaling.isoflop import REFERENCE
from isodiff.scaling.parametric import FamilyFit, fit_parametric
from isodiff.scaling.points import Point, Points, by_family
from isodiff.scaling.power import Array
from isodiff.scaling.terms import NAMES

Verdict = Literal["lead", "multiplier"]
REPLICATES = 1000
FARTHEST = 25.0
"""ln of the largest multiplier that is looked for."""
GRID = 64
"""Sizes among which the best is sought."""


@dataclass(frozen=True, slots=True)
class Question:
    """q of a verdict: [1 + replicates], row 0 as fitted, and the families it compares."""

    verdict: Verdict
    first: str
    second: str
    samples: Array

    @property
    def error(self) -> float:
        """Its standard error over the replicates that have it."""
        return float(np.nanstd(self.samples[1:], ddof=1))


@dataclass(frozen=True, slots=True)
class Pick:
    """A run proposed: the standard error of q expected after it, and why it is this one.

    Attributes:
        correlation: of its log loss with q, given the runs picked before.
        known: standard error of its log loss, given the runs picked before.
        noise: sigma, what a run of its family counts as scattering about the law.
    """

    run: Candidate
    error: float
    correlation: float
    known: float
    noise: float

    def to_json(self) -> dict[str, Any]:
        """Its numbers."""
        why = {"correlation": self.correlation, "known": self.known, "noise": self.noise}
        return {**self.run.to_json(), "error_after": self.error, **why}


@dataclass(frozen=True, slots=True)
class Proposal:
    """Runs to train next, and what is known before."""

    question: Question
    target: float
    allowance: float
    picks: tuple[Pick, ...]
    num_candidates: int
    replicates: int
    data: Points
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        asked, value = self.question, float(self.question.samples[0])
        after = self.picks[-1].error if self.picks else asked.error
        return {
            "verdict": asked.verdict,
            "families": [asked.first, asked.second],
            "target": self.target,
            "value": value,
            "error": asked.error,
            "error_after": after,
            "confidence": confidence(value, asked.error),
            "confidence_after": confidence(value, after),
            "allowance": self.allowance,
            "flops": sum(pick.run.flops for pick in self.picks),
            "runs": [pick.to_json() for pick in self.picks],
            "candidates": self.num_candidates,
            "reach": REACH,
            "replicates": self.replicates,
            "source": self.data.source,
            "flops_convention": self.data.flops,
            "parameters_convention": self.data.parameters,
            "warnings": [*self.data.warnings, *self.warnings],
        }


def confidence(value: float, error: float) -> float:
    """Chance that q is positive."""
    return NormalDist().cdf(value / error) if error else float(value > 0)


def next_runs(
    points: Points | Sequence[Point],
    num: int,
    *,
    verdict: Verdict = "lead",
    target: float | None = None,
    allowance: float | None = None,
    cores: Mapping[str, float] | None = None,
    bootstrap: int = REPLICATES,
    seed: int = 0,
) -> Proposal:
    """At most `num` runs, in order of importance.

    `target` is the largest budget of the points by default, `allowance` (FLOPs of all runs together) `num`
    times that. `cores` has the block parameters of runs by id; with it, sizes are those of the ladder.

    Raises:
        InputError: fewer than two families with a law, no autoregressive one where the verdict needs it, or
            an allowance that buys nothing.
    """
    data, named = by_family(points)
    largest = max(point.budget for point in data.points)
    target = largest if target is None else target
    allowance = num * largest if allowance is None else allowance
    check(num, target, allowance, bootstrap)
    fits, warnings = fitted(data, named, bootstrap, seed)
    asked = question(fits, verdict, target)
    compared = [fits[name] for name in (asked.first, asked.second)]
    budgets = budgets_to_try(data.points)
    tried = [c for fit in compared for c in candidates(fit.name, fit.runs, budgets, cores or {})]
    tried = [candidate for candidate in tried if candidate.flops <= allowance]
    if not tried:
        raise InputError(
            f"{allowance:.3g} FLOPs buy no run worth considering; the cheapest budget of these runs is "
            f"{budgets[0]:.3g}"
        )
    sigma = np.array([noise_of_a_run(fits[one.family]) for one in tried])
    rows = np.vstack([asked.samples, *(losses(fits[one.family], one) for one in tried)])
    sound = np.isfinite(rows[:, 1:]).all(axis=0)
    if sound.sum() < FEWEST:
        raise InputError(
            "the laws of too few replicates say anything at the target; add runs first"
        )
    covariance = np.cov(rows[:, 1:][:, sound])
    picks = best_picks(covariance, sigma, tried, num, allowance)
    asked = replace(asked, samples=rows[0][np.append(True, sound)])
    return Proposal(
        asked, target, allowance, picks, len(tried), int(sound.sum()), data, tuple(warnings)
    )


def check(num: int, target: float, allowance: float, bootstrap: int) -> None:
    """Whether what is asked for makes sense."""
    if num < 1:
        raise InputError(f"--next is {num}; give 1 or more")
    if bootstrap < FEWEST:
        raise InputError(
            f"--bootstrap is {bootstrap}; a proposal needs {FEWEST} replicates or more"
        )
    for name, value in (("--budget", target), ("--budget-left", allowance)):
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be a positive number of FLOPs")


def fitted(
    data: Points, named: Mapping[str, list[Point]], bootstrap: int, seed: int
) -> tuple[dict[str, FamilyFit], list[str]]:
    """The families that have a law, and why others have none."""
    fits, without = {}, []
    for own in named.values():
        try:
            fits |= fit_parametric(
                own, bootstrap=bootstrap, seed=seed, resampling="residual"
            ).families
        except InputError as error:
            without.append(f"no law: {error}")
    if len(fits) < 2:
        why = f"; {without[0]}" if without else ""
        raise InputError(
            f"{data.source}: a verdict compares two families, and {len(fits)} of {len(named)} "
            f"{'has' if len(fits) == 1 else 'have'} a law{why}"
        )
    return fits, without


def question(fits: Mapping[str, FamilyFit], verdict: Verdict, target: float) -> Question:
    """What the verdict is about: the leader and its likeliest rival, or the best family and the reference."""
    log_c = np.log([target])
    best = {name: best_nats(fit, log_c) for name, fit in fits.items()}
    ranking = sorted(best, key=lambda name: best[name][0])
    if verdict == "lead":
        leads = [
            Question("lead", ranking[0], name, best[name] - best[ranking[0]])
            for name in ranking[1:]
        ]
        return min(leads, key=lambda one: one.samples[0] / max(one.error, 1e-300))
    if REFERENCE not in fits:
        raise InputError(f"no law of {REFERENCE} to compare with; --verdict lead needs none")
    first = next(name for name in ranking if name != REFERENCE)
    needed = log_compute(fits[REFERENCE], best[first], target)
    return Question("multiplier", first, REFERENCE, log_c[0] - needed)


def best_nats(fit: FamilyFit, log_c: Array) -> Array:
    """Lowest loss at ln C [1 or 1 + replicates] of each replicate, among the sizes that candidates may have.

    Not at the law's own optimum: where few runs leave that to chance, it lies at sizes nobody would train.
    """
    log_r = np.linspace(*ratios(fit.runs), GRID)
    x = np.linspace(fit.runs.log_n.min() - FARTHEST, fit.runs.log_n.max() + FARTHEST, 100 * GRID)
    log_nd = x + fit.runs.cost.log(x)  # C = c(N) D = N c(N) r
    real = np.isfinite(log_nd)
    log_n = np.interp(log_c[:, None] - log_r, log_nd[real], x[real])
    return fit.surface.nats(log_n, log_n + log_r).min(axis=1)


def log_compute(fit: FamilyFit, nats: Array, target: float) -> Array:
    """ln C at which each replicate reaches its row of `nats`; NaN where it never does."""
    low, high = (np.full(len(nats), np.log(target) + side) for side in (-FARTHEST, FARTHEST))
    reached = best_nats(fit, high) <= nats
    for _ in range(60):
        middle = (low + high) / 2
        short = best_nats(fit, middle) > nats
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(reached, (low + high) / 2, np.nan)


def losses(fit: FamilyFit, run: Candidate) -> Array:
    """ln L of a run in every replicate: [1 + replicates]."""
    log_n, log_d = np.log([run.parameters]), np.log([run.tokens])
    return np.log(fit.surface.nats(log_n, log_d)[:, 0])


def scatter(fit: FamilyFit) -> float:
    """What runs scatter about their law, in log loss."""
    residuals = fit.residuals
    return float(np.sqrt(residuals @ residuals / (len(residuals) - len(NAMES))))


def noise_of_a_run(fit: FamilyFit) -> float:
    """sigma of Eq. (3)."""
    free = len(fit.residuals) - len(NAMES)
    spread = scatter(fit)
    if not spread:
        return 0.0
    normal, k = NormalDist(), DELTA / spread
    inside = 2 * normal.cdf(k) - 1
    psi = spread**2 * (inside - 2 * k * normal.pdf(k)) + DELTA**2 * (1 - inside)
    return float(np.sqrt(psi * free / max(free - 2, 1)) / inside)


def best_picks(
    covariance: Array, sigma: Array, tried: Sequence[Candidate], num: int, allowance: float
) -> tuple[Pick, ...]:
    """The best of three greedy choices; row 0 of the covariance is q, the others the candidates."""
    price = np.array([one.flops for one in tried])
    ways = [
        greedy(covariance, sigma, price, num, allowance, per=price**0, even=False),
        greedy(covariance, sigma, price, num, allowance, per=price, even=False),
        greedy(covariance, sigma, price, num, allowance, per=price**0, even=True),
    ]
    best = min(ways, key=lambda found: found[-1][1] if found else np.inf)
    return tuple(
        Pick(tried[i], error, correlation, known, float(sigma[i]))
        for i, error, correlation, known in best
    )


def greedy(
    covariance: Array,
    sigma: Array,
    price: Array,
    num: int,
    allowance: float,
    *,
    per: Array,
    even: bool,
) -> list[tuple[int, float, float, float]]:
    """Candidates with the largest fall of Var(q) over `per`, one after the other: Eq. (2), then Eq. (1).

    With `even` no run costs more than its share of what is left. Of each: its index, the error of q after it,
    its correlation with q and its own error before it.
    """
    s, left = covariance, allowance
    found: list[tuple[int, float, float, float]] = []
    for taken in range(num):
        seen = np.diag(s)[1:] + sigma**2
        fall = np.divide(s[0, 1:] ** 2, seen, out=np.zeros_like(seen), where=seen > 0)
        most = left / (num - taken) if even else left
        worth = np.where(price <= most * (1 + 1e-9), fall / per, 0.0)
        i = int(worth.argmax())
        if not worth[i] > 0:
            break
        q, known = (float(np.sqrt(max(s[j, j], 0.0))) for j in (0, i + 1))
        correlation = float(s[0, i + 1]) / max(known * q, 1e-300)
        s, left = updated(s, i + 1, float(sigma[i])), left - price[i]
        found.append((i, float(np.sqrt(max(s[0, 0], 0.0))), correlation, known))
    return found


def updated(covariance: Array, i: int, sigma: float) -> Array:
    """Eq. (1): what is left after seeing entry i with noise sigma."""
    column = covariance[:, i]
    return covariance - np.outer(column, column) / (column[i] + sigma**2)
