"""Fitted laws for people at a terminal: one text per kind of result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import numpy as np

from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.fitting.holdout import Prediction, RunPrediction, RunsHeldOut
from isodiff.scaling.laws.data_constrained_result import (
    DataConstrainedFamily,
    DataConstrainedResult,
)
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, IsoflopResult
from isodiff.scaling.laws.law import Conventions, FamilyResult, LawResult, Span
from isodiff.scaling.laws.parametric_result import (
    Comparison,
    FittedRun,
    ParametricFamily,
    ParametricResult,
)
from isodiff.units import short


def law_text(result: LawResult) -> str:
    """The fit, then what to beware of, then what was done."""
    parts = fitted(result)
    if result.conventions is not None:
        parts.append(conventions(result.conventions))
    if result.warnings:
        parts.append("Warnings\n" + "\n".join(f"  {line}" for line in result.warnings))
    return "\n\n".join([*parts, result.protocol])


@singledispatch
def fitted(fit: LawResult) -> list[str]:
    """What a law found, in parts."""
    raise NotImplementedError(type(fit))


@fitted.register
def isoflop(fit: IsoflopResult) -> list[str]:
    """A table per family, then the multipliers."""
    parts = [f"IsoFLOP law of {fit.source}"]
    parts += [isoflop_family(name, family) for name, family in fit.families.items()]
    multipliers = {
        name: family.multiplier_vs_autoregressive or Quantity()
        for name, family in fit.families.items()
    }
    width = max(map(len, multipliers))
    parts.append(
        "Compute over that of autoregressive at equal loss\n"
        + "\n".join(
            f"  {name:<{width}}  {quantity(value, '.3g')}" for name, value in multipliers.items()
        )
    )
    return parts


def isoflop_family(name: str, family: IsoflopFamily) -> str:
    """One family: its minima, its refusals, its exponents."""
    lines = [titled(name, family)]
    if family.budgets:
        lines.append(f"  {'C':>8}  {'sizes':>5}  {'N*':<24}{'D*':<9}L*, nats per token")
    for row in family.budgets:
        size, loss = short(row.N_opt), f"{row.L_opt:.4f}"
        if row.N_low is not None and row.N_high is not None:
            size += f" [{short(row.N_low)}, {short(row.N_high)}]"
            loss += f" [{row.L_low:.4f}, {row.L_high:.4f}]"
        tokens = "" if row.D_opt is None else short(row.D_opt)
        lines.append(f"  {row.flops:>8.3g}  {row.sizes:>5}  {size:<24}{tokens:<9}{loss}")
    lines += [f"  {row.flops:>8.3g}  refused: {row.reason}" for row in family.refused]
    lines += checks(family)
    exponents = (family.N_exponent, family.D_exponent, family.L_exponent)
    for symbol, exponent in zip("NDL", exponents, strict=True):
        floor = " - E" if symbol == "L" and family.irreducible_loss is not None else ""
        lines.append(f"  {symbol}*{floor} ~ C^p, p = {quantity(exponent or Quantity(), '.4f')}")
    if family.irreducible_loss is not None:
        lines.append(f"  E = {quantity(family.irreducible_loss, '.3f')}")
    return "\n".join(lines)


def checks(family: IsoflopFamily) -> list[str]:
    """The largest budget as the smaller ones predict it, and the bias of the parabolas."""
    lines, found = [], family.validation
    if found.reason is not None:
        lines.append(f"  Not validated: {found.reason}")
    else:
        lines.append(f"  Left out and foretold: {found.rule}")
        forms = (("N", found.N, None), ("D", found.D, None), ("L", found.L, ".4f"))
        for symbol, row, form in forms:
            if row is None:
                continue
            ends = span(row)
            seen = short(row.observed) if form is None else f"{row.observed:{form}}"
            lines.append(
                f"    {symbol}* predicted {spread(row.predicted, ends, form):<26} observed {seen}"
            )
    moved = [row.parabola_bias_N for row in family.budgets]
    if any(bias is not None for bias in moved):
        shown = ", ".join("unknown" if bias is None else f"{bias:+.1%}" for bias in moved)
        lines.append(f"  The form of the parabola moves N* by {shown}")
    return lines


@fitted.register
def parametric(fit: ParametricResult) -> list[str]:
    """Constants, predicted budget, optima and most influential runs of each family."""
    parts = [f"Parametric law L = E + A/N^alpha + B/D^beta of {fit.source}"]
    parts += [parametric_family(name, family) for name, family in fit.families.items()]
    if fit.comparison:
        parts.append(comparison(fit.comparison))
    return parts


def parametric_family(name: str, family: ParametricFamily) -> str:
    """One family."""
    ends = family.intervals
    lines = [f"{titled(name, family)}, {family.num_points} runs"]
    for symbol, value, span, form in (
        ("E", family.E, ends.E, ".4f"),
        ("A", family.A, ends.A, ".4g"),
        ("B", family.B, ends.B, ".4g"),
        ("alpha", family.alpha, ends.alpha, ".4f"),
        ("beta", family.beta, ends.beta, ".4f"),
    ):
        lines.append(f"  {symbol:<6} {spread(value, span, form)}")
    exponents = (("N", family.exponents.N, ends.N), ("D", family.exponents.D, ends.D))
    for symbol, value, span in exponents:
        lines.append(f"  {symbol}* ~ C^p, p = {spread(value, span, '.4f')}")
    lines.append(f"  objective {family.objective:.6g}, scatter {family.noise.rms:.2%} rms")
    lines.append("  " + predicted(family.validation).replace("\n", "\n  "))
    lines.append(f"  {'C':>8}  {'N*':<26}{'D*':<9}L*, nats per token")
    for row in family.optima:
        size = spread(row.N, row.N_interval, None)
        loss = spread(row.L, row.L_interval, ".3f")
        lines.append(f"  {row.flops:>8.1g}  {size:<26}{short(row.D):<9}{loss}")
    lines.append("  " + influential(family.runs))
    return "\n".join(lines)


@fitted.register
def data_constrained(fit: DataConstrainedResult) -> list[str]:
    """R_D and R_N with what the data know of them, rival forms, the budget predicted."""
    parts = [f"Law of repeated data of {fit.source}"]
    parts += [data_constrained_family(name, family) for name, family in fit.families.items()]
    for row in fit.overtaking:
        when = "never in reach" if row.flops is None else f"from {row.flops:.2g} FLOPs"
        parts.append(f"On a text of {short(row.unique_tokens)} tokens {row.family} is best {when}")
    return parts


def data_constrained_family(name: str, family: DataConstrainedFamily) -> str:
    """One family."""
    lines = [
        f"{titled(name, family)}, {family.num_points} runs of up to {family.max_epochs:.3g} epochs"
    ]
    ends, bounded = family.intervals, family.identified
    for symbol, value, (low, high), known in (
        ("R_D", family.R_D, ends.R_D, bounded.R_D),
        ("R_N", family.R_N, ends.R_N, bounded.R_N),
    ):
        span = (
            f"[{'0' if low is None else f'{low:.3g}'}, {'inf' if high is None else f'{high:.3g}'}]"
        )
        lines.append(f"  {symbol} {decay(value)} {span}{'' if known else ', not identified'}")
    lines.append(f"  objective {family.objective:.6g}")
    for title, row in (
        ("as printed", family.published),
        ("all fitted together", family.all_fitted_together),
    ):
        if row is not None:
            constants = f"R_D {decay(row.R_D)}, R_N {decay(row.R_N)}"
            lines.append(f"  {title}: {constants}, objective {row.objective:.6g}")
    marks = np.geomspace(1, 1e5, 11)
    r, objective = np.array(family.profile).T
    along = np.interp(np.log(marks), np.log(r), objective)
    shown = [f"{mark:.3g}: {value:.5g}" for mark, value in zip(marks, along, strict=True)]
    lines.append("  objective along R_D: " + ", ".join(shown))
    for row in family.models:
        lines.append(
            f"  {row.model:<15} {row.parameters:>2} constants, objective {row.objective:.5g}, "
            f"AICc {row.delta_aicc:+.1f}"
        )
    lines.append("  " + predicted(family.validation).replace("\n", "\n  "))
    return "\n".join(lines)


def decay(r: float) -> str:
    """R_D or R_N; without decay it grows beyond all bounds."""
    return "inf" if r > 1e6 else f"{r:.4g}"


def predicted(checked: RunsHeldOut) -> str:
    """Predicted against observed, of what was left out."""
    if checked.reason is not None or checked.runs is None:
        return f"Not validated: {checked.reason}"
    held = "" if checked.inside is None else f", {checked.inside:.0%} inside their intervals"
    lines = [
        f"Left out and foretold: {checked.rule}: error {checked.bias:+.2%} on average, "
        f"{checked.rmse:.2%} rms{held}"
    ]
    for row in thinned(checked.runs):
        ends = span(row)
        lines.append(
            f"  N {short(row.parameters):<7} D {short(row.tokens):<7}"
            f"predicted {spread(row.predicted, ends, '.3f'):<24} observed {row.observed:.3f}"
        )
    return "\n".join(lines)


def span(row: Prediction) -> Span | None:
    """The interval of a prediction, if it has one."""
    return None if row.low is None or row.high is None else (row.low, row.high)


def thinned(rows: Sequence[RunPrediction], most: int = 6) -> Sequence[RunPrediction]:
    """At most so many rows, evenly over the sizes."""
    ranked = sorted(rows, key=lambda row: row.parameters)
    step = max(1, -(-len(ranked) // most))
    return ranked[::step]


def influential(runs: Sequence[FittedRun], most: int = 3) -> str:
    """The runs that move the exponent of N* most when they are left out."""
    known = [
        (run.moves_N_exponent, run.id or short(run.parameters))
        for run in runs
        if run.moves_N_exponent is not None
    ]
    ranked = sorted(known, key=lambda pair: -abs(pair[0]))[:most]
    named = [f"{name} {moved:+.4f}" for moved, name in ranked]
    return "Without one run the exponent of N* moves by at most: " + ", ".join(named)


def comparison(found: Comparison) -> str:
    """What families may share."""
    lines = [
        f"{'What the families share':<24}{'constants':>10}{'AICc':>9}  error at the largest budgets"
    ]
    for row in found.models:
        error = "unknown" if row.held_out_rmse is None else f"{row.held_out_rmse:.2%} rms"
        name = {"separate": "nothing"}.get(row.model, row.model.removeprefix("shared "))
        lines.append(f"  {name:<22}{row.parameters:>10}{row.delta_aicc:>+9.1f}  {error}")
    return "\n".join(lines)


def conventions(found: Conventions) -> str:
    """Every number under every convention, and how far it moves."""
    lines = ["The same runs under other conventions of C and N"]
    for name, numbers in found.moved.items():
        width = 14
        heads = "".join(f"{title(number):>{width + 2}}" for number in numbers)
        lines.append(f"  {name:<16}{'C':<14}{'N':<15}{heads}")
        for row in found.rows:
            values = row.families.get(name, {})
            shown = "".join(f"{number(values.get(key)):>{width + 2}}" for key in numbers)
            lines.append(f"  {'':<16}{row.flops:<14}{row.parameters:<15}{shown}")
        spans = [
            "-" if ends is None else f"{number(ends[0])}..{number(ends[1])}"
            for ends in numbers.values()
        ]
        lines.append(f"  {'':<16}{'from .. to':<29}" + "".join(f"{s:>{width + 2}}" for s in spans))
    return "\n".join(lines)


def title(number: str) -> str:
    """A number's name in a table's head."""
    return {"multiplier_vs_autoregressive": "multiplier"}.get(number, number.replace("_", " "))


def number(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"


def titled(name: str, family: FamilyResult) -> str:
    """The family's name and what its losses are."""
    return f"{name} ({family.kind})" if family.kind else name


def spread(value: float, ends: Sequence[float] | None, form: str | None) -> str:
    """`value [low, high]`; with metric prefixes where no format is given."""

    def shown(x: float) -> str:
        return short(x) if form is None else f"{x:{form}}"

    return shown(value) if ends is None else f"{shown(value)} [{shown(ends[0])}, {shown(ends[1])}]"


def quantity(value: Quantity, form: str) -> str:
    """`value [low, high]`, or why a part is missing."""
    if value.value is None:
        return f"unknown: {value.reason}"
    if value.low is None:
        return f"{value.value:{form}} (no interval: {value.reason})"
    return f"{value.value:{form}} [{value.low:{form}}, {value.high:{form}}]"
