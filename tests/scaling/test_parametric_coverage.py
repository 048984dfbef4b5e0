"""95 % intervals of the parametric law hold the truth in 93 to 97 % of 400 noisy studies."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import ALPHA, BETA, A, B, E, planted_surface

from isodiff.scaling.fitting.bootstrap import Resampling, interval
from isodiff.scaling.fitting.newton import minimize
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric import Runs, ordered, replicate

TRIALS, REPLICATES = 400, 200
TRUE = np.array([np.log(A), ALPHA, np.log(B), BETA, np.log(E)])
LAW = Surface.of(TRUE[None])
BEYOND = np.log([1e22])
EXACT = {
    "N": BETA / (ALPHA + BETA),
    "alpha": ALPHA,
    "beta": BETA,
    "E": E,
    "L at 1e22": float(LAW.optimum(BEYOND, SIX).nats[0, 0]),
    "ln N at 1e22": float(LAW.optimum(BEYOND, SIX).log_n[0, 0]),
}


def coverage(resampling: Resampling, trials: int = TRIALS, **study: float) -> dict[str, float]:
    hits = dict.fromkeys(EXACT, 0)
    for trial in range(trials):
        runs = Runs(ordered(planted_surface(seed=trial, **study)))
        start = runs.design.from_families([TRUE])[None]
        best = minimize(runs.design.terms, start, runs.log_nats).best
        rng = np.random.default_rng([7, trial])
        theta = replicate(runs, best, REPLICATES, rng, resampling)
        surface = Surface.of(runs.design.of_family(theta, 0))
        beyond = surface.optimum(BEYOND, SIX)
        found = {
            "N": surface.exponents(BEYOND[0], SIX)[0],
            "alpha": surface.alpha,
            "beta": surface.beta,
            "E": surface.irreducible,
            "L at 1e22": beyond.nats[:, 0],
            "ln N at 1e22": beyond.log_n[:, 0],
        }
        for name, samples in found.items():
            ends = interval(samples)
            assert ends is not None
            hits[name] += ends[0] <= EXACT[name] <= ends[1]
    return {name: count / trials for name, count in hits.items()}


@pytest.mark.parametrize("falling", [0.0, 0.5])
def test_intervals_cover(falling: float) -> None:
    """Noise alike in all runs, and noise that falls with size."""
    found = coverage("case", noise=0.003, falling=falling)
    for name, share in found.items():
        assert 0.93 <= share <= 0.97, (name, found)


def test_residuals_may_be_redrawn_only_where_all_runs_scatter_alike() -> None:
    """What `resample` says, in few trials; reproductions/coverage has many."""
    alike = coverage("residual", 120, noise=0.003)
    assert all(share > 0.87 for share in alike.values()), alike
    falling = coverage("residual", 80, noise=0.003, falling=0.5)
    assert falling["alpha"] < 0.85, falling
