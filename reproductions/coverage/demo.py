"""Do 95 % intervals hold the truth in studies like the demo: 4 families, 3 budgets, 4 sizes, one seed?

    python reproductions/coverage/demo.py        # 15 minutes on one core; writes demo.json

Sizes, budgets and FLOPs per token are those of `isodiff study demo`. Truths are surfaces E + A/N^alpha +
B/D^beta of which masked, uniform and interpolating need exactly 14, 24 and 33 times the compute of
autoregressive at the largest budget, so that its law is read up to 3.3 times below its smallest. Losses
scatter between seeds, and all of a family are off by what its noise draws leave.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from isoflop import summary

from isodiff.provenance import provenance
from isodiff.scaling import Point, fit_isoflop
from isodiff.scaling.fitting.bootstrap import interval
from isodiff.scaling.fitting.power_law import straight
from isodiff.scaling.laws.isoflop import IsoflopFit
from isodiff.scaling.laws.loss_surface import Surface, fit_cost
from isodiff.serialization import to_json

REPLICATES = 200
SIZES = (3995, 6777, 14577, 25449, 56409, 99657)
PER_TOKEN = {
    "autoregressive": (57816, 86304, 157104, 246336, 480096, 787584),
    "masked": (66924, 98448, 175321, 270625, 516529, 836162),
    "uniform": (76104, 110688, 193680, 295104, 553248, 885120),
    "interpolating": (48636, 74064, 138745, 221857, 443377, 738626),
}
GRID = {6e10: (0, 1, 2, 3), 2e11: (1, 2, 3, 4), 6e11: (2, 3, 4, 5)}
"""Which sizes at which budget."""
TOP = float(np.log(max(GRID)))
MULTIPLIERS = {"autoregressive": 1.0, "masked": 14.0, "uniform": 24.0, "interpolating": 33.0}
LOWEST, BEST_SIZE = 1.40, 40_000
"""Nats of autoregressive at the largest budget, and about where the best size is."""
COMMON = {"autoregressive": None, "masked": 0.006, "uniform": 0.008, "interpolating": 0.006}
"""Error of the noise draws, nats."""
COSTS = {
    name: fit_cost(np.log(SIZES), -np.log(per_token), np.zeros(len(SIZES)))
    for name, per_token in PER_TOKEN.items()
}
PRINTED = {
    "autoregressive": (1.237, 0.1779, 0.3829),
    "masked": (2.086, 0.3010, 0.4135),
    "uniform": (1.776, 0.2112, 0.4041),
    "interpolating": (2.090, 0.3033, 0.3292),
}
"""E, alpha, beta: the parametric laws of arXiv 2602.15014."""
STUDIES: dict[str, tuple[str, float | dict[str, float]]] = {
    "families of 2602.15014": ("printed", 0.017),
    "families at random": ("drawn", 0.017),
    "families at random, twice the noise": ("drawn", 0.034),
    "families at random, noise by family": (
        "drawn",
        {"autoregressive": 0.015, "interpolating": 0.025, "masked": 0.035, "uniform": 0.042},
    ),
    "families alike": ("alike", 0.017),
    "families 1.7 times as different": ("far", 0.017),
    "low exponents and E": ("low", 0.017),
    "high exponents and E": ("high", 0.017),
}
"""Which truths, and the scatter between seeds in nats."""


def exponents(kind: str, name: str, rng: np.random.Generator) -> tuple[float, float, float]:
    """E, alpha, beta of a family; at random about .8, .33, .38 as far apart as the printed ones."""
    if kind == "printed":
        e, alpha, beta = PRINTED[name]
        return 0.46 * e, alpha + 0.08, beta
    if kind in ("drawn", "far"):
        z = rng.standard_normal(3) * (1.7 if kind == "far" else 1.0)
        e, alpha, beta = 0.8 * np.exp(0.25 * z[0]), 0.33 + 0.06 * z[1], 0.38 + 0.06 * z[2]
        return float(e), max(0.1, float(alpha)), max(0.1, float(beta))
    return {"alike": (0.8, 0.33, 0.38), "low": (0.3, 0.2, 0.25), "high": (1.1, 0.5, 0.5)}[kind]


def best(law: Surface, name: str, log_c: float) -> tuple[float, float]:
    """ln N* and L*."""
    found = law.optimum(np.array([log_c]), COSTS[name])
    return float(found.log_n[0, 0]), float(found.nats[0, 0])


def truth(kind: str, rng: np.random.Generator) -> dict[str, Surface]:
    """Surfaces with the planted multipliers: A and B give L* and N* at the largest budget."""
    laws: dict[str, Surface] = {}
    for name, multiplier in MULTIPLIERS.items():
        e, alpha, beta = exponents(kind, name, rng)
        nats = LOWEST
        if laws:
            nats = best(laws["autoregressive"], "autoregressive", TOP - np.log(multiplier))[1]
        e = min(e, 0.8 * nats)
        log_n = np.log(BEST_SIZE) + 0.3 * rng.standard_normal(1)
        log_d = TOP - COSTS[name].log(log_n)
        size = (nats - e) / (1 + alpha / (COSTS[name].slope(log_n) * beta))
        parts = np.log(size) + alpha * log_n, np.log(nats - e - size) + beta * log_d
        theta = [parts[0][0], alpha, parts[1][0], beta, np.log(e)]
        laws[name] = Surface.of(np.array([theta]))
    return laws


def study(
    laws: dict[str, Surface], noise: float | dict[str, float], rng: np.random.Generator
) -> list[Point]:
    """The demo's runs."""
    points = []
    for name, law in laws.items():
        scatter = noise[name] if isinstance(noise, dict) else noise
        off = (COMMON[name] or 0.0) * rng.standard_normal()
        for c, sizes in GRID.items():
            for i in sizes:
                n, d = float(SIZES[i]), c / PER_TOKEN[name][i]
                clean = law.nats(np.log([n]), np.log([d]))[0, 0]
                nats = float(clean + off + scatter * rng.standard_normal())
                points.append(Point(name, c, c, n, d, nats, noise_error=COMMON[name]))
    return points


def truths(laws: dict[str, Surface]) -> dict[str, float]:
    """Of every quantity that is looked at."""
    found = {}
    for name, law in laws.items():
        (small, _), (large, nats), beyond = (
            best(law, name, at) for at in (np.log(min(GRID)), TOP, TOP + np.log(10))
        )
        exponent = (large - small) / (TOP - np.log(min(GRID)))
        found |= {f"N exponent, {name}": exponent, f"N exponent by minima, {name}": exponent}
        found |= {f"ln N*, {name}": large, f"ln L*, {name}": np.log(nats)}
        found |= {f"ln N* at 10x, {name}": beyond[0], f"ln L* at 10x, {name}": np.log(beyond[1])}
        for how in ("", " by parabola") if name != "autoregressive" else ():
            found[f"ln multiplier{how}, {name}"] = float(np.log(MULTIPLIERS[name]))
    return found


def estimates(fit: IsoflopFit) -> dict[str, np.ndarray]:
    """The same [1 + replicates] by the library."""
    found, at = {}, np.array([TOP, TOP + np.log(10)])
    for name, family in fit.families.items():
        if not family.accepted:
            continue
        minima = family.minima
        found[f"N exponent, {name}"] = family.parameters.exponent
        if len(family.accepted) > 1:
            lines = straight(minima.log_c, minima.log_n, minima.keep, family.spread.size.weight)
            found[f"N exponent by minima, {name}"] = lines.exponent
        size, nats = np.log(family.parameters(at)).T, np.log(family.loss(at)).T
        found |= {f"ln N*, {name}": size[0], f"ln N* at 10x, {name}": size[1]}
        found |= {f"ln L*, {name}": nats[0], f"ln L* at 10x, {name}": nats[1]}
        reference = fit.families["autoregressive"].loss
        if name != "autoregressive":
            reached = reference.log_compute(np.exp(nats[0])[:, None])[:, 0]
            found[f"ln multiplier, {name}"] = TOP - reached
            if family.accepted[-1].budget == max(GRID):
                alone = reference.log_compute(minima.nats[:, -1:])[:, 0]
                found[f"ln multiplier by parabola, {name}"] = TOP - alone
    return found


def coverage(
    kind: str, noise: float | dict[str, float], trials: int
) -> dict[str, dict[str, float]]:
    """Of each quantity: share of intervals that hold it, mean error, width, studies."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for trial in range(trials):
        rng = np.random.default_rng([5, trial])
        laws = truth(kind, rng)
        true = truths(laws)
        fit = fit_isoflop(study(laws, noise, rng), bootstrap=REPLICATES, seed=trial)
        for key, samples in estimates(fit).items():
            ends = interval(samples[1:])
            if ends is not None and np.isfinite(samples[0]):
                rows.setdefault(key, []).append((float(samples[0]), *ends, true[key]))
    return {key: summary(np.array(found)) for key, found in rows.items()}


def main() -> None:
    """Every kind of study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("demo.json"))
    asked = parser.parse_args()
    rows = []
    for name, kind in STUDIES.items():
        if asked.only not in name:
            continue
        found = coverage(*kind, asked.trials)
        rows.append({"study": name, "quantities": found})
        shown = {k: f"{v['coverage']:.1%} {v['width']:.3f}" for k, v in found.items()}
        print(name, shown, flush=True)
        result = {"trials": asked.trials, "replicates": REPLICATES, "rows": rows}
        whole = {**result, "provenance": to_json(provenance())}
        asked.out.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
