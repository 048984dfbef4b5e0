"""The IsoFLOP law for a terminal: minima, refusals and exponents of every family; compute multipliers."""

from __future__ import annotations

from isodiff.report.blocks import Block, Section, Table, Text
from isodiff.report.format import spread
from isodiff.scaling.fitting.bootstrap import Quantity
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, IsoflopResult
from isodiff.scaling.laws.law import FamilyResult
from isodiff.units import short

Parts = list[Section | Block | str]


def isoflop_parts(result: IsoflopResult) -> Parts:
    """Every family, then the multipliers."""
    return [
        f"IsoFLOP law of {result.source}",
        *(_isoflop(name, family) for name, family in result.families.items()),
        Section(f"Compute over that of {result.reference} at equal loss", _multipliers(result)),
    ]


def _multipliers(result: IsoflopResult) -> list[Block]:
    """Those at each family's largest budget, and how they come about budget by budget."""
    headline = [
        (name, _quantity(family.multiplier_vs_autoregressive, ".3g"))
        for name, family in result.families.items()
    ]
    rows = [
        (
            name,
            f"{row.budget:.3g}",
            spread(row.value, (row.low, row.high), ".3g"),
            "" if not row.extrapolation or row.extrapolation <= 1 else f"{row.extrapolation:.2g}",
            "" if row.by_parabola is None else _quantity(row.by_parabola, ".3g"),
        )
        for name, family in result.families.items()
        for row in family.multipliers
    ]
    blocks: list[Block] = [Table.of_terms(headline, "At the largest budget of each family")]
    if rows:
        below = f"{result.reference} law read below its runs, times"
        columns = ("family", "C", "times", below, "by its parabola alone")
        blocks.append(Table.of(columns, rows, title="Budget by budget"))
    return blocks


def _isoflop(name: str, family: IsoflopFamily) -> Section:
    """One family: its minima, its refusals, its exponents."""
    minima = [
        (
            f"{row.flops:.3g}",
            row.sizes,
            spread(row.N_opt, (row.N_low, row.N_high)),
            "" if row.D_opt is None else short(row.D_opt),
            spread(row.L_opt, (row.L_low, row.L_high), ".4f"),
        )
        for row in family.budgets
    ]
    blocks: list[Block] = (
        [Table.of(("C", "sizes", "N*", "D*", "L*, nats per token"), minima)] if minima else []
    )
    blocks.append(Text([f"{row.flops:.3g}  refused: {row.reason}" for row in family.refused]))
    exponents = [
        (f"{symbol}*{floor} ~ C^p, p =", _quantity(exponent, ".4f"))
        for symbol, floor, exponent in (
            ("N", "", family.N_exponent),
            ("D", "", family.D_exponent),
            ("L", "" if family.irreducible_loss is None else " - E", family.L_exponent),
        )
    ]
    lines = [" ".join(exponent) for exponent in exponents]
    if family.irreducible_loss is not None:
        lines.append(f"E = {_quantity(family.irreducible_loss, '.3f')}, {_floor(family)}")
    return Section(titled(name, family), [*blocks, *_checks(family), Text(lines)])


def _floor(family: IsoflopFamily) -> str:
    """Where E comes from (and, with few minima, the exponents), and what speaks for it."""
    if family.loss_from == "joint surface":
        return "like the exponents by one surface of all families: the minima are too few"
    if family.floor_aicc is None:
        return "by the minima"
    return f"by the minima; AICc of E = 0 against it: {family.floor_aicc:+.1f}"


def _checks(family: IsoflopFamily) -> list[Block]:
    """The largest budget as the smaller ones predict it, and the bias of the parabolas."""
    found = family.validation
    forms = (("N*", found.N, short), ("D*", found.D, short), ("L*", found.L, "{:.4f}".format))
    rows = [
        (symbol, spread(row.predicted, (row.low, row.high), form), form(row.observed))
        for symbol, row, form in forms
        if row is not None
    ]
    blocks: list[Block] = [Text([f"Not validated: {found.reason}"])]
    if found.reason is None:
        title = f"Left out and predicted: {found.rule}"
        blocks = [Table.of(("", "predicted", "observed"), rows, title=title)]
    moved = [row.parabola_bias_N for row in family.budgets]
    if any(bias is not None for bias in moved):
        shown = ", ".join("unknown" if bias is None else f"{bias:+.1%}" for bias in moved)
        blocks.append(Text([f"The form of the parabola moves N* by {shown}"]))
    return blocks


def titled(name: str, family: FamilyResult) -> str:
    """The family's name and what its losses are."""
    return f"{name} ({family.kind})" if family.kind else name


def _quantity(found: Quantity | None, form: str) -> str:
    """`value [low, high]`, or why a part is missing."""
    if found is None or found.value is None:
        return f"unknown: {found and found.reason}"
    if found.low is None:
        return f"{found.value:{form}} (no interval: {found.reason})"
    return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"
