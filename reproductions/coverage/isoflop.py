"""Do 95 % intervals of IsoFLOP laws, of multipliers and of losses at ten times the budget hold the truth?

    python reproductions/coverage/isoflop.py        # writes isoflop.json

Truths are surfaces E + A/N^alpha + B/D^beta like those of arXiv 2602.15014, so no planted parabolas: form and
noise are wrong and right as they are in real studies. Sizes lie about each optimum, off by a random factor.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from isodiff.provenance import provenance
from isodiff.scaling import Point, fit_isoflop
from isodiff.scaling.fitting.bootstrap import interval
from isodiff.scaling.laws.loss_surface import SIX, Surface
from isodiff.serialization import to_json

REPLICATES = 200
TRUE = {
    "autoregressive": (1.237, 30.34, 3000.0, 0.1779, 0.3829),
    "masked": (2.086, 169.9, 8082.0, 0.3010, 0.4135),
    "uniform": (1.776, 50.71, 7609.0, 0.2112, 0.4041),
    "interpolating": (2.090, 182.3, 1525.0, 0.3033, 0.3292),
}
"""E, A, B, alpha, beta: the parametric laws of that paper's runs."""
STUDIES = {
    "5 budgets x 5 sizes, 0.2 %": (5, 5, 0.002),
    "5 x 8, 0.2 %": (5, 8, 0.002),
    "5 x 6, 0.5 %": (5, 6, 0.005),
    "5 x 5, 1 %": (5, 5, 0.01),
    "4 x 5, 0.5 %": (4, 5, 0.005),
    "3 x 5, 0.5 %": (3, 5, 0.005),
    "3 x 5, 1 %": (3, 5, 0.01),
    "3 x 3, 1 %": (3, 3, 0.01),
    "3 x 3, 2 %": (3, 3, 0.02),
}
LAWS = {
    name: Surface.of(np.array([[np.log(a), alpha, np.log(b), beta, np.log(e)]]))
    for name, (e, a, b, alpha, beta) in TRUE.items()
}


def optimum(name: str, log_c: float) -> tuple[float, float]:
    """ln N* and L* of a true law."""
    found = LAWS[name].optimum(np.array([log_c]), SIX)
    return float(found.log_n[0, 0]), float(found.nats[0, 0])


def multiplier(name: str, log_c: float) -> float:
    """Of a true law, by bisection."""
    nats, low, high = optimum(name, log_c)[1], log_c - 12, log_c + 12
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if optimum("autoregressive", middle)[1] > nats else (low, middle)
    return float(np.exp(log_c - low))


def study(budgets: int, sizes: int, noise: float, seed: int) -> list[Point]:
    """Every family; off-center by up to a factor of 1.8 either way."""
    rng = np.random.default_rng([17, seed])
    points = []
    for name in TRUE:
        off = rng.uniform(-0.6, 0.6)
        for c in np.geomspace(6e18, 1e20, budgets):
            for log_n in optimum(name, np.log(c))[0] + off + np.linspace(-1.5, 1.5, sizes):
                log_d = np.log(c / 6) - log_n
                clean = LAWS[name].nats(np.array([log_n]), np.array([log_d]))[0, 0]
                nats = float(clean * np.exp(noise * rng.standard_normal()))
                points.append(Point(name, c, c, float(np.exp(log_n)), float(np.exp(log_d)), nats))
    return points


def coverage(
    kind: tuple[int, int, float], trials: int, irreducible: bool
) -> dict[str, dict[str, float]]:
    """Of each quantity: share of intervals that hold it, mean error, and high over low (or high - low)."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for trial in range(trials):
        fit = fit_isoflop(
            study(*kind, trial), bootstrap=REPLICATES, seed=trial, irreducible=irreducible
        )
        for name, family in fit.families.items():
            beta, alpha = TRUE[name][4], TRUE[name][3]
            if family.missing_interval is None:
                add(found, f"N exponent, {name}", family.parameters.exponent, beta / (alpha + beta))
            beyond = np.log(1e21)
            true = np.log(optimum(name, beyond)[1])
            add(found, f"ln L* at 10x, {name}", np.log(family.loss(np.array([beyond]))[:, 0]), true)
            price = fit.multiplier(name)
            if name != "autoregressive" and price.value is not None and price.low is not None:
                at = float(family.minima.log_c[0, -1])
                row = np.log([price.value, price.low, price.high or np.inf])
                wanted = np.log(multiplier(name, at))
                found.setdefault(f"ln multiplier, {name}", []).append((*row, wanted))
    return {key: summary(np.array(rows)) for key, rows in found.items()}


def add(
    found: dict[str, list[tuple[float, float, float, float]]],
    key: str,
    samples: np.ndarray,
    true: float,
) -> None:
    """Value, ends and truth, where there is an interval."""
    ends = interval(samples[1:])
    if ends is not None and np.isfinite(samples[0]):
        found.setdefault(key, []).append((float(samples[0]), *ends, true))


def summary(rows: np.ndarray) -> dict[str, float]:
    """Coverage, mean error, median width, and in how many studies there was an interval."""
    value, low, high, true = rows.T
    return {
        "coverage": float(np.mean((low <= true) & (true <= high))),
        "bias": float(np.median(value - true)),
        "width": float(np.median(high - low)),
        "studies": len(rows),
    }


def main() -> None:
    """Every study, as is and with E = 0."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("isoflop.json"))
    asked = parser.parse_args()
    rows = []
    for name, kind in STUDIES.items():
        for irreducible in (True, False):
            if asked.only and asked.only not in name:
                continue
            found = coverage(kind, asked.trials, irreducible)
            rows.append({"study": name, "irreducible": irreducible, "quantities": found})
            shown = {k: f"{v['coverage']:.1%} {v['bias']:+.3f}" for k, v in found.items()}
            print(name, irreducible, shown, flush=True)
    result = {
        "trials": asked.trials,
        "replicates": REPLICATES,
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    asked.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
