"""The verdict of a study: which family is best, by how much, at what price. Words, table, JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isodiff.report.folder import StudyFolder
from isodiff.report.format import plain
from isodiff.report.frontier_tables import sentence as frontier_sentence
from isodiff.report.ranking import Lead, Row, counts, lead, row
from isodiff.report.sentences import (
    best_sentence,
    count_sentence,
    errors_sentence,
    multiplier_sentence,
    optimum_sentence,
)
from isodiff.report.tables import Table, as_text, verdict_table

LEGEND = (
    "bits per byte: the best run at each budget, +- one standard error of its evaluation (= exact, "
    "<= upper bound)\nN*: {convention} parameters, D*: tokens, at the largest budget with a trusted "
    "minimum\ncompute: for equal loss, as a multiple of the reference family's"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a study found, in sentences and as a table.

    Attributes:
        study: its name.
        budgets: FLOPs at which any run finished, ascending.
        rows: one per family, in the order of the study.
        lead: who is ahead at the largest budget; None where no run finished.
        sentences: the verdict in words.
        num_runs: how many runs are done, diverged, failed, missing.
        convention: how N* counts parameters.
    """

    study: str
    budgets: tuple[float, ...]
    rows: tuple[Row, ...]
    lead: Lead | None
    sentences: tuple[str, ...]
    num_runs: dict[str, int]
    convention: str

    @property
    def text(self) -> str:
        """Words and table for a terminal, ASCII marks only."""
        parts = [self.study, "\n".join(self.sentences)]
        if self.table is not None:
            parts += [as_text(self.table), LEGEND.format(convention=self.convention)]
        return plain("\n\n".join(parts))

    @property
    def table(self) -> Table | None:
        """Families x (bits per byte at each budget, N*, D*, multiplier); None before any result."""
        return verdict_table(self.rows, self.budgets, self.convention) if self.budgets else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "study": self.study,
            "budgets": list(self.budgets),
            "families": [row.to_json() for row in self.rows],
            "lead": self.lead and self.lead.to_json(),
            "sentences": list(self.sentences),
            "num_runs": self.num_runs,
        }


def verdict(study: StudyFolder) -> Verdict:
    """Judge a study by the bits per byte of its finished runs and by its fits."""
    convention = study.parameters_convention.replace("_", "-")
    budgets = tuple(sorted({run.budget for run in study.finished}))
    rows = tuple(row(study, family) for family in study.families)
    runs = counts(study)
    ahead = lead(rows, budgets[-1]) if budgets else None
    words = [
        best_sentence(ahead),
        multiplier_sentence(rows) if ahead else None,
        optimum_sentence(rows, ahead.first, convention) if ahead else None,
        frontier_sentence(study.frontier) if study.frontier else None,
        count_sentence(runs),
        errors_sentence(rows) if ahead else None,
    ]
    said = tuple(sentence for sentence in words if sentence)
    return Verdict(study.study.name, budgets, rows, ahead, said, runs, convention)
