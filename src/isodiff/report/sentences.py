"""The verdict in sentences, with what each number may and may not be taken for."""

from __future__ import annotations

from collections.abc import Sequence

from isodiff.report.format import interval, listed, scientific, with_error
from isodiff.report.ranking import FAR, Lead, Row
from isodiff.report.schema import Validation
from isodiff.scaling.laws.isoflop import REFERENCE
from isodiff.units import short


def errors_sentence(rows: Sequence[Row]) -> str:
    """What ± and [low, high] hold, and what they leave out."""
    words = "± is one standard error of the evaluation"
    if all(row.scatter_known for row in rows):
        return f"{words}; the noise between seeds is not in it."
    return (
        f"{words}, and with three sizes a budget [low, high] hold nothing else: the noise between "
        "seeds is in neither, and may well move these numbers by more."
    )


def best_sentence(lead: Lead | None) -> str:
    """The best family at the largest budget, and by how much."""
    if lead is None:
        return "No run has finished, so there is nothing to compare yet."
    best = lead.best.validation
    score = f"{with_error(best.bits_per_byte)} bits per byte ({kind_words(best)})"
    where = f"At {scientific(lead.budget)} training FLOPs, the largest budget,"
    if lead.second is None or lead.next_best is None or lead.difference is None:
        return f"{where} {lead.first} reaches {score}; no other family has a finished run there."
    gap = with_error(lead.difference)
    note = caveat(lead.first, best, lead.second, lead.next_best.validation)
    if lead.told_apart:
        return f"{where} {lead.first} is best: {score}, {gap} below {lead.second}, the next.{note}"
    return (
        f"{where} {lead.first} and {lead.second} cannot be told apart: {lead.first} reaches "
        f"{score}, {lead.second} is {gap} above it.{note}"
    )


def kind_words(validation: Validation) -> str:
    """How the number is to be read."""
    return "exact" if validation.kind == "exact" else "an upper bound"


def caveat(first: str, best: Validation, second: str, other: Validation) -> str:
    """What a bound does to the difference of two families."""
    kinds = (best.kind, other.kind)
    if kinds == ("exact", "exact"):
        return ""
    if kinds == ("bound", "bound"):
        return (
            " Both numbers are upper bounds; the true losses may lie closer, or in another order."
        )
    if kinds == ("exact", "bound"):
        return f" The number of {second} is an upper bound, so the true difference may be smaller."
    return f" The number of {first} is an upper bound, so the true difference can only be larger."


def multiplier_sentence(rows: Sequence[Row]) -> str:
    """What each family pays for equal loss."""
    known = [
        f"{interval(row.multiplier)} for {row.family}"
        for row in rows
        if row.family != REFERENCE and row.multiplier and row.multiplier.value is not None
    ]
    reasons = {
        row.multiplier.reason
        for row in rows
        if row.multiplier and row.multiplier.value is None and row.multiplier.reason
    }
    why = "; ".join(sorted(reasons))
    if not known:
        return f"What each family would pay for equal loss is not known{why and f': {why}'}."
    text = f"Compute for equal loss, as a multiple of {REFERENCE} by its law: {listed(known)}."
    if far := [row.family for row in rows if row.extrapolated]:
        text += (
            f" For {listed(far)} that law is read more than {FAR:g} times below its smallest "
            "budget: take the order of magnitude only."
        )
    return text + (why and f" Not known elsewhere: {why}.")


def optimum_sentence(rows: Sequence[Row], first: str, convention: str) -> str:
    """Best size and tokens at the largest budget with trusted minima, for the `first` if known."""
    largest = max((row.optimum.compute for row in rows if row.optimum), default=None)
    if largest is None:
        return "No IsoFLOP curve has a minimum that can be trusted, so the best size is not known."
    found = {row.family: row.optimum for row in rows if row.optimum}
    there = {name: best for name, best in found.items() if best.compute == largest}
    name = first if first in there else next(iter(there))
    best = there.pop(name)
    tokens = f" on {short(best.D_opt)} tokens" if best.D_opt else ""
    text = (
        f"At {scientific(largest)} FLOPs the best size of {name} is {short(best.N_opt)} "
        f"{convention} parameters{tokens}"
    )
    others = sorted(other.N_opt for other in there.values())
    if not others:
        return f"{text}."
    spread = [short(others[0]), short(others[-1])]
    sizes = spread[0] if len(others) == 1 else f"{spread[0]} to {spread[1]}"
    return f"{text}; that of {listed(list(there))} is {sizes}."


def count_sentence(runs: dict[str, int]) -> str:
    """How many runs finished, diverged, failed, are missing."""
    total = sum(runs.values())
    if not total:
        return "The study has no runs."
    others = [
        f"{runs[status]} {words}"
        for status, words in (
            ("diverged", "diverged"),
            ("failed", "failed"),
            ("missing", "not run"),
        )
        if runs[status]
    ]
    rest = f"; {', '.join(others)}" if others else ""
    return f"{runs['done']} of {total} runs finished{rest}."
