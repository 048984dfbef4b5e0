"""A fitted law for a terminal: a section per family, what to beware of, what was done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from isodiff.cli.isoflop_text import Parts, isoflop_parts, titled
from isodiff.report.blocks import Block, Section, Table, Text
from isodiff.report.format import decay, spread
from isodiff.report.sections.scaling import numbers_table
from isodiff.report.text import terminal
from isodiff.scaling.fitting.holdout import RunPrediction, RunsHeldOut
from isodiff.scaling.laws.data_constrained_diagnostics import (
    DataConstrainedFamily,
    DataConstrainedResult,
    DecayConstants,
)
from isodiff.scaling.laws.isoflop_result import IsoflopResult
from isodiff.scaling.laws.law import Conventions, LawResult, OpenSpan
from isodiff.scaling.laws.model_comparison import Comparison
from isodiff.scaling.laws.parametric_result import (
    FittedRun,
    ParametricFamily,
    ParametricResult,
)
from isodiff.units import short


def law_text(result: LawResult) -> str:
    """The fit for a terminal."""
    parts = law_parts(result)
    if result.conventions is not None:
        parts.append(_conventions(result.conventions))
    if result.warnings:
        parts.append(Section("Warnings", [Text(result.warnings)]))
    return terminal(*parts, result.protocol)


@singledispatch
def law_parts(result: LawResult) -> Parts:
    """What a law found. A law that says no more is shown by its numbers."""
    sections = [
        Section(titled(name, family), [numbers_table(family)])
        for name, family in result.families.items()
    ]
    return [f"{result.law} law of {result.source}", *sections]


@law_parts.register
def _(result: IsoflopResult) -> Parts:
    return isoflop_parts(result)


@law_parts.register
def _(result: ParametricResult) -> Parts:
    return [
        f"Parametric law L = E + A/N^alpha + B/D^beta of {result.source}",
        *(_parametric(name, family) for name, family in result.families.items()),
        *([_comparison(result.comparison)] if result.comparison else []),
    ]


def _parametric(name: str, family: ParametricFamily) -> Section:
    """Constants, predicted budget, optima and most influential runs of one family."""
    ends, exponents = family.intervals, family.exponents
    constants = [
        ("E", spread(family.E, ends.E, ".4f")),
        ("A", spread(family.A, ends.A, ".4g")),
        ("B", spread(family.B, ends.B, ".4g")),
        ("alpha", spread(family.alpha, ends.alpha, ".4f")),
        ("beta", spread(family.beta, ends.beta, ".4f")),
        ("N*", f"~ C^p, p = {spread(exponents.N, ends.N, '.4f')}"),
        ("D*", f"~ C^p, p = {spread(exponents.D, ends.D, '.4f')}"),
        ("objective", f"{family.objective:.6g}, scatter {family.noise.rms:.2%} rms"),
    ]
    optima = [
        (
            f"{row.flops:.1g}",
            spread(row.N, row.N_interval),
            short(row.D),
            spread(row.L, row.L_interval, ".3f"),
        )
        for row in family.optima
    ]
    blocks = [
        Table.of_terms(constants),
        _held_out(family.validation),
        Table.of(("C", "N*", "D*", "L*, nats per token"), optima),
        Text([_influential(family.runs)]),
    ]
    return Section(f"{titled(name, family)}, {family.num_points} runs", blocks)


@law_parts.register
def _(result: DataConstrainedResult) -> Parts:
    parts: Parts = [f"Law of repeated data of {result.source}"]
    parts += [_data_constrained(name, family) for name, family in result.families.items()]
    for row in result.overtaking:
        when = "never in reach" if row.flops is None else f"from {row.flops:.2g} FLOPs"
        parts.append(f"On a text of {short(row.unique_tokens)} tokens {row.family} is best {when}")
    return parts


def _data_constrained(name: str, family: DataConstrainedFamily) -> Section:
    """R_D and R_N of one family with what the data know of them, rival forms, the budget predicted."""
    ends, known = family.intervals, family.identified
    marks = np.geomspace(1, 1e5, 11)
    r, objective = np.array(family.profile).T
    along = np.interp(np.log(marks), np.log(r), objective)
    profile = [f"{mark:.3g}: {value:.5g}" for mark, value in zip(marks, along, strict=True)]
    lines = [
        _decay("R_D", family.R_D, ends.R_D, known.R_D),
        _decay("R_N", family.R_N, ends.R_N, known.R_N),
        f"objective {family.objective:.6g}",
        *_other("as printed", family.published),
        *_other("all fitted together", family.all_fitted_together),
        f"objective along R_D: {', '.join(profile)}",
    ]
    models = [
        (row.model, row.parameters, f"{row.objective:.5g}", f"{row.delta_aicc:+.1f}")
        for row in family.models
    ]
    blocks = [
        Text(lines),
        Table.of(("form", "constants", "objective", "AICc"), models),
        _held_out(family.validation),
    ]
    runs = f"{family.num_points} runs of up to {family.max_epochs:.3g} epochs"
    return Section(f"{titled(name, family)}, {runs}", blocks)


def _decay(symbol: str, value: float, ends: OpenSpan, identified: bool) -> str:
    low, high = ("" if end is None else f"{end:.3g}" for end in ends)
    known = "" if identified else ", not identified"
    return f"{symbol} {decay(value)} [{low or '0'}, {high or 'inf'}]{known}"


def _other(title: str, row: DecayConstants | None) -> list[str]:
    if row is None:
        return []
    constants = f"R_D {decay(row.R_D)}, R_N {decay(row.R_N)}"
    return [f"{title}: {constants}, objective {row.objective:.6g}"]


def _held_out(found: RunsHeldOut) -> Block:
    """Predicted against observed, of what was left out."""
    if found.reason is not None or found.runs is None:
        return Text([f"Not validated: {found.reason}"])
    held = "" if found.inside is None else f", {found.inside:.0%} inside their intervals"
    rows = [
        (
            short(row.parameters),
            short(row.tokens),
            spread(row.predicted, (row.low, row.high), ".3f"),
            f"{row.observed:.3f}",
        )
        for row in _thinned(found.runs)
    ]
    title = (
        f"Left out and predicted: {found.rule}: error {found.bias:+.2%} on average, "
        f"{found.rmse:.2%} rms{held}"
    )
    return Table.of(("N", "D", "predicted", "observed"), rows, title=title)


def _thinned(rows: Sequence[RunPrediction], most: int = 6) -> Sequence[RunPrediction]:
    """At most so many rows, evenly over the sizes."""
    ranked = sorted(rows, key=lambda row: row.parameters)
    return ranked[:: max(1, -(-len(ranked) // most))]


def _influential(runs: Sequence[FittedRun], most: int = 3) -> str:
    """The runs that move the exponent of N* most when they are left out."""
    moved = [(run.moves_N_exponent, run.id or short(run.parameters)) for run in runs]
    known = [(by, name) for by, name in moved if by is not None]
    ranked = sorted(known, key=lambda pair: -abs(pair[0]))[:most]
    named = ", ".join(f"{name} {by:+.4f}" for by, name in ranked)
    return f"Without one run the exponent of N* moves by at most: {named}"


def _comparison(found: Comparison) -> Table:
    rows = [
        (
            "nothing" if row.model == "separate" else row.model.removeprefix("shared "),
            row.parameters,
            f"{row.delta_aicc:+.1f}",
            "unknown" if row.held_out_rmse is None else f"{row.held_out_rmse:.2%} rms",
        )
        for row in found.models
    ]
    names = ("What the families share", "constants", "AICc", "error at the largest budgets")
    return Table.of(names, rows)


def _conventions(found: Conventions) -> Section:
    """Every number under every convention, and how far it moves."""

    def digits(value: float | None) -> str:
        return "-" if value is None else f"{value:.4g}"

    tables = []
    for name, moved in found.moved.items():
        rows = [
            (
                row.flops,
                row.parameters,
                *(digits(row.families.get(name, {}).get(key)) for key in moved),
            )
            for row in found.rows
        ]
        spans = [
            "-" if ends is None else f"{digits(ends[0])}..{digits(ends[1])}"
            for ends in moved.values()
        ]
        heads = [key.removesuffix("_vs_autoregressive").replace("_", " ") for key in moved]
        rows.append(("from .. to", "", *spans))
        tables.append(Table.of(("C", "N", *heads), rows, title=name))
    return Section("The same runs under other conventions of C and N", tables)
