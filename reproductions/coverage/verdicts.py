"""How often is one of several equal families called best?

    python reproductions/coverage/verdicts.py        # a minute on one core; writes verdicts.json

A study is 2 to 7 families of the same losses at one or more sizes, with 1 to 5 seeds of each. A run scatters
by normal noise; all runs share the error of the windows, and those of a family an error of its own beside it
(fresh noise draws), both seen by the deviations of 64 stretches of text. With one seed the scatter is that of
the residuals about parabolas of five sizes at three budgets. Counted is how often the report's rule calls
anybody best, and how often the rule before it did: the lowest run, beyond two standard errors of evaluation.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from isodiff.provenance import provenance
from isodiff.record import Mean
from isodiff.report.lead import BestSize, RunScatter, lead_of
from isodiff.serialization import to_json

TRIALS, STRETCHES, BUDGETS = 2000, 64, 3
WINDOWS, OWN = (
    0.012,
    0.003,
)  # standard errors of an evaluation, bits per byte: common to all, a family's own
CURVES = {
    1: np.zeros(1),
    3: np.array([0.02, 0.0, 0.02]),
    5: np.array([0.04, 0.01, 0.0, 0.01, 0.04]),
}
SCATTERS = (0.005, 0.02, 0.04)
SEEDS = {"1": (1,), "2": (2,), "3": (3,), "5": (5,), "5 and 1": (5, 1)}


def share(families: int, seeds: tuple[int, ...], sizes: int, scatter: float) -> tuple[float, float]:
    """Of the studies in which a family is called best: by the rule, and by the one before it."""
    rng = np.random.default_rng([families, *seeds, sizes, int(1000 * scatter)])
    counts = [seeds[f % len(seeds)] for f in range(families)]
    shape = (TRIALS, families, sizes)
    stretches = rng.normal(0, OWN / math.sqrt(STRETCHES), (TRIALS, families, STRETCHES))
    own = stretches.sum(-1)[..., None]
    common = rng.normal(0, WINDOWS / math.sqrt(STRETCHES), (TRIALS, 1, STRETCHES))
    runs = [rng.normal(0, scatter, (TRIALS, sizes, count)) for count in counts]
    means = CURVES[sizes] + own + np.stack([one.mean(-1) for one in runs], 1)
    lowest = (CURVES[sizes] + own + np.stack([one.min(-1) for one in runs], 1)).min(-1)
    squares = np.stack(
        [one.var(-1).sum(-1) * count for one, count in zip(runs, counts, strict=True)], 1
    )
    freedom = np.array([(count - 1) * sizes for count in counts])
    if not freedom.any():  # about the parabola of the budget that is judged, and of others
        others = rng.normal(0, scatter, (BUDGETS - 1, *shape))
        residuals = np.concatenate([(means - own)[None], others]) @ off_parabola(sizes)
        squares = (residuals**2).sum((0, 3))
        freedom = np.full(families, BUDGETS * (sizes - 3))
    found = 0
    for trial in range(TRIALS):
        noise = RunScatter(
            bits=math.sqrt(squares[trial].sum() / freedom.sum()),
            degrees_of_freedom=int(freedom.sum()),
            source="seeds",
            families={
                str(f): math.sqrt(squares[trial, f] / freedom[f]) for f in np.flatnonzero(freedom)
            },
        )
        seen = common[trial] + stretches[trial]
        rows = [
            (str(f), best(means[trial, f], counts[f], seen[f], noise.of(str(f))))
            for f in range(families)
        ]
        found += lead_of(rows, 1.0, noise).told_apart
    first, second = np.sort(lowest, 1)[:, :2].T
    before = second - first > 2 * math.sqrt(2) * math.hypot(WINDOWS, OWN)
    return found / TRIALS, float(before.mean())


def off_parabola(sizes: int) -> np.ndarray:
    """Projects losses of evenly spaced sizes on what no parabola holds."""
    design = np.vander(np.linspace(-1, 1, sizes), 3)
    return np.eye(sizes) - design @ np.linalg.pinv(design)


def best(means: np.ndarray, count: int, deviations: np.ndarray, scatter: float) -> BestSize:
    """The lowest mean of the sizes."""
    value = Mean(float(means.min()), 0.0, count)
    return BestSize(
        budget=1.0,
        runs=("",) * count,
        num_sizes=len(means),
        kind="exact",
        bits_per_byte=value,
        nats_per_token=value,
        evaluation_error=0.0,
        scatter=scatter,
        deviations=tuple(deviations - deviations.mean()),
    )


def main() -> None:
    """Every study."""
    rows = []
    for name, seeds in SEEDS.items():
        for sizes in CURVES if max(seeds) > 1 else (5,):
            for scatter in SCATTERS:
                found = [share(families, seeds, sizes, scatter) for families in range(2, 8)]
                false, before = ([pair[i] for pair in found] for i in range(2))
                kind = {"seeds": name, "sizes": sizes, "scatter": scatter}
                rows.append({**kind, "false": false, "before": before})
                cells = " | ".join(f"{a:.1%} ({b:.0%})".replace("%", "") for a, b in found)
                print(f"| {name} | {sizes} | {scatter} | {cells} |", flush=True)
    result = {
        "trials": TRIALS,
        "families": [*range(2, 8)],
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    Path(__file__).with_name("verdicts.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
