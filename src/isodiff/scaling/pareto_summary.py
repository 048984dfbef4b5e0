"""Measured points as plain JSON with what follows from them: domination, verdicts, areas, budgets.

There are two frontiers, since speed has two meanings: tokens per second at the fastest batch (who serves
many), and of one text alone (who answers first). At the fastest batch arithmetic decides, alone the number
of network evaluations does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from isodiff.errors import InputError
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.pareto import (
    REPLICATES,
    Frontier,
    FrontierPoint,
    Range,
    at_rate,
)

QUARTILES = 1.349  # between the quartiles of a normal law, in standard deviations
FLOOR = 0.95
"""Share of held-out text's entropy below which a point's texts count as degenerate."""
MEASURES = {
    "generative_perplexity": "nats_per_token",
    "bits_per_byte": "bits_per_byte",
}
"""What points are ranked by, and the mean (per token, or per byte) that stands behind it."""


def summary(
    measured: Sequence[dict[str, Any]],
    *,
    held_out: dict[str, Any],
    measure: str = "generative_perplexity",
    floor: float = FLOOR,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[str, Any]:
    """The points, each with `dominated` and `degenerate`, and the verdicts over all of them.

    `verdict`, `areas` and `budgets` are for the fastest batch, `verdict_alone` for one text at a time.

    Args:
        measured: points as the study's workers describe them.
        held_out: the same statistics of held-out text.
        measure: a key of `MEASURES`.
        floor: smallest share of held-out text's entropy with which a point can win.
        replicates: of the measurements, behind confidences and intervals.
        seed: of the replicates.

    Raises:
        InputError: no points, or only degenerate ones.
    """
    if not measured:
        raise InputError("no run was sampled; nothing to draw a frontier from")
    least = floor * held_out["entropy"]
    points = [frontier_point(one, measure, least) for one in measured]
    if all(point.degenerate for point in points):
        raise InputError(
            f"every sampler's texts have an entropy below {least:.2f} nats ({floor:.0%} of held-out "
            "text's); give samplers with more steps, or a lower --entropy-floor"
        )
    frontier = Frontier(points, replicates=replicates, seed=seed)
    single = [frontier_point(one, measure, least, alone=True) for one in measured]
    by_latency = Frontier(single, replicates=replicates, seed=seed)
    flags = zip(measured, points, frontier.dominated(), by_latency.dominated(), strict=True)
    families = list(dict.fromkeys(point.family for point in points))
    return {
        "points": [
            {
                **one,
                "dominated": dominated,
                "dominated_alone": dominated_alone,
                "degenerate": point.degenerate,
            }
            for one, point, dominated, dominated_alone in flags
        ],
        "verdict": [range_json(one) for one in frontier.verdict()],
        "verdict_alone": [range_json(one) for one in by_latency.verdict()],
        "areas": {name: frontier.area(lambda p, name=name: p.family == name) for name in families},
        "budgets": per_budget(points),
        "held_out": held_out,
        "measure": measure,
        "entropy_floor": {"share": floor, "nats": least},
        "replicates": replicates,
        "seed": seed,
        "protocol": protocol(measured, measure, floor, replicates, seed),
    }


def frontier_point(
    one: dict[str, Any], measure: str, least: float, *, alone: bool = False
) -> FrontierPoint:
    """A measured point as the frontier sees it; losses in nats, speed at the fastest batch or `alone`."""
    mean = MEASURES[measure]
    unit = math.log(2) if mean == "bits_per_byte" else 1.0
    clock = "latency_seconds" if alone else "tokens_per_second"
    spread = math.log(one[f"{clock}_high"] / one[f"{clock}_low"])
    speed = one["length"] / one[clock] if alone else one[clock]
    calls = one["calls_alone" if alone else "calls"]
    return FrontierPoint(
        run=one["run"],
        family=one["family"],
        sampler=one["sampler"],
        steps=one["steps"],
        budget=one["budget"],
        tokens_per_second=speed,
        log_speed_se=spread / QUARTILES / math.sqrt(calls),
        loss=one[mean] * unit,
        loss_se=one[f"{mean}_se"] * unit,
        degenerate=one["entropy"] < least,
    )


def range_json(one: Range) -> dict[str, Any]:
    """A range of throughputs and who wins it."""
    return {
        "tokens_per_second_from": one.low,
        "tokens_per_second_to": one.high,
        "family": one.points[0].family,
        "sampler": one.points[0].sampler,
        "confidence": one.confidence,
        "settings": [setting(point) for point in one.points],
    }


def per_budget(points: Sequence[FrontierPoint]) -> list[dict[str, Any]]:
    """For each family and budget: its fastest and its best eligible point, and the loss between them."""
    rows = []
    for family, budget in sorted({(p.family, p.budget) for p in points}):
        own = [p for p in points if (p.family, p.budget) == (family, budget) and not p.degenerate]
        if not own:
            continue
        fastest = max(own, key=lambda p: p.tokens_per_second)
        best = min(own, key=lambda p: p.loss)
        middle = math.sqrt(fastest.tokens_per_second * best.tokens_per_second)
        rows.append(
            {
                "family": family,
                "budget": budget,
                "fastest": setting(fastest),
                "best": setting(best),
                "between": {"tokens_per_second": middle, "loss": at_rate(own, middle)},
            }
        )
    return rows


def setting(point: FrontierPoint) -> dict[str, Any]:
    """A point in short."""
    return {
        "run": point.run,
        "budget": point.budget,
        "sampler": point.sampler,
        "steps": point.steps,
        "tokens_per_second": point.tokens_per_second,
        "loss": point.loss,
    }


def recommendation(
    found: dict[str, Any], rate: float, budget: float | None = None, *, alone: bool = False
) -> dict[str, Any]:
    """The measured point to use where `rate` tokens per second are needed, trained within `budget` FLOPs."""
    least = found["entropy_floor"]["nats"]
    points = [frontier_point(one, found["measure"], least, alone=alone) for one in found["points"]]
    best = Frontier(points, replicates=0).recommend(rate, budget)
    return found["points"][points.index(best)]


def protocol(
    measured: Sequence[dict[str, Any]], measure: str, floor: float, replicates: int, seed: int
) -> str:
    """What was done, in a few sentences."""
    first = measured[0]
    texts = min(one["num_texts"] for one in measured)
    ranked = "generative perplexity" if measure == "generative_perplexity" else "bits per byte"
    return (
        f"At least {texts} texts of {first['length']} tokens a point, judged by {first['judge']}; "
        "speed and quality on the same texts: median tokens/s of repeated calls at the fastest batch "
        f"(powers of two) and of one text alone, warm-up left out, {first['dtype']} on {first['device']}, "
        f"{first['threads']} thread(s) a worker, {first['workers']} worker(s) at a time. "
        f"Ranked by {ranked}; points whose texts have less than {floor:.0%} of held-out text's unigram "
        "entropy are shown but win nothing. Confidence: share of "
        f"{replicates} replicates of both measurements (seed {seed}) in which that family and sampler "
        f"win, over the range's throughputs. Areas with {LEVEL:.0%} intervals."
    )
