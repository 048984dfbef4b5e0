"""Do 95 % intervals of the parametric law hold the truth in 95 % of studies?

    python reproductions/coverage/coverage.py        # about 10 minutes on one core; writes result.json

A study is a grid of budgets from 1e18 to 1e21 FLOPs with sizes about the optimum, losses from the surface
that arXiv 2404.10102 fitted to Chinchilla, and noise of one of several laws. Each of 400 studies is fitted,
and refitted to 200 replicates; counted is how often the interval of a quantity holds its true value.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from isodiff.provenance import provenance
from isodiff.scaling import Point
from isodiff.scaling.fitting.bootstrap import Resampling, interval
from isodiff.scaling.fitting.newton import minimize
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.scaling.laws.parametric import Runs, ordered, replicate
from isodiff.serialization import to_json

TRIALS, REPLICATES = 400, 200
E, A, B, ALPHA, BETA = 1.8172, 477.8, 2143.0, 0.3473, 0.3672
TRUE = np.array([np.log(A), ALPHA, np.log(B), BETA, np.log(E)])
LAW = Surface.of(TRUE[None])
BEYOND = np.log([1e22])
EXACT = {
    "exponent of N*": BETA / (ALPHA + BETA),
    "alpha": ALPHA,
    "beta": BETA,
    "E": E,
    "L* at 1e22": float(LAW.optimum(BEYOND, SIX).nats[0, 0]),
    "ln N* at 1e22": float(LAW.optimum(BEYOND, SIX).log_n[0, 0]),
}
STUDIES = {
    "6 budgets x 8 sizes, normal 0.3 %": (6, 8, 1.5, 0.003, "normal"),
    "6 x 8, t with 3 degrees": (6, 8, 1.5, 0.003, "t3"),
    "6 x 8, skewed (exponential)": (6, 8, 1.5, 0.003, "skewed"),
    "6 x 8, normal, falling as N^-1/2": (6, 8, 1.5, 0.003, "falling"),
    "6 x 8, normal 1 %": (6, 8, 1.5, 0.01, "normal"),
    "5 x 6, normal": (5, 6, 1.5, 0.003, "normal"),
    "9 x 12, normal 1 %": (9, 12, 2.0, 0.01, "normal"),
}


def study(budgets: int, sizes: int, span: float, noise: float, law: str, seed: int) -> list[Point]:
    """One study; the median of the noise is zero."""
    rng = np.random.default_rng([3, seed])
    points = []
    for c in np.geomspace(1e18, 1e21, budgets):
        middle = float(LAW.optimum(np.log([c]), SIX).log_n[0, 0])
        for log_n in middle + np.linspace(-span, span, sizes):
            n = float(np.exp(log_n))
            d = float(c / 6 / n)
            z = {
                "normal": rng.standard_normal,
                "t3": lambda: rng.standard_t(3) / np.sqrt(3),
                "skewed": lambda: rng.exponential() - np.log(2),
                "falling": lambda n=n: rng.standard_normal() * (n / 1e9) ** -0.5,
            }[law]()
            nats = float((E + A / n**ALPHA + B / d**BETA) * np.exp(noise * z))
            points.append(Point("x", float(c), float(c), n, d, nats))
    return points


def coverage(kind: tuple[int, int, float, float, str], resampling: Resampling) -> dict[str, float]:
    """Share of studies whose interval holds the truth, by quantity."""
    hits = dict.fromkeys(EXACT, 0)
    for trial in range(TRIALS):
        runs = Runs(ordered(study(*kind, trial)))
        start = runs.design.from_families([TRUE])[None]
        best = minimize(runs.design.terms, start, runs.log_nats).best
        rng = np.random.default_rng([7, trial])
        theta = replicate(runs, best, REPLICATES, rng, resampling)
        surface = Surface.of(runs.design.of_family(theta, 0))
        beyond = surface.optimum(BEYOND, SIX)
        found = {
            "exponent of N*": surface.exponents(BEYOND[0], SIX)[0],
            "alpha": surface.alpha,
            "beta": surface.beta,
            "E": surface.irreducible,
            "L* at 1e22": beyond.nats[:, 0],
            "ln N* at 1e22": beyond.log_n[:, 0],
        }
        for name, samples in found.items():
            ends = interval(samples)
            hits[name] += ends is not None and ends[0] <= EXACT[name] <= ends[1]
    return {name: count / TRIALS for name, count in hits.items()}


def main() -> None:
    """Every study by both resamplings."""
    rows = []
    for name, kind in STUDIES.items():
        for resampling in ("case", "residual"):
            found = coverage(kind, resampling)
            rows.append({"study": name, "resampling": resampling, "coverage": found})
            print(name, resampling, {k: f"{v:.1%}" for k, v in found.items()}, flush=True)
    result = {
        "trials": TRIALS,
        "replicates": REPLICATES,
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    Path(__file__).with_name("result.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
