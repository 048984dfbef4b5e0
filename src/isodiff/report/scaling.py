"""What a study's laws say besides the IsoFLOP figure: other laws, conventions, ten times the budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isodiff.report.extrapolation import planned
from isodiff.report.folder import StudyFolder
from isodiff.report.format import ratio, shown
from isodiff.report.law_text import decay
from isodiff.report.tables import Cell, Column, Part, Table
from isodiff.scaling.fitting.bootstrap import LEVEL

Law = dict[str, Any]


def scaling(study: StudyFolder) -> tuple[Part, ...]:
    """The parts that a study's files give; a line where they are of another version, or damaged."""
    try:
        return tuple(parts(study))
    except (AttributeError, KeyError, TypeError) as error:
        reason = (
            f"The laws in the folder cannot be read ({error!r}); fit them again, or delete them."
        )
        return (Part("Laws", None, reason),)


def parts(study: StudyFolder) -> list[Part]:
    """Every law that was fitted, and the plan."""
    isoflop, parametric, repeated = (
        ordered(study.laws.get(name), study.families)
        for name in ("isoflop", "parametric", "repeated")
    )
    found = [constants(parametric)]
    if parametric and parametric.get("comparison"):
        found.append(comparison(parametric["comparison"]))
    if repeated is not None:
        found.append(worth(repeated))
    if isoflop and isoflop.get("conventions"):
        found.append(conventions(isoflop))
    return [*found, planned(study)]


def ordered(law: Law | None, families: Sequence[str]) -> Law | None:
    """The law with its families in the order of the study."""
    if law is None:
        return None
    own = sorted(law["families"].items(), key=lambda item: place(item[0], families))
    return {**law, "families": dict(own)}


def place(family: str, families: Sequence[str]) -> int:
    """Where a family stands; last if the study has no run of it."""
    return families.index(family) if family in families else len(families)


def absent(law: Law | None, name: str) -> str:
    """Why a law is not there."""
    if law is None:
        return (
            f"The folder holds no {name}.json; isodiff fit RUNS --law {name} --out {name}.json "
            "writes one."
        )
    return "; ".join(law.get("warnings", [])) or f"{name}.json holds no family."


def constants(law: Law | None) -> Part:
    """E, the exponents and what they foretell, of E + A/N^alpha + B/D^beta."""
    heading = "The parametric law E + A/N^α + B/D^β"
    if not law or not law["families"]:
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
    for name, family in law["families"].items():
        ends = family["intervals"]
        rows.append(
            (
                Cell(name),
                *(Cell(shown(family[s], ends[s], ".3f")) for s in ("E", "alpha", "beta")),
                Cell(shown(family["exponents"]["N"], ends["N"], ".3f")),
                Cell(f"{family['noise']['rms']:.2%}"),
                foretold(family["validation"]),
            )
        )
    caption = (
        f"Huber's loss of log loss over all {sum(f['num_points'] for f in law['families'].values())} runs; "
        f"[low, high] are {LEVEL:.0%} intervals. N*: the compute-optimal size, in the middle of the runs' "
        "compute. Foretold: the law without the runs of the largest budget, against them."
    )
    return Part(heading, Table(columns, tuple(rows)), caption)


def foretold(checked: dict[str, Any]) -> Cell:
    """How far the runs left out lie from the law of the others."""
    if "reason" in checked:
        return Cell("–", note=checked["reason"])
    return Cell(f"{checked['rmse']:.2%}", note=f"{checked['bias']:+.2%} on average")


def comparison(found: dict[str, Any]) -> Part:
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
            Cell(named(row["model"])),
            Cell(str(row["parameters"])),
            Cell(f"{row['delta_aicc']:+.1f}"),
            Cell("–" if row["held_out_rmse"] is None else f"{row['held_out_rmse']:.2%}"),
        )
        for row in found["models"]
    )
    return Part(
        "What the families have in common",
        Table(columns, rows),
        "The parametric law fitted to all families together, with constants shared or each its own.",
    )


def worth(law: Law) -> Part:
    """R_D and R_N: what repeated text is worth."""
    heading = "Repeated text"
    if not law["families"]:
        return Part(heading, None, absent(law, "repeated"))
    columns = (
        Column("family", numeric=False),
        Column("most epochs"),
        Column("R_D", "epochs that pay"),
        Column("R_N", "sizes that pay"),
        Column("foretold", "error of the runs of most compute, rms"),
    )

    def bounded(family: dict[str, Any], symbol: str) -> Cell:
        low, high = family["intervals"][symbol]
        ends = f"[{'0' if low is None else ratio(low)}, {'∞' if high is None else ratio(high)}]"
        value = decay(family[symbol]).replace("inf", "∞")
        return Cell(
            f"{value} {ends}", note="" if family["identified"][symbol] else "not identified"
        )

    rows = tuple(
        (
            Cell(name),
            Cell(f"{family['max_epochs']:.3g}"),
            bounded(family, "R_D"),
            bounded(family, "R_N"),
            foretold(family["validation"]),
        )
        for name, family in law["families"].items()
    )
    return Part(
        heading,
        Table(columns, rows),
        "A text of U tokens seen D/U times counts as U + U R_D (1 − exp(−(D/U − 1)/R_D)) fresh tokens; "
        f"sizes beyond the best for U likewise with R_N. [low, high] are {LEVEL:.0%} intervals by "
        "likelihood ratio; not identified: no value is rejected towards one end.",
    )


def conventions(law: Law) -> Part:
    """The exponent of N* and the multiplier under every way to count C and N."""
    found = law["conventions"]
    names = [name for name in law["families"] if name in found["moved"]]
    columns = (Column("C", numeric=False), Column("N", numeric=False), *map(Column, names))
    rows = [
        (
            Cell(row["flops"]),
            Cell(row["parameters"].replace("_", "-")),
            *(counted(row["families"].get(name, {})) for name in names),
        )
        for row in found["rows"]
    ]
    return Part(
        "Conventions",
        Table(columns, tuple(rows)),
        "The IsoFLOP law of the same runs under every way to count compute C and parameters N: the exponent "
        "of N*, and × the compute multiplier. Numbers that move cannot be compared with those of other "
        "conventions.",
    )


def counted(numbers: dict[str, float | None]) -> Cell:
    """The exponent, the multiplier below it."""
    exponent = numbers.get("N_exponent")
    times = numbers.get("multiplier_vs_autoregressive")
    text = "–" if exponent is None else f"{exponent:.3f}"
    return Cell(text, note="" if times is None else f"× {ratio(times)}")
