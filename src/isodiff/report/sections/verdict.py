"""The verdict: which family is best, by how much, at what price; what each number may be taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isodiff.record import Kind
from isodiff.report.blocks import Block, Cell, Column, Section, Table, Text
from isodiff.report.format import MARKS, listed, scientific, spread, with_error, with_interval
from isodiff.report.lead import Lead, RunScatter, lead_of, run_scatter
from isodiff.report.ranking import FAR, FamilyRanking, family_ranking, run_counts
from isodiff.report.sections.frontier import frontier_sentence
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.law import REFERENCE
from isodiff.units import short

_CAPTION = (
    "Budgets are training FLOPs (convention: exact). Bits per byte of the best size at each, ± one "
    "standard error, with its non-embedding parameters, a mean over seeds; = exact, ≤ upper bound; "
    "marked where it is best beyond noise. N* and D* "
    "at the largest budget with a trusted minimum. Compute: times that of the reference family. "
    f"[low, high] are {LEVEL:.0%} intervals."
)
_LEGEND = (
    "\nbits per byte: the best size at each budget, mean over seeds, ± one standard error (= exact, "
    "≤ upper bound)\nN*: {convention} parameters, D*: tokens, at the largest budget with a trusted "
    "minimum\ncompute: for equal loss, as a multiple of the reference family's"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a study found.

    Attributes:
        study: its name.
        budgets: FLOPs at which any run finished, ascending.
        families: in the order of the study.
        lead: who is ahead at the largest budget; None where no run finished.
        sentences: the verdict in words.
        num_runs: how many runs are done, diverged, failed, missing.
    """

    study: str
    budgets: tuple[float, ...]
    families: tuple[FamilyRanking, ...]
    lead: Lead | None
    sentences: tuple[str, ...]
    num_runs: dict[str, int]


def study_verdict(study: StudyFolder) -> Verdict:
    """What a study found, by the bits per byte of its finished runs and by its fits."""
    budgets = tuple(sorted({run.budget for run in study.finished}))
    scatter = run_scatter(study)
    families = tuple(family_ranking(study, family, scatter) for family in study.families)
    runs = run_counts(study)
    ahead = _lead(families, budgets[-1], scatter) if budgets else None
    words = [
        _best_sentence(ahead),
        multiplier_sentence(families) if ahead else None,
        _optimum_sentence(families, ahead.first, _convention(study)) if ahead else None,
        frontier_sentence(study.frontier) if study.frontier else None,
        _count_sentence(runs),
        errors_sentence(families, scatter) if ahead else None,
    ]
    return Verdict(
        study=study.study.name,
        budgets=budgets,
        families=families,
        lead=ahead,
        sentences=tuple(filter(None, words)),
        num_runs=runs,
    )


def _lead(families: Sequence[FamilyRanking], budget: float, scatter: RunScatter | None) -> Lead:
    """Who is ahead at a budget, where at least one family has a finished run."""
    there = [(one.family, best) for one in families if (best := one.at(budget))]
    return lead_of(there, budget, scatter)


def verdict_section(study: StudyFolder) -> Section:
    """The sentences, and families x (bits per byte at each budget, N*, D*, multiplier)."""
    found = study_verdict(study)
    first, *others = found.sentences
    blocks: list[Block] = [Text([first], "lead"), Text(others)]
    return Section("Verdict", blocks + ([_table(study, found)] if found.budgets else []), "verdict")


def _convention(study: StudyFolder) -> str:
    return study.parameters_convention.replace("_", "-")


def _table(study: StudyFolder, found: Verdict) -> Table:
    convention, scatter = _convention(study), run_scatter(study)
    ahead = {budget: _lead(found.families, budget, scatter) for budget in found.budgets}
    columns = (
        Column("family", numeric=False),
        *(Column(f"{scientific(budget)} FLOPs", "bits per byte") for budget in found.budgets),
        Column("N*", f"{convention} parameters"),
        Column("D*", "tokens"),
        Column("compute", "for equal loss, times"),
    )
    rows = tuple(
        (
            Cell(one.family),
            *(_score(study, one, ahead[budget]) for budget in found.budgets),
            *_optimum(one, found.budgets[-1]),
            _price(one),
        )
        for one in found.families
    )
    return Table(columns, rows, caption=_CAPTION, legend=_LEGEND.format(convention=convention))


def _score(study: StudyFolder, one: FamilyRanking, ahead: Lead) -> Cell:
    """The best size at a budget; the best of all is marked where it can be told."""
    best = one.at(ahead.budget)
    if best is None:
        return Cell("–")
    record = next(run.record for run in study.finished if run.record.id == best.runs[0])
    size, seeds = record.parameters.non_embedding, len(best.runs)
    parts = [
        short(size) if size else "",
        f"best of {best.num_sizes}" if best.num_sizes > 1 else "",
        f"mean of {seeds} seeds" if seeds > 1 else "",
    ]
    mark = "best" if ahead.told_apart and one.family == ahead.first else ""
    note = ", ".join(filter(None, parts))
    return Cell(f"{MARKS[best.kind]} {with_error(best.bits_per_byte)}", note=note, mark=mark)


def _optimum(one: FamilyRanking, largest: float) -> tuple[Cell, Cell]:
    best = one.optimum
    if best is None:
        return Cell("–"), Cell("–")
    where = f"at {scientific(best.compute)}" if best.compute != largest else ""
    size = Cell(spread(best.N_opt, (best.N_low, best.N_high)), note=where)
    return size, Cell(short(best.D_opt) if best.D_opt else "–")


def _price(one: FamilyRanking) -> Cell:
    if one.family == REFERENCE:
        return Cell("1", note="reference")
    note = "extrapolated" if one.extrapolated else ""
    return Cell(with_interval(one.multiplier_vs_autoregressive), note=note)


def _best_sentence(lead: Lead | None) -> str:
    """The best family at the largest budget, and by how much."""
    if lead is None:
        return "No run has finished, so there is nothing to compare yet."
    best, first = lead.best, lead.first
    kind = "exact" if best.kind == "exact" else "an upper bound"
    score = f"{with_error(best.bits_per_byte)} bits per byte ({kind})"
    where = f"At {scientific(lead.budget)} training FLOPs, the largest budget,"
    if lead.second is None or lead.next_best is None or lead.difference is None:
        return f"{where} {first} reaches {score}; no other family has a finished run there."
    gap = with_error(lead.difference)
    note = _caveat(first, best.kind, lead.second, lead.next_best.kind)
    if lead.told_apart:
        return f"{where} {first} is best: {score}, {gap} below {lead.second}, the next.{note}"
    why = "" if lead.scatter else ", as nothing shows how runs scatter: train more seeds or sizes"
    return (
        f"{where} {first} and {lead.second} cannot be told apart{why}: {first} reaches {score}, "
        f"{lead.second} is {gap} above it.{note}"
    )


def _caveat(first: str, best: Kind, second: str, other: Kind) -> str:
    """What a bound does to the difference of two families."""
    match best, other:
        case "exact", "exact":
            return ""
        case "exact", "bound":
            return (
                f" The number of {second} is an upper bound, so the true difference may be smaller."
            )
        case "bound", "exact":
            return f" The number of {first} is an upper bound, so the true difference can only be larger."
    return " Both numbers are upper bounds; the true losses may lie closer, or in another order."


def multiplier_sentence(families: Sequence[FamilyRanking]) -> str:
    """What each family pays for equal loss."""
    prices = {one.family: price for one in families if (price := one.multiplier_vs_autoregressive)}
    known = [
        f"{with_interval(price)} for {family}"
        for family, price in prices.items()
        if family != REFERENCE and price.value is not None
    ]
    reasons = {price.reason for price in prices.values() if price.value is None and price.reason}
    why = "; ".join(sorted(reasons))
    if not known:
        return f"What each family would pay for equal loss is not known{why and f': {why}'}."
    text = (
        f"Compute for equal loss, as a multiple of {REFERENCE} by its law, at the largest budget: "
        f"{listed(known)}."
    )
    if far := [one.family for one in families if one.extrapolated]:
        text += (
            f" For {listed(far)} that law is read more than {FAR:g} times below its smallest "
            "budget: take the order of magnitude only."
        )
    return text + (why and f" Not known elsewhere: {why}.")


def _optimum_sentence(families: Sequence[FamilyRanking], first: str, convention: str) -> str:
    """Best size and tokens at the largest budget with trusted minima, for the `first` if known."""
    found = {one.family: one.optimum for one in families if one.optimum}
    if not found:
        return "No IsoFLOP curve has a minimum that can be trusted, so the best size is not known."
    largest = max(best.compute for best in found.values())
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
    ends = [short(others[0]), short(others[-1])]
    sizes = ends[0] if len(others) == 1 else f"{ends[0]} to {ends[1]}"
    return f"{text}; that of {listed(list(there))} is {sizes}."


def _count_sentence(runs: dict[str, int]) -> str:
    """How many runs finished, diverged, failed, are missing."""
    total = sum(runs.values())
    if not total:
        return "The study has no runs."
    words = {"diverged": "diverged", "failed": "failed", "missing": "not run"}
    others = [f"{runs[status]} {word}" for status, word in words.items() if runs[status]]
    rest = f"; {', '.join(others)}" if others else ""
    return f"{runs['done']} of {total} runs finished{rest}."


def errors_sentence(families: Sequence[FamilyRanking], scatter: RunScatter | None) -> str:
    """What ± and [low, high] hold, and what they leave out."""
    if scatter is None:
        words = "± is one standard error of the evaluation alone: how runs scatter is not known"
    else:
        shown = {
            "seeds": "runs that differ in their seed",
            "parabolas": "runs about their parabolas",
        }
        words = (
            f"± is one standard error, of the evaluation and of the scatter between runs "
            f"({scatter.bits:.2g} bits per byte, by {shown[scatter.source]}, "
            f"{scatter.degrees_of_freedom} degrees of freedom)"
        )
    if all(one.scatter_known for one in families):
        return f"{words}."
    return (
        f"{words}. With three sizes a budget [low, high] hold the evaluation alone, and the noise "
        "between runs may well move them by more."
    )
