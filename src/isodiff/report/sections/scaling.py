"""Scaling laws: IsoFLOP, every other one that was fitted, conventions, ten times the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isodiff.report.blocks import Block, Cell, Column, Section, Table, Text
from isodiff.report.format import decay, ratio, spread, with_interval
from isodiff.report.sections.extrapolation import extrapolation
from isodiff.report.sections.laws import law_tables
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.laws.data_constrained_diagnostics import (
    DataConstrainedFamily,
    DataConstrainedResult,
)
from isodiff.scaling.laws.isoflop_result import IsoflopResult
from isodiff.scaling.laws.law import Conventions, FamilyResult, LawResult, OpenSpan
from isodiff.scaling.laws.model_comparison import Comparison
from isodiff.scaling.laws.parametric_result import ParametricFamily, ParametricResult

_PARAMETRIC = "The parametric law E + A/N^α + B/D^β"
_REPEATED = "Repeated text"


def scaling_section(study: StudyFolder) -> Section:
    """Every law that was fitted, and the plan."""
    laws = study.laws.values()
    parametric = next((law for law in laws if isinstance(law, ParametricResult)), None)
    blocks = [*law_tables(study), _constants(study, parametric)]
    if parametric is not None and parametric.comparison:
        blocks.append(_comparison(parametric.comparison))
    for law in laws:
        if isinstance(law, DataConstrainedResult):
            blocks.append(_worth(study, law))
        elif not isinstance(law, ParametricResult | IsoflopResult):
            blocks += [
                numbers_table(found, f"{law.law}: {name}") for name, found in law.families.items()
            ]
    blocks += [
        _conventions(law.conventions, _ordered(study, law)) for law in laws if law.conventions
    ]
    return Section("Scaling laws", [*blocks, *extrapolation(study)], "laws")


def _ordered(study: StudyFolder, law: LawResult) -> list[str]:
    """Its families in the order of the study."""
    return sorted(law.families, key=study.place)


def _absent(law: LawResult | None, name: str) -> list[str]:
    """Why a law is not there."""
    if law is None:
        write = f"isodiff fit RUNS --law {name} --out {name}.json writes one"
        return [f"The folder holds no {name}.json; {write}."]
    return ["; ".join(law.warnings) or f"{name}.json holds no family."]


def _constants(study: StudyFolder, law: LawResult | None) -> Block:
    """E, the exponents and what they predict, of E + A/N^alpha + B/D^beta."""
    if not isinstance(law, ParametricResult) or not law.families:
        return Text(_absent(law, "parametric"), "missing", title=_PARAMETRIC)
    columns = (
        Column("family", numeric=False),
        Column("E", "nats per token"),
        Column("α", "exponent of N"),
        Column("β", "exponent of D"),
        Column("N*", "exponent of C"),
        Column("scatter", "of runs, rms"),
        Column("predicted", "error at the largest budget, rms"),
    )
    rows = tuple(_constants_row(name, law.families[name]) for name in _ordered(study, law))
    caption = (
        f"Huber's loss of log loss over all {sum(f.num_points for f in law.families.values())} runs; "
        f"[low, high] are {LEVEL:.0%} intervals. N*: the compute-optimal size, in the middle of the runs' "
        "compute. Predicted: the law without the runs of the largest budget, against them."
    )
    return Table(columns, rows, title=_PARAMETRIC, caption=caption)


def _constants_row(name: str, family: ParametricFamily) -> tuple[Cell, ...]:
    ends = family.intervals
    values = (
        (family.E, ends.E),
        (family.alpha, ends.alpha),
        (family.beta, ends.beta),
        (family.exponents.N, ends.N),
    )
    shown = (Cell(spread(value, span, ".3f")) for value, span in values)
    return (Cell(name), *shown, Cell(f"{family.noise.rms:.2%}"), _held_out(family.validation))


def _held_out(found: RunsHeldOut) -> Cell:
    """How far the runs left out lie from the law of the others."""
    if found.rmse is None or found.bias is None:
        return Cell("–", note=found.reason or "")
    return Cell(f"{found.rmse:.2%}", note=f"{found.bias:+.2%} on average")


def _comparison(found: Comparison) -> Table:
    """What families may have in common."""
    columns = (
        Column("in common", numeric=False),
        Column("constants"),
        Column("ΔAICc", "least is best"),
        Column("predicted", "error at the largest budgets, rms"),
    )
    rows = tuple(
        (
            Cell("nothing" if row.model == "separate" else row.model.removeprefix("shared ")),
            Cell(str(row.parameters)),
            Cell(f"{row.delta_aicc:+.1f}"),
            Cell("–" if row.held_out_rmse is None else f"{row.held_out_rmse:.2%}"),
        )
        for row in found.models
    )
    return Table(
        columns,
        rows,
        title="What the families have in common",
        caption="The parametric law fitted to all families together, with constants shared or each its own.",
    )


def _worth(study: StudyFolder, law: LawResult) -> Block:
    """R_D and R_N: what repeated text is worth."""
    if not isinstance(law, DataConstrainedResult) or not law.families:
        return Text(_absent(law, "repeated"), "missing", title=_REPEATED)
    columns = (
        Column("family", numeric=False),
        Column("most epochs"),
        Column("R_D", "epochs that pay"),
        Column("R_N", "sizes that pay"),
        Column("predicted", "error of the runs of most compute, rms"),
    )
    rows = tuple(_worth_row(name, law.families[name]) for name in _ordered(study, law))
    caption = (
        "A text of U tokens seen D/U times counts as U + U R_D (1 − exp(−(D/U − 1)/R_D)) fresh tokens; "
        f"sizes beyond the best for U likewise with R_N. [low, high] are {LEVEL:.0%} intervals by "
        "likelihood ratio; not identified: no value is rejected towards one end."
    )
    return Table(columns, rows, title=_REPEATED, caption=caption)


def _worth_row(name: str, family: DataConstrainedFamily) -> tuple[Cell, ...]:
    ends, known = family.intervals, family.identified
    return (
        Cell(name),
        Cell(f"{family.max_epochs:.3g}"),
        _bounded(family.R_D, ends.R_D, known.R_D),
        _bounded(family.R_N, ends.R_N, known.R_N),
        _held_out(family.validation),
    )


def _bounded(value: float, ends: OpenSpan, identified: bool) -> Cell:
    low, high = ends
    span = f"[{'0' if low is None else ratio(low)}, {'∞' if high is None else ratio(high)}]"
    text = decay(value).replace("inf", "∞")
    return Cell(f"{text} {span}", note="" if identified else "not identified")


def numbers_table(found: FamilyResult, title: str = "") -> Table:
    """The numbers of a law that has no table of its own, under their names."""
    numbers = [
        (f"{one.symbol}, {one.meaning}", with_interval(one.quantity)) for one in found.constants()
    ]
    return Table.of_terms(numbers, title)


def _conventions(found: Conventions, families: Iterable[str]) -> Table:
    """The exponent of N* and the multiplier under every way to count C and N."""
    names = [name for name in families if name in found.moved]
    columns = (Column("C", numeric=False), Column("N", numeric=False), *map(Column, names))
    rows = tuple(
        (
            Cell(row.flops),
            Cell(row.parameters.replace("_", "-")),
            *(_counted(row.families.get(name, {})) for name in names),
        )
        for row in found.rows
    )
    caption = (
        "The IsoFLOP law of the same runs under every way to count compute C and parameters N: the "
        "exponent of N*, and × the compute multiplier. Numbers that move cannot be compared with "
        "those of other conventions."
    )
    return Table(columns, rows, title="Conventions", caption=caption)


def _counted(numbers: Mapping[str, float | None]) -> Cell:
    """The exponent, the multiplier below it."""
    exponent = numbers.get("N_exponent")
    times = numbers.get("multiplier_vs_autoregressive")
    text = "–" if exponent is None else f"{exponent:.3f}"
    return Cell(text, note="" if times is None else f"× {ratio(times)}")
