"""Measured samplers with what follows from them, `frontier.json`: domination, verdicts, areas, budgets.

There are two frontiers, since speed has two meanings: tokens per second at the fastest batch (who serves
many), and of one text alone (who answers first). At the fastest batch arithmetic decides, alone the number
of network evaluations does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from isodiff.errors import InputError
from isodiff.provenance import Provenance
from isodiff.scaling.fitting.bootstrap import LEVEL, Quantity
from isodiff.scaling.pareto import REPLICATES, Frontier, FrontierPoint, ThroughputRange, at_rate
from isodiff.scaling.sampler_points import STEADY, SamplerPoint, TextStatistics, is_steady
from isodiff.serialization import IfAny, Said

Measure = Literal["generative_perplexity", "bits_per_byte"]
ENTROPY_FLOOR = 0.95
"""Share of held-out text's entropy below which a point's texts count as degenerate."""
_QUARTILES = 1.349  # between the quartiles of a normal law, in standard deviations


@dataclass(frozen=True, kw_only=True)
class SpeedAndLoss:
    """A throughput and the loss that can be had there; None where nothing is that fast."""

    tokens_per_second: float
    loss: float | None


@dataclass(frozen=True, kw_only=True)
class BudgetPoints:
    """Of a family and budget: its fastest and its best eligible point, and the loss between them."""

    family: str
    budget: float
    fastest: FrontierPoint
    best: FrontierPoint
    between: SpeedAndLoss


@dataclass(frozen=True, kw_only=True)
class EntropyFloor:
    """Least entropy with which a point can win: a share of held-out text's, and nats."""

    share: float
    nats: float


@dataclass(frozen=True, kw_only=True)
class FrontierResult:
    """`frontier.json`; only a reason where it could not be measured.

    `verdict`, `areas` and `budgets` are for the fastest batch, `verdict_alone` for one text at a time.
    """

    points: tuple[SamplerPoint, ...] = ()
    verdict: tuple[ThroughputRange, ...] = ()
    verdict_alone: tuple[ThroughputRange, ...] = ()
    areas: Mapping[str, Quantity] = field(default_factory=dict)
    budgets: tuple[BudgetPoints, ...] = ()
    held_out: TextStatistics | None = None
    measure: Measure = "generative_perplexity"
    entropy_floor: EntropyFloor = EntropyFloor(share=0.0, nats=-math.inf)
    replicates: int = 0
    seed: int = 0
    protocol: str = ""
    settings: IfAny[dict[str, Any]] = None
    provenance: IfAny[Provenance] = None
    reason: IfAny[Said] = None

    def recommend(
        self, rate: float, budget: float | None = None, *, alone: bool = False
    ) -> SamplerPoint:
        """The point to use where `rate` tokens per second are needed, trained within `budget` FLOPs.

        Raises:
            InputError: no point is that fast or that cheap.
        """
        points = [_frontier_point(one, self.measure, alone=alone) for one in self.points]
        return self.points[points.index(Frontier(points, replicates=0).recommend(rate, budget))]


def frontier_result(
    measured: Sequence[SamplerPoint],
    *,
    held_out: TextStatistics,
    measure: Measure = "generative_perplexity",
    floor: float = ENTROPY_FLOOR,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> FrontierResult:
    """The points, each told whether it is dominated or degenerate, and the verdicts over all of them.

    `floor` is the smallest share of the entropy of text `held_out` with which a point can win; `replicates`
    of the measurements are behind confidences and intervals.

    Raises:
        InputError: no points, or none that can win.
    """
    if not measured:
        raise InputError("no run was sampled; nothing to draw a frontier from")
    least = floor * held_out.entropy
    measured = [_judged(one, least) for one in measured]
    if all(point.degenerate for point in measured):
        raise InputError(
            f"every sampler's texts have an entropy below {least:.2f} nats ({floor:.0%} of held-out "
            "text's); give samplers with more steps, or a lower --entropy-floor"
        )
    points, alone = (
        [_frontier_point(one, measure, alone=alone) for one in measured] for alone in (False, True)
    )
    if all(point.degenerate for point in (*points, *alone)):
        raise InputError(
            f"repeated calls of every sampler differ by more than {STEADY - 1:.0%}: the machine is busy "
            "with other work; give the same command when it is not"
        )
    frontier, by_latency = (
        Frontier(every, replicates=replicates, seed=seed) for every in (points, alone)
    )
    flags = zip(measured, frontier.dominated(), by_latency.dominated(), strict=True)
    return FrontierResult(
        points=tuple(
            replace(one, dominated=slow, dominated_alone=late) for one, slow, late in flags
        ),
        verdict=tuple(frontier.verdict()),
        verdict_alone=tuple(by_latency.verdict()),
        areas={
            name: frontier.area(lambda p, name=name: p.family == name)
            for name in dict.fromkeys(point.family for point in points)
        },
        budgets=_per_budget(points),
        held_out=held_out,
        measure=measure,
        entropy_floor=EntropyFloor(share=floor, nats=least),
        replicates=replicates,
        seed=seed,
        protocol=_protocol(measured, measure, floor, replicates, seed),
    )


def _judged(one: SamplerPoint, least: float) -> SamplerPoint:
    """The point, told whether its texts have less entropy than `least` and whether its speeds count."""
    return replace(
        one,
        degenerate=one.entropy < least,
        unsteady=not is_steady(one.tokens_per_second_high, one.tokens_per_second_low),
        unsteady_alone=not is_steady(one.latency_seconds_high, one.latency_seconds_low),
    )


def _frontier_point(one: SamplerPoint, measure: Measure, *, alone: bool) -> FrontierPoint:
    """A point as the frontier sees it; losses in nats, speed at the fastest batch or `alone`."""
    loss, error = one.nats_per_token, one.nats_per_token_se
    if measure == "bits_per_byte":
        loss, error = one.bits_per_byte * math.log(2), one.bits_per_byte_se * math.log(2)
    speed, ratio = one.tokens_per_second, one.tokens_per_second_high / one.tokens_per_second_low
    if alone:
        speed = one.length / one.latency_seconds
        ratio = one.latency_seconds_high / one.latency_seconds_low
    calls = one.calls_alone if alone else one.calls
    return FrontierPoint(
        run=one.run,
        family=one.family,
        sampler=one.sampler,
        steps=one.steps,
        budget=one.budget,
        tokens_per_second=speed,
        log_speed_se=math.log(ratio) / _QUARTILES / math.sqrt(calls),
        loss=loss,
        loss_se=error,
        degenerate=one.degenerate or (one.unsteady_alone if alone else one.unsteady),
    )


def _per_budget(points: Sequence[FrontierPoint]) -> tuple[BudgetPoints, ...]:
    rows, sound = [], [p for p in points if not p.degenerate]
    for family, budget in sorted({(p.family, p.budget) for p in sound}):
        own = [p for p in sound if (p.family, p.budget) == (family, budget)]
        fastest = max(own, key=lambda p: p.tokens_per_second)
        best = min(own, key=lambda p: p.loss)
        middle = math.sqrt(fastest.tokens_per_second * best.tokens_per_second)
        between = SpeedAndLoss(tokens_per_second=middle, loss=at_rate(own, middle))
        row = BudgetPoints(
            family=family, budget=budget, fastest=fastest, best=best, between=between
        )
        rows.append(row)
    return tuple(rows)


def _protocol(
    measured: Sequence[SamplerPoint], measure: Measure, floor: float, replicates: int, seed: int
) -> str:
    first, texts = measured[0], min(one.num_texts for one in measured)
    loads = [one.load for one in measured if one.load is not None]
    load = f", load of the machine {min(loads):.1f} to {max(loads):.1f}" if loads else ""
    ranked = "generative perplexity" if measure == "generative_perplexity" else "bits per byte"
    return (
        f"At least {texts} texts of {first.length} tokens a point, judged by {first.reference_model}; "
        "speed and quality on the same texts: median tokens/s of repeated calls at the fastest batch "
        f"(powers of two) and of one text alone, warm-up left out, {first.dtype} on {first.device}, "
        f"{first.threads} thread(s) a worker, {first.workers} worker(s) at a time{load}. "
        f"Speeds whose repeats differ by more than {STEADY - 1:.0%} (quartiles) win nothing. "
        f"Ranked by {ranked}; points whose texts have less than {floor:.0%} of held-out text's unigram "
        "entropy are shown but win nothing. Confidence: share of "
        f"{replicates} replicates of both measurements (seed {seed}) in which that family and sampler "
        f"win, over the range's throughputs. Areas with {LEVEL:.0%} intervals."
    )
