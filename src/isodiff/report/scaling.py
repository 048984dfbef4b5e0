"""What a study's laws say besides the IsoFLOP figure: other laws, conventions, ten times the budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from isodiff.report.extrapolation import planned
from isodiff.report.folder import StudyFolder
from isodiff.report.format import ratio, shown
from isodiff.report.law_text import decay
from isodiff.report.tables import Cell, Column, Part, Table
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.laws.data_constrained_result import DataConstrainedResult
from isodiff.scaling.laws.law import Conventions, LawResult, OpenSpan
from isodiff.scaling.laws.parametric_result import Comparison, ParametricResult


def scaling(study: StudyFolder) -> tuple[Part, ...]:
    """Every law that was fitted, and the plan."""
    laws = {name: ordered(law, study.families) for name, law in study.laws.items()}
    parametric, repeated = laws.get("parametric"), laws.get("repeated")
    isoflop = laws.get("isoflop")
    found = [constants(parametric)]
    if isinstance(parametric, ParametricResult) and parametric.comparison is not None:
        found.append(comparison(parametric.comparison))
    if repeated is not None:
        found.append(worth(repeated))
    if isoflop is not None and isoflop.conventions is not None:
        found.append(conventions(isoflop.conventions, isoflop.families))
    return (*found, planned(study))


def ordered(law: LawResult, families: Sequence[str]) -> LawResult:
    """The law with its families in the order of the study."""
    own = sorted(law.families.items(), key=lambda item: place(item[0], families))
    return replace(law, families=dict(own))


def place(family: str, families: Sequence[str]) -> int:
    """Where a family stands; last if the study has no run of it."""
    return families.index(family) if family in families else len(families)


def absent(law: LawResult | None, name: str) -> str:
    """Why a law is not there."""
    if law is None:
        return (
            f"The folder holds no {name}.json; isodiff fit RUNS --law {name} --out {name}.json "
            "writes one."
        )
    return "; ".join(law.warnings) or f"{name}.json holds no family."


def constants(law: LawResult | None) -> Part:
    """E, the exponents and what they foretell, of E + A/N^alpha + B/D^beta."""
    heading = "The parametric law E + A/N^α + B/D^β"
    if not isinstance(law, ParametricResult) or not law.families:
        return Part(heading, None, absent(law, "parametric"))
    columns = (
        Column("family", numeric=False),
        Column("E", "nats per token"),
        Column("α", "exponent of N"),
        Column("β", "exponent of D"),
        Column("N*", "exponent of C"),
        Column("scatter", "of runs, rms"),
        Column("foretold", "error at the largest budget, rms"),
    )
    rows = []
    for name, family in law.families.items():
        ends = family.intervals
        rows.append(
            (
                Cell(name),
                Cell(shown(family.E, ends.E, ".3f")),
                Cell(shown(family.alpha, ends.alpha, ".3f")),
                Cell(shown(family.beta, ends.beta, ".3f")),
                Cell(shown(family.exponents.N, ends.N, ".3f")),
                Cell(f"{family.noise.rms:.2%}"),
                predicted(family.validation),
            )
        )
    caption = (
        f"Huber's loss of log loss over all {sum(f.num_points for f in law.families.values())} runs; "
        f"[low, high] are {LEVEL:.0%} intervals. N*: the compute-optimal size, in the middle of the runs' "
        "compute. Foretold: the law without the runs of the largest budget, against them."
    )
    return Part(heading, Table(columns, tuple(rows)), caption)


def predicted(checked: RunsHeldOut) -> Cell:
    """How far the runs left out lie from the law of the others."""
    if checked.reason is not None:
        return Cell("–", note=checked.reason)
    return Cell(f"{checked.rmse:.2%}", note=f"{checked.bias:+.2%} on average")


def comparison(found: Comparison) -> Part:
    """What families may have in common."""
    columns = (
        Column("in common", numeric=False),
        Column("constants"),
        Column("ΔAICc", "least is best"),
        Column("foretold", "error at the largest budgets, rms"),
    )

    def named(model: str) -> str:
        return "nothing" if model == "separate" else model.removeprefix("shared ")

    rows = tuple(
        (
            Cell(named(row.model)),
            Cell(str(row.parameters)),
            Cell(f"{row.delta_aicc:+.1f}"),
            Cell("–" if row.held_out_rmse is None else f"{row.held_out_rmse:.2%}"),
        )
        for row in found.models
    )
    return Part(
        "What the families have in common",
        Table(columns, rows),
        "The parametric law fitted to all families together, with constants shared or each its own.",
    )


def worth(law: LawResult) -> Part:
    """R_D and R_N: what repeated text is worth."""
    heading = "Repeated text"
    if not isinstance(law, DataConstrainedResult) or not law.families:
        return Part(heading, None, absent(law, "repeated"))
    columns = (
        Column("family", numeric=False),
        Column("most epochs"),
        Column("R_D", "epochs that pay"),
        Column("R_N", "sizes that pay"),
        Column("foretold", "error of the runs of most compute, rms"),
    )

    def bounded(value: float, span: OpenSpan, identified: bool) -> Cell:
        low, high = span
        ends = f"[{'0' if low is None else ratio(low)}, {'∞' if high is None else ratio(high)}]"
        text = decay(value).replace("inf", "∞")
        return Cell(f"{text} {ends}", note="" if identified else "not identified")

    rows = tuple(
        (
            Cell(name),
            Cell(f"{family.max_epochs:.3g}"),
            bounded(family.R_D, family.intervals.R_D, family.identified.R_D),
            bounded(family.R_N, family.intervals.R_N, family.identified.R_N),
            predicted(family.validation),
        )
        for name, family in law.families.items()
    )
    return Part(
        heading,
        Table(columns, rows),
        "A text of U tokens seen D/U times counts as U + U R_D (1 − exp(−(D/U − 1)/R_D)) fresh tokens; "
        f"sizes beyond the best for U likewise with R_N. [low, high] are {LEVEL:.0%} intervals by "
        "likelihood ratio; not identified: no value is rejected towards one end.",
    )


def conventions(found: Conventions, families: Iterable[str]) -> Part:
    """The exponent of N* and the multiplier under every way to count C and N."""
    names = [name for name in families if name in found.moved]
    columns = (Column("C", numeric=False), Column("N", numeric=False), *map(Column, names))
    rows = [
        (
            Cell(row.flops),
            Cell(row.parameters.replace("_", "-")),
            *(counted(row.families.get(name, {})) for name in names),
        )
        for row in found.rows
    ]
    return Part(
        "Conventions",
        Table(columns, tuple(rows)),
        "The IsoFLOP law of the same runs under every way to count compute C and parameters N: the exponent "
        "of N*, and × the compute multiplier. Numbers that move cannot be compared with those of other "
        "conventions.",
    )


def counted(numbers: Mapping[str, float | None]) -> Cell:
    """The exponent, the multiplier below it."""
    exponent = numbers.get("N_exponent")
    times = numbers.get("multiplier_vs_autoregressive")
    text = "–" if exponent is None else f"{exponent:.3f}"
    return Cell(text, note="" if times is None else f"× {ratio(times)}")
