"""The verdict: which family is best, by how much, at what price; what each number may be taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from isodiff.report.blocks import Block, Cell, Column, Figure, Section, Table, Text
from isodiff.report.format import MARKS, listed, scientific, spread, with_error, with_interval
from isodiff.report.lead import Lead, RunScatter, lead_of, run_scatter
from isodiff.report.ranking import FAR, FamilyRanking, family_ranking, run_counts
from isodiff.report.sections.frontier import sampler_cell, samplers_at_speed
from isodiff.report.sections.laws import loss_chart
from isodiff.report.sections.undecided import undecided_sentence
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.law import REFERENCE
from isodiff.units import short

_PICTURE = (
    "The best size of each family at each budget, a mean over seeds, ± one standard error. Lines: the laws "
    f"of the best loss, half a decade beyond the budgets, with {LEVEL:.0%} bands; joins without a law."
)
_LEGEND = (
    "Bits per byte of the best size, a mean over seeds, ± one standard error; = exact, ≤ upper bound; bold "
    f"where it is best beyond noise. Compute: what a family spends over what {REFERENCE} needs for the same "
    "loss. Best size: at the largest budget with a trusted minimum. "
    f"[low, high] are {LEVEL:.0%} intervals."
)
_SPEEDS = " Samplers: the best of those at least so fast; perplexity is the reference model's."
_LIMITS = {  # what a bound does to the difference of two families
    ("exact", "exact"): ("", ""),
    ("exact", "bound"): ("at most ", ""),
    ("bound", "exact"): ("at least ", ""),
    ("bound", "bound"): ("", " (upper bounds both: true losses may be in another order)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a study found.

    Attributes:
        budgets: FLOPs at which any run finished, ascending.
        families: in the order of the study.
        lead: who is ahead at the largest budget; None where no run finished.
        sentences: the verdict in words, the most important one first.
        num_runs: how many runs are done, diverged, failed, missing.
    """

    study: str
    budgets: tuple[float, ...]
    families: tuple[FamilyRanking, ...]
    lead: Lead | None
    sentences: tuple[str, ...]
    num_runs: dict[str, int]


@lru_cache(maxsize=8)  # what is undecided takes seconds
def study_verdict(study: StudyFolder) -> Verdict:
    """What a study found, by the bits per byte of its finished runs and by its fits."""
    budgets = tuple(sorted({run.budget for run in study.finished}))
    scatter = run_scatter(study)
    families = tuple(family_ranking(study, family, scatter) for family in study.families)
    runs = run_counts(study)
    ahead = _lead(families, budgets[-1], scatter) if budgets else None
    words = [
        _best_sentence(ahead),
        undecided_sentence(study, families, budgets[-1], scatter) if ahead else None,
        multiplier_sentence(families) if ahead else None,
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
    """One sentence, one picture, one table; then what is undecided, what it rests on, and every budget."""
    found = study_verdict(study)
    first, *others = found.sentences
    blocks: list[Block] = [Text([first], "lead")]
    if found.budgets:
        wide, narrow = (loss_chart(study, found.families, narrow) for narrow in (False, True))
        blocks += [Figure("loss", wide, narrow, _PICTURE), _table(study, found)]
    blocks.append(Text(others))
    if len(found.budgets) > 1:
        blocks.append(_by_budget(study, found))
    return Section("Verdict", blocks, "verdict")


def _table(study: StudyFolder, found: Verdict) -> Table:
    """Of each family the loss, the price, the best size, the best sampler at a speed."""
    largest, frontier = found.budgets[-1], study.frontier
    lead = _lead(found.families, largest, run_scatter(study))
    samplers = {
        f"{short(there[0])} tokens/s {how}": there[1]
        for how, alone in (("in batches", False), ("one text alone", True))
        if frontier and (there := samplers_at_speed(frontier, alone=alone))
    }
    columns = (
        Column("family", numeric=False),
        Column("bits per byte", f"at {scientific(largest)} FLOPs"),
        Column("compute", "for equal loss, times"),
        Column("best size", f"{study.parameters_convention.replace('_', '-')} parameters"),
        *(Column(name, "best sampler", numeric=False) for name in samplers),
    )
    rows = tuple(
        (
            Cell(one.family),
            _score(study, one, lead),
            _price(one),
            _optimum(one, largest),
            *(
                sampler_cell(frontier, best.get(one.family))
                for best in samplers.values()
                if frontier
            ),
        )
        for one in found.families
    )
    return Table(columns, rows, caption=_LEGEND + _SPEEDS * bool(samplers))


def _by_budget(study: StudyFolder, found: Verdict) -> Table:
    """The loss of every family at every budget."""
    scatter = run_scatter(study)
    leads = [_lead(found.families, budget, scatter) for budget in found.budgets]
    losses = (Column(f"{scientific(budget)} FLOPs", "bits per byte") for budget in found.budgets)
    rows = tuple(
        (Cell(one.family), *(_score(study, one, lead) for lead in leads)) for one in found.families
    )
    return Table((Column("family", numeric=False), *losses), rows, fold="The loss at every budget")


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
    text = f"{MARKS[best.kind]} {with_error(best.bits_per_byte)}"
    return Cell(text, note=", ".join(filter(None, parts)), mark=mark)


def _optimum(one: FamilyRanking, largest: float) -> Cell:
    best = one.optimum
    if best is None:
        return Cell("–", note="no trusted minimum")
    parts = [f"{short(best.D_opt)} tokens"] if best.D_opt else []
    parts += [f"at {scientific(best.compute)} FLOPs"] if best.compute != largest else []
    return Cell(spread(best.N_opt, (best.N_low, best.N_high)), note=", ".join(parts))


def _price(one: FamilyRanking) -> Cell:
    if one.family == REFERENCE:
        return Cell("1", note="reference")
    price = with_interval(one.multiplier_vs_autoregressive)
    return Cell(price, note="extrapolated" * one.extrapolated)


def _best_sentence(lead: Lead | None) -> str:
    """The best family at the largest budget, and by how much; what bounds leave of that."""
    if lead is None:
        return "No run has finished, so there is nothing to compare yet."
    best, first = lead.best, lead.first
    score = f"{with_error(best.bits_per_byte)} bits per byte"
    where = f"At {scientific(lead.budget)} training FLOPs"
    if lead.second is None or lead.next_best is None or lead.difference is None:
        return f"{where} {first} reaches {score}; no other family has a finished run there."
    limit, note = _LIMITS[best.kind, lead.next_best.kind]
    gap = f"{limit}{with_error(lead.difference)}"
    if lead.told_apart:
        return f"{where} {first} is best: {score}, {gap} below {lead.second}, the next{note}."
    why = "" if lead.scatter else ", as nothing shows how runs scatter: train more seeds or sizes"
    return (
        f"{where} {first} and {listed(lead.tied)} cannot be told apart{why}: {first} reaches {score}, "
        f"{lead.second} is {gap} above it{note}."
    )


def multiplier_sentence(families: Sequence[FamilyRanking]) -> str | None:
    """Which multipliers are not known, or rest on a law far outside its budgets."""
    prices = [one.multiplier_vs_autoregressive for one in families]
    reasons = {one.reason for one in prices if one and one.value is None and one.reason}
    far = [one.family for one in families if one.extrapolated]
    said = []
    if far:
        below = f"is read more than {FAR:g} times below its smallest budget"
        said = [
            f"For {listed(far)} the law of {REFERENCE} {below}: trust only compute's magnitude."
        ]
    if reasons or not any(one and one.value is not None for one in prices):
        why = f": {'; '.join(sorted(reasons))}" if reasons else ""
        said.append(f"Compute for equal loss is not known where no number stands{why}.")
    return " ".join(said) or None


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
    if not all(one.scatter_known for one in families):
        words += ". With three sizes a budget [low, high] hold the evaluation alone, and the noise "
        words += "between runs may well move them by more"
    return f"{words}."
