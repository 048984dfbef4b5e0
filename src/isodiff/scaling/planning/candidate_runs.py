r"""Runs that could be trained next, and a choice among them by what they tell of one number.

Sizes are the rungs of the ladder of shapes where the shapes of the runs are known (records), else a
geometric grid; both reach from half the smallest size tried to `REACH` times the largest. Budgets are those
of the runs and, doubling, up to `REACH` times the largest. What a family has not been near is left out,
because its law says nothing there: fewer tokens or tokens per parameter than its fewest, more than twice
its most tokens per parameter, more epochs than its most (four are always allowed). The one exception: where
a multiplier reads the law of the reference below its smallest budget, runs of it down to there are cheap and
end that extrapolation (`budgets_below`).

Runs are chosen one after the other, each for what it takes off the variance of a number q:

    S' = S - S_i S_i' / (S_ii + sigma_i^2),                                                         (1)
    Var'(q) = Var(q) - Cov(q, y_i)^2 / (Var(y_i) + sigma_i^2)                                       (2)

is what is left of the covariance S of jointly Gaussian (q, y) after run i, seen with noise sigma_i, whatever
it comes out as (a Kalman update). S is updated between runs. Three rules choose within the compute allowed:
the fall of Var(q); its fall per FLOP; its fall among runs that cost no more than an even share. The set that
ends lowest is taken (Leskovec et al., KDD 2007: either of the first two alone can be arbitrarily bad, the
better of both is not).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from isodiff.network.shape import LADDER, Shape
from isodiff.record import read_records
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.laws.parametric import Runs
from isodiff.scaling.points import Point
from isodiff.scaling.table_files import is_table

REACH = 4.0
"""Times the largest size and budget tried: beyond it a law is not to be trusted."""
_MOST_BUDGETS = 12
"""More distinct budgets than this are replaced by a grid."""
_FRESH_EPOCHS = 4.0
"""Epochs up to which text counts as fresh (arXiv 2305.16264)."""
_MOST_THIRDS = 3
"""Steps of a third that a reference's budgets are let down."""
_SAME = 0.01
"""In ln N and ln C: runs this close differ in their seed only."""


@dataclass(frozen=True, kw_only=True)
class CandidateRun:
    """A run that could be trained; `again` if one like it was, with another seed.

    `below`: at a budget below all of its family, where its law is read.
    """

    family: str
    flops: float
    parameters: float
    tokens: float
    shape: str | None
    again: bool
    below: bool = False


@dataclass(frozen=True, kw_only=True)
class ProposedRun(CandidateRun):
    """A run to train: the standard error of q expected after it, and why it is this one.

    Attributes:
        correlation: of its log loss with q, given the runs proposed before.
        known: standard error of its log loss, given the runs proposed before.
        noise: sigma, what a run of its family counts as scattering about the law.
    """

    error_after: float
    correlation: float
    known: float
    noise: float


def candidate_runs(
    name: str,
    runs: Runs,
    budgets: Sequence[float],
    cores: Mapping[str, float],
    below: Sequence[float] = (),
) -> list[CandidateRun]:
    """Runs of one family, also at budgets `below` its own, by as much smaller.

    `cores` has the block parameters of runs by id, where they are known.
    """
    found = []
    deeper = math.log(_smallest(runs) / min(below)) if below else 0.0
    for (shape, log_n), budget in itertools.product(sizes(runs, cores, deeper), [*below, *budgets]):
        log_d = math.log(budget) - float(runs.cost.log(np.array([log_n]))[0])
        if _plausible(runs, log_n, log_d, deeper if budget in below else 0.0):
            one = CandidateRun(
                family=name,
                flops=budget,
                parameters=math.exp(log_n),
                tokens=math.exp(log_d),
                shape=shape,
                again=any(_alike(point, log_n, budget) for point in runs.points),
                below=budget in below,
            )
            found.append(one)
    return found


def budgets_to_try(points: Sequence[Point]) -> list[float]:
    """Those of the runs, and beyond."""
    own = sorted({point.budget for point in points})
    if len(own) > _MOST_BUDGETS:
        own = [_rounded(c) for c in np.geomspace(own[0], own[-1], _MOST_BUDGETS)]
    return [*own, *(_rounded(own[-1] * 2**k) for k in range(1, int(math.log2(REACH)) + 1))]


def budgets_below(runs: Runs, read: float) -> list[float]:
    """Thirds of the family's smallest budget, down to where its law is read; none where that is above."""
    found = [_smallest(runs)]
    while found[-1] > read and len(found) <= _MOST_THIRDS:
        found.append(_rounded(found[-1] / 3))
    return found[1:]


def _smallest(runs: Runs) -> float:
    return min(point.budget for point in runs.points)


def shape_sizes(sources: Sequence[Path]) -> dict[str, float]:
    """Block parameters of each run by id; nothing where the sources are no records."""
    if not all(source.exists() and not is_table(source) for source in sources):
        return {}
    shapes = ((record.id, record.spec.shape) for record in read_records(sources))
    return {name: 12.0 * shape.depth * shape.width**2 for name, shape in shapes}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def sizes(
    runs: Runs, cores: Mapping[str, float], deeper: float = 0.0
) -> list[tuple[str | None, float]]:
    """Shape, if known, and ln N; from so much `deeper`, in ln N."""
    low, high = runs.log_n.min() - math.log(2) - deeper, runs.log_n.max() + math.log(REACH)
    if not all(point.id in cores for point in runs.points):
        count = 1 + round(2 * (high - low) / math.log(2))
        return [(None, float(x)) for x in np.linspace(low, high, count)]
    known = np.log([cores[point.id] for point in runs.points])
    x, index = np.unique(known, return_inverse=True)
    y: Array = np.bincount(index, weights=runs.log_n) / np.bincount(index)
    rungs = np.log([Shape.parse(shape).core_parameters for shape in LADDER])
    # beyond the shapes tried N grows as the blocks do
    placed = np.interp(rungs, x, y) + np.minimum(rungs - x[0], 0) + np.maximum(rungs - x[-1], 0)
    return [
        (s, float(log_n)) for s, log_n in zip(LADDER, placed, strict=True) if low <= log_n <= high
    ]


def _plausible(runs: Runs, log_n: float, log_d: float, deeper: float) -> bool:
    (low, high), slack = ratios(runs), 1e-9
    if (
        log_d < runs.log_d.min() - deeper - slack
        or not low - slack <= log_d - log_n <= high + slack
    ):
        return False
    lengths = np.array([point.unique_tokens for point in runs.points], float)  # None is NaN
    if np.isnan(lengths).any():
        return True
    most = max(_FRESH_EPOCHS, float((np.exp(runs.log_d) / lengths).max()))
    return math.exp(log_d) <= most * float(lengths.max())


def ratios(runs: Runs) -> tuple[float, float]:
    """ln of the fewest and the most tokens per parameter: the least tried, and twice the most."""
    ratio = runs.log_d - runs.log_n
    return float(ratio.min()), float(ratio.max()) + math.log(2)


def _alike(point: Point, log_n: float, budget: float) -> bool:
    size, flops = math.log(point.parameters) - log_n, math.log(point.budget / budget)
    return abs(size) < _SAME and abs(flops) < _SAME


def best_runs(
    covariance: Array,
    sigma: Array,
    tried: Sequence[CandidateRun],
    num: int,
    allowance: float,
    first: int | None = None,
) -> tuple[ProposedRun, ...]:
    """The best of three greedy choices; row 0 of the covariance is q, the others the candidates.

    `first` is taken before all others: what ends an extrapolation, which no variance tells of.
    """
    ways = [
        _greedy(covariance, sigma, tried, num, allowance, first, per_flop=per_flop, even=even)
        for per_flop, even in ((False, False), (True, False), (False, True))
    ]
    return tuple(min(ways, key=lambda found: found[-1].error_after if found else np.inf))


def _greedy(
    covariance: Array,
    sigma: Array,
    tried: Sequence[CandidateRun],
    num: int,
    allowance: float,
    first: int | None,
    *,
    per_flop: bool,
    even: bool,
) -> list[ProposedRun]:
    """Candidates with the largest fall of Var(q), one after the other: Eq. (2), then Eq. (1).

    The fall is taken per FLOP with `per_flop`; with `even` no run costs more than its share of what is left.
    """
    s, left = covariance, allowance
    price = np.array([one.flops for one in tried])
    found: list[ProposedRun] = []
    for taken in range(num):
        seen = np.diag(s)[1:] + sigma**2
        fall = np.divide(s[0, 1:] ** 2, seen, out=np.zeros_like(seen), where=seen > 0)
        most = left / (num - taken) if even else left
        worth = np.where(price <= most * (1 + 1e-9), fall / price if per_flop else fall, 0.0)
        i = int(worth.argmax())
        if taken == 0 and first is not None:
            i = first
        elif not worth[i] > 0:
            break
        q, known = (float(np.sqrt(max(s[j, j], 0.0))) for j in (0, i + 1))
        correlation = float(s[0, i + 1]) / max(known * q, 1e-300)
        s, left = updated(s, i + 1, float(sigma[i])), left - price[i]
        run = ProposedRun(
            **asdict(tried[i]),
            error_after=float(np.sqrt(max(s[0, 0], 0.0))),
            correlation=correlation,
            known=known,
            noise=float(sigma[i]),
        )
        found.append(run)
    return found


def updated(covariance: Array, i: int, sigma: float) -> Array:
    """Eq. (1): what is left after seeing entry i with noise sigma."""
    column = covariance[:, i]
    return covariance - np.outer(column, column) / (column[i] + sigma**2)
