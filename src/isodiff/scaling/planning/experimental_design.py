r"""Which runs to train next: those after which the verdict will be surest, for the compute there is.

A verdict is about one number q at the target budget (`verdicts`). The parametric law of each family comes
with replicates; each gives q, and the log loss y_i of every run that could be trained (`candidates`). Over
replicates q and y are taken as jointly Gaussian; runs are chosen for how far they lower Var(q) (`greedy`).

Replicates redraw the noise of the runs there are (`resample`, residual): what counts is which runs a law
rests on, not which of them happened to lie off it. Huber's loss makes less of a run than least squares would:
with psi = rho' and the scatter s of the residuals, taken as normal (Huber, 1964), run i has the noise

    sigma^2 = E psi^2 / (E psi')^2 nu / (nu - 2),   from s^2 (s << delta) to pi/2 s^2 (s >> delta),   (1)

where nu residuals beyond the parameters leave s as uncertain as the replicates have it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import FEWEST
from isodiff.scaling.fitting.huber import DELTA
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.fitting.terms import NAMES
from isodiff.scaling.laws.parametric import FamilyFit, fit_parametric
from isodiff.scaling.planning.candidate_runs import REACH, Candidate, budgets_to_try, candidates
from isodiff.scaling.planning.greedy import Pick, best_picks
from isodiff.scaling.planning.verdicts import Question, Verdict, question
from isodiff.scaling.points import Point, Points, by_family

REPLICATES = 1000


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


def losses(fit: FamilyFit, run: Candidate) -> Array:
    """ln L of a run in every replicate: [1 + replicates]."""
    log_n, log_d = np.log([run.parameters]), np.log([run.tokens])
    return np.log(fit.surface.nats(log_n, log_d)[:, 0])


def scatter(fit: FamilyFit) -> float:
    """What runs scatter about their law, in log loss."""
    residuals = fit.residuals
    return float(np.sqrt(residuals @ residuals / (len(residuals) - len(NAMES))))


def noise_of_a_run(fit: FamilyFit) -> float:
    """sigma of Eq. (1)."""
    free = len(fit.residuals) - len(NAMES)
    spread = scatter(fit)
    if not spread:
        return 0.0
    normal, k = NormalDist(), DELTA / spread
    inside = 2 * normal.cdf(k) - 1
    psi = spread**2 * (inside - 2 * k * normal.pdf(k)) + DELTA**2 * (1 - inside)
    return float(np.sqrt(psi * free / max(free - 2, 1)) / inside)
