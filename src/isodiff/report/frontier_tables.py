"""The frontier of speed and quality in words and tables: who wins which throughputs, every point."""

from __future__ import annotations

from isodiff.report.format import interval, listed, plain, scientific, with_error
from isodiff.report.frontier import NAMES
from isodiff.report.schema import Estimated
from isodiff.report.tables import Cell, Column, Table, as_text
from isodiff.scaling.pareto import FrontierPoint, ThroughputRange
from isodiff.scaling.pareto_result import FrontierResult, SamplerPoint, TextStatistics
from isodiff.units import short


def sentence(found: FrontierResult) -> str:
    """The verdict: who wins which throughputs, in batches and alone."""
    if not found.verdict:
        return f"The frontier is not known: {found.reason or 'no sampler was measured'}."
    return " ".join(
        f"{start} {listed([win_words(win) for win in wins])}."
        for start, wins in (
            ("Best text at each required throughput, in batches:", found.verdict),
            ("One text at a time:", found.verdict_alone),
        )
        if wins
    )


def win_words(win: ThroughputRange) -> str:
    """One range."""
    where = f"up to {short(win.tokens_per_second_to)} tokens/s"
    steps = step_words(win)
    who = f"{win.family}, {win.sampler}" + (f" ({steps} steps)" if steps else "")
    return f"{where} {who} [{win.confidence:.0%} sure]"


def step_words(win: ThroughputRange) -> str:
    """The steps of its settings, many to few; nothing where the sampler has no such dial."""
    steps = [setting.steps for setting in win.settings if setting.steps is not None]
    return spread(f"{max(steps)}", f"{min(steps)}") if steps else ""


def spread(first: str, last: str) -> str:
    """`first to last`, or one of them where they are the same."""
    return first if first == last else f"{first} to {last}"


def wins_table(found: FrontierResult) -> Table:
    """Ranges of throughput with their winners."""
    columns = (
        Column("family", numeric=False),
        Column("texts", numeric=False),
        Column("sampler", numeric=False),
        Column("steps"),
        Column("throughput", "tokens/s, from – to"),
        Column(NAMES[found.measure]),
        Column("entropy", "nats per token"),
        Column("confidence"),
    )
    rows = []
    every = [("in batches", win) for win in found.verdict]
    every += [("one at a time", win) for win in found.verdict_alone]
    for how, win in every:
        points = [point_of(found, setting) for setting in win.settings]
        ends = [measured(point, found.measure, "entropy") for point in (points[0], points[-1])]
        rows.append(
            (
                Cell(win.family),
                Cell(how),
                Cell(win.sampler),
                Cell(step_words(win) or "–"),
                Cell(f"{short(win.tokens_per_second_from)} – {short(win.tokens_per_second_to)}"),
                *(Cell(spread(one.text, two.text)) for one, two in zip(*ends, strict=True)),
                Cell(f"{win.confidence:.0%}"),
            )
        )
    return Table(columns, tuple(rows))


def point_of(found: FrontierResult, setting: FrontierPoint) -> SamplerPoint:
    """The point with this setting."""
    key = (setting.run, setting.sampler, setting.steps)
    return next(p for p in found.points if (p.run, p.sampler, p.steps) == key)


def measured(point: TextStatistics, *names: str) -> list[Cell]:
    """Means with their standard errors."""
    means = [
        Estimated(value=getattr(point, name), standard_error=getattr(point, f"{name}_se"))
        for name in names
    ]
    return [Cell(with_error(mean), key=mean.value) for mean in means]


QUALITIES = (
    "generative_perplexity",
    "bits_per_byte",
    "entropy",
    "distinct_2",
    "repetition",
    "divergence",
)


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
        *(Column(name.replace("_", " ")) for name in QUALITIES),
        Column("texts"),
        Column("standing", numeric=False),
    )
    order = sorted(found.points, key=lambda p: (p.family, p.budget, p.sampler, p.steps or 0))
    rows = [point_row(point) for point in order]
    if found.held_out is not None:
        blank = Cell("–", key=float("inf"))
        rows.append(
            (
                Cell("held-out text"),
                *[blank] * 7,
                *measured(found.held_out, *QUALITIES),
                blank,
                Cell(""),
            )
        )
    return Table(columns, tuple(rows))


def point_row(point: SamplerPoint) -> tuple[Cell, ...]:
    """One point."""
    standing = standing_of(point)
    ends = [short(point.tokens_per_second_low), short(point.tokens_per_second_high)]
    return (
        Cell(point.family),
        Cell(scientific(point.budget), key=point.budget),
        Cell(point.sampler),
        Cell(str(point.steps or "–"), key=point.steps or 0),
        Cell(f"{point.nfe:.1f}", key=point.nfe),
        Cell(
            f"{short(point.tokens_per_second)} [{ends[0]}, {ends[1]}]", key=point.tokens_per_second
        ),
        Cell(str(point.batch or "–"), key=point.batch or 0),
        Cell(f"{point.latency_seconds:.3g}", key=point.latency_seconds),
        *measured(point, *QUALITIES),
        Cell(str(point.num_texts), key=point.num_texts),
        Cell(standing, mark="best" if standing.startswith("frontier") else ""),
    )


def standing_of(point: SamplerPoint) -> str:
    """On which frontier it is, if on any."""
    if point.degenerate:
        return "degenerate"
    on = [
        how
        for how, off in (("batches", point.dominated), ("alone", point.dominated_alone))
        if not off
    ]
    return f"frontier, {' and '.join(on)}" if on else "dominated"


def terminal(found: FrontierResult) -> str:
    """For a terminal: the verdict, who won, every point, areas, protocol."""
    areas = [f"{name} {interval(area)}" for name, area in found.areas.items()]
    parts = [
        sentence(found),
        as_text(wins_table(found)),
        as_text(points_table(found)),
        f"Dominated area, nats x ln(tokens/s): {'; '.join(areas)}",
        found.protocol,
    ]
    return plain("\n\n".join(parts))
