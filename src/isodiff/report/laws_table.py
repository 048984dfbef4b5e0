"""The laws of a study as a table: exponents, the largest budget foretold, the parabola's bias."""

from __future__ import annotations

from isodiff.report.folder import StudyFolder
from isodiff.report.format import interval
from isodiff.report.tables import Cell, Column, Table
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import IsoflopFamily


def laws_table(study: StudyFolder) -> Table | None:
    """One row per family that has a law; None where no family has one."""
    shown = [family for family in study.families if has_law(study.fit(family))]
    if not shown:
        return None
    columns = (
        Column("family", numeric=False),
        Column("N*", "exponent of C"),
        Column("D*", "exponent of C"),
        Column("L*", "exponent of C"),
        Column("foretold", "L* at the largest budget, from the others"),
        Column("observed", "nats per token"),
        Column("bias", "of N* by the parabola's form"),
    )
    return Table(columns, tuple(law_row(family, study.fit(family)) for family in shown))


def has_law(fit: IsoflopFamily) -> bool:
    """Whether two budgets or more were accepted."""
    return fit.L_exponent is not None and fit.L_exponent.value is not None


def law_row(family: str, fit: IsoflopFamily) -> tuple[Cell, ...]:
    """One family."""
    exponents = [
        Cell(interval(exponent, lambda x: f"{x:.3f}"))
        for exponent in (fit.N_exponent, fit.D_exponent, fit.L_exponent)
    ]
    return (Cell(family), *exponents, *predicted_loss(fit), Cell(bias(fit)))


def predicted_loss(fit: IsoflopFamily) -> tuple[Cell, Cell]:
    """L* as predicted, with the error, and as it was."""
    found = fit.validation.L
    if found is None:
        return Cell("–", note=fit.validation.reason or ""), Cell("–")
    predicted = Quantity(value=found.predicted, low=found.low, high=found.high)
    held = found.low is None or found.high is None or found.low <= found.observed <= found.high
    note = f"{found.relative_error:+.1%}" + ("" if held else ", outside")
    return Cell(interval(predicted, lambda x: f"{x:.3f}"), note=note), Cell(f"{found.observed:.3f}")


def bias(fit: IsoflopFamily) -> str:
    """Least and largest over the budgets."""
    known = [row.parabola_bias_N for row in fit.budgets if row.parabola_bias_N is not None]
    if not known:
        return "–"
    low, high = f"{min(known):+.0%}", f"{max(known):+.0%}"
    return low if low == high else f"{low} to {high}"
