"""Speed and quality: text against throughput, as a figure; who wins which throughputs; every point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from isodiff.record import Mean
from isodiff.report.blocks import MISSING, Cell, Column, Figure, Section, Table, missing
from isodiff.report.format import scientific, with_error, with_interval
from isodiff.report.frontier_chart import MEASURES, frontier_caption, frontier_chart
from isodiff.report.study_folder import StudyFolder
from isodiff.report.text import terminal
from isodiff.scaling.pareto import FrontierPoint, ThroughputRange
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.scaling.sampler_points import SamplerPoint, TextStatistics
from isodiff.units import short

_QUALITIES = (
    "generative_perplexity",
    "bits_per_byte",
    "entropy",
    "distinct_2",
    "repetition",
    "divergence",
)
_WINS = (
    "For required throughputs in each range, the best of the samplers at least that fast: in "
    "batches of the fastest size, or one text at a time. Confidence: share of replicates in which "
    "the same family and sampler win. ± is one standard error over texts."
)
_POINTS = (
    "Distinct 2: different pairs of words over all pairs of a text. Repetition: share of bytes in "
    "strings of 16 bytes that a text holds twice. Divergence: unbiased distance of n-gram profiles "
    "from held-out text, 0 for text like it. Held-out text is measured against other held-out text."
)


def frontier_section(study: StudyFolder) -> Section:
    """The figure, the winners, every point."""
    found = study.frontier
    if found is None:
        why = "The folder holds no frontier.json; isodiff frontier writes one."
        return missing("Speed and quality", "frontier", why)
    return _section(found, study.families)


def _section(found: FrontierResult, families: Sequence[str]) -> Section:
    """The same of a frontier alone; `families` are all that have a color."""
    title, anchor = "Speed and quality", "frontier"
    if not found.points:
        return missing(title, anchor, f"{found.reason or 'No sampler was measured'}.")
    wide, narrow = (frontier_chart(found, families, narrow) for narrow in (False, True))
    figure = Figure(anchor, wide, narrow, frontier_caption(found))
    return Section(title, [figure, wins_table(found), points_table(found)], anchor)


def frontier_text(found: FrontierResult) -> str:
    """The same for a terminal: who won, every point, areas, protocol."""
    if not found.points:
        return f"The frontier is not known: {found.reason or 'no sampler was measured'}."
    areas = "; ".join(f"{name} {with_interval(area)}" for name, area in found.areas.items())
    return terminal(
        wins_table(found),
        points_table(found),
        f"Dominated area, nats x ln(tokens/s): {areas}",
        found.protocol,
    )


def samplers_at_speed(
    found: FrontierResult, *, alone: bool
) -> tuple[float, dict[str, SamplerPoint]] | None:
    """The best sampler of each family at the highest speed that all reach, rounded down to 1, 2 or 5 x 10^n.

    In tokens per second, in batches or `alone`, one text at a time. None where nothing can win.
    """
    own: dict[str, list[SamplerPoint]] = {}
    for point in found.points:
        if not (point.degenerate or (point.unsteady_alone if alone else point.unsteady)):
            own.setdefault(point.family, []).append(point)
    if not own:
        return None
    reach = min(
        max(p.length / p.latency_seconds if alone else p.tokens_per_second for p in points)
        for points in own.values()
    )
    power = 10.0 ** math.floor(math.log10(reach))
    speed = power * max(step for step in (1, 2, 5) if step * power <= reach)
    return speed, {
        family: replace(found, points=tuple(points)).recommend(speed, alone=alone)
        for family, points in own.items()
    }


def sampler_cell(found: FrontierResult, point: SamplerPoint | None) -> Cell:
    """A sampler with its steps and its loss."""
    if point is None:
        return Cell("–", note="none that counts")
    steps = "" if point.steps is None else f", {point.steps} steps"
    measure = MEASURES[found.measure].removeprefix("generative ")
    note = f"{measure} {with_error(_mean(point, found.measure))}"
    return Cell(f"{point.sampler}{steps}", note=note)


def _step_words(win: ThroughputRange) -> str:
    """The steps of its settings, many to few; nothing where the sampler has no such dial."""
    steps = [setting.steps for setting in win.settings if setting.steps is not None]
    return _range(f"{max(steps)}", f"{min(steps)}") if steps else ""


def _range(first: str, last: str) -> str:
    """`first to last`, or one of them where they are the same."""
    return first if first == last else f"{first} to {last}"


def wins_table(found: FrontierResult) -> Table:
    """Ranges of throughput with their winners."""
    columns = (
        *(Column(name, numeric=False) for name in ("family", "texts", "sampler")),
        Column("steps"),
        Column("throughput", "tokens/s, from – to"),
        Column(MEASURES[found.measure]),
        Column("entropy", "nats per token"),
        Column("confidence"),
    )
    every = [("in batches", win) for win in found.verdict]
    every += [("one at a time", win) for win in found.verdict_alone]
    return Table(columns, tuple(_win_row(found, how, win) for how, win in every), caption=_WINS)


def _win_row(found: FrontierResult, how: str, win: ThroughputRange) -> tuple[Cell, ...]:
    slowest, fastest = (
        _measured(_point_of(found, win.settings[i]), found.measure, "entropy") for i in (0, -1)
    )
    return (
        Cell(win.family),
        Cell(how),
        Cell(win.sampler),
        Cell(_step_words(win) or "–"),
        Cell(f"{short(win.tokens_per_second_from)} – {short(win.tokens_per_second_to)}"),
        *(Cell(_range(one.text, two.text)) for one, two in zip(slowest, fastest, strict=True)),
        Cell(f"{win.confidence:.0%}"),
    )


def _point_of(found: FrontierResult, setting: FrontierPoint) -> SamplerPoint:
    key = (setting.run, setting.sampler, setting.steps)
    return next(p for p in found.points if (p.run, p.sampler, p.steps) == key)


def _mean(point: TextStatistics, name: str) -> Mean:
    return Mean(getattr(point, name), getattr(point, f"{name}_se"), 0)


def _measured(point: TextStatistics, *names: str) -> list[Cell]:
    means = [_mean(point, name) for name in names]
    return [Cell(with_error(mean), key=mean.value) for mean in means]


def points_table(found: FrontierResult) -> Table:
    """Every point, and held-out text."""
    columns = (
        Column("family", numeric=False),
        Column("budget", "FLOPs"),
        Column("sampler", numeric=False),
        Column("steps"),
        Column("NFE"),
        Column("speed", "tokens/s [quartiles]"),
        Column("batch"),
        Column("latency", "s, one text"),
        *(Column(name.replace("_", " ")) for name in _QUALITIES),
        Column("texts"),
        Column("standing", numeric=False),
    )
    order = sorted(found.points, key=lambda p: (p.family, p.budget, p.sampler, p.steps or 0))
    rows = [_point_row(point) for point in order]
    if found.held_out is not None:
        measured = _measured(found.held_out, *_QUALITIES)
        rows.append((Cell("held-out text"), *[MISSING] * 7, *measured, MISSING, Cell("")))
    fold = "Every sampler that was measured"
    return Table(columns, tuple(rows), caption=_POINTS, style="sortable", fold=fold)


def _point_row(point: SamplerPoint) -> tuple[Cell, ...]:
    speed, standing = point.tokens_per_second, _standing_of(point)
    quartiles = f"[{short(point.tokens_per_second_low)}, {short(point.tokens_per_second_high)}]"
    return (
        Cell(point.family),
        Cell(scientific(point.budget), key=point.budget),
        Cell(point.sampler),
        Cell(str(point.steps or "–"), key=point.steps or 0),
        Cell(f"{point.nfe:.1f}", key=point.nfe),
        Cell(f"{short(speed)} {quartiles}", key=speed),
        Cell(str(point.batch or "–"), key=point.batch or 0),
        Cell(f"{point.latency_seconds:.3g}", key=point.latency_seconds),
        *_measured(point, *_QUALITIES),
        Cell(str(point.num_texts), key=point.num_texts),
        Cell(standing, mark="best" if standing.startswith("frontier") else ""),
    )


def _standing_of(point: SamplerPoint) -> str:
    """On which frontier it is, if on any."""
    if point.degenerate:
        return "degenerate"
    ways = {"batches": (False, point.unsteady), "alone": (True, point.unsteady_alone)}
    on = [how for how, (alone, _) in ways.items() if point.on_frontier(alone=alone)]
    off = [how for how, (_, unsteady) in ways.items() if unsteady]
    said = [f"frontier, {' and '.join(on)}"] if on else []
    said += [f"unsteady, {' and '.join(off)}"] if off else []
    return "; ".join(said) or "dominated"
