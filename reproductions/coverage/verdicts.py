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
    squares = sum(one.var(-1).sum(-1) * count for one, count in zip(runs, counts, strict=True))
    freedom = sum(count - 1 for count in counts) * sizes
    if not freedom:  # about the parabola of the budget that is judged, and of others
        others = rng.normal(0, scatter, (BUDGETS - 1, *shape))
        squares = (np.concatenate([(means - own)[None], others]) @ off_parabola(sizes)) ** 2
        squares, freedom = squares.sum((0, 2, 3)), families * BUDGETS * (sizes - 3)
    found = 0
    for trial in range(TRIALS):
        rows = [
            (str(f), best(means[trial, f], counts[f], common[trial, 0] + stretches[trial, f]))
            for f in range(families)
        ]
        noise = RunScatter(
            bits=math.sqrt(squares[trial] / freedom), degrees_of_freedom=freedom, source="seeds"
        )
        rows = [(name, with_scatter(one, noise)) for name, one in rows]
        found += lead_of(rows, 1.0, noise).told_apart
    first, second = np.sort(lowest, 1)[:, :2].T
    before = second - first > 2 * math.sqrt(2) * math.hypot(WINDOWS, OWN)
    return found / TRIALS, float(before.mean())


def off_parabola(sizes: int) -> np.ndarray:
    """Projects losses of evenly spaced sizes on what no parabola holds."""
    design = np.vander(np.linspace(-1, 1, sizes), 3)
    return np.eye(sizes) - design @ np.linalg.pinv(design)


def best(means: np.ndarray, count: int, deviations: np.ndarray) -> BestSize:
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
        deviations=tuple(deviations - deviations.mean()),
    )


def with_scatter(one: BestSize, noise: RunScatter) -> BestSize:
    """The same, its runs scattering by so much."""
    values = {name: getattr(one, name) for name in BestSize.__dataclass_fields__}
    return BestSize(**values | {"scatter": noise.bits})


def main() -> None:
    """Every study."""
    rows = []
    for name, seeds in SEEDS.items():
        for sizes in CURVES if max(seeds) > 1 else (5,):
            for scatter in SCATTERS:
                found = [share(families, seeds, sizes, scatter) for families in range(2, 8)]
                rows.append(
                    {
                        "seeds": name,
                        "sizes": sizes,
                        "scatter": scatter,
                        "false": dict(
                            zip(map(str, range(2, 8)), [a for a, _ in found], strict=True)
                        ),
                        "before": dict(
                            zip(map(str, range(2, 8)), [b for _, b in found], strict=True)
                        ),
                    }
                )
                cells = " | ".join(f"{a:.1%} ({b:.0%})".replace("%", "") for a, b in found)
                print(f"| {name} | {sizes} | {scatter} | {cells} |", flush=True)
    result = {"trials": TRIALS, "rows": rows, "provenance": to_json(provenance())}
    Path(__file__).with_name("verdicts.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
