"""What a study could not decide, and how many further runs would: the order of families, wide multipliers.

Families that are not told apart need further seeds of their best sizes, as many as the rule asks for by
which a report calls them decided (`lead`). Runs that narrow a multiplier are those of `isodiff plan next`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import NormalDist

from isodiff.errors import InputError, without_folders
from isodiff.report.format import listed
from isodiff.report.lead import Lead, RunScatter, lead_of
from isodiff.report.ranking import FamilyRanking
from isodiff.report.sections.extrapolation import study_setting
from isodiff.report.study_folder import StudyFolder
from isodiff.scaling.fitting.bootstrap import LEVEL
from isodiff.scaling.laws.law import REFERENCE
from isodiff.scaling.planning.candidate_runs import shape_sizes
from isodiff.scaling.planning.experimental_design import next_runs
from isodiff.scaling.points import record_points
from isodiff.units import clock

WIDE_MULTIPLIER = 2.0  # a multiplier whose interval spans more than this factor is not decided
_MOST_RUNS = 32


def undecided_sentence(
    study: StudyFolder, families: Sequence[FamilyRanking], budget: float, scatter: RunScatter | None
) -> str | None:
    """Who is not told apart at a budget, and the widest multiplier; None where all is decided."""
    found = [_order(study, tie) for tie in _ties(families, budget, scatter)]
    widest = max(families, key=_width)
    if _width(widest) > WIDE_MULTIPLIER:
        found.append(_multiplier(study, widest.family))
    return f"Not decided: {'; '.join(found)}." if found else None


def _ties(
    families: Sequence[FamilyRanking], budget: float, scatter: RunScatter | None
) -> Iterator[Lead]:
    """The first, if it is not told apart, then the first of those left: each by the rule of a lead."""
    there = [(one.family, best) for one in families if (best := one.at(budget))]
    left, said = sorted(there, key=lambda pair: pair[1].bits), set()
    while left:
        lead = lead_of(left, budget, scatter)
        if lead.tied and not {lead.first, *lead.tied} <= said:
            said |= {lead.first, *lead.tied}
            yield lead
        left = left[1:]


def _order(study: StudyFolder, tie: Lead) -> str:
    """The first against those it is tied with, and the seeds that tell them apart."""
    asked = f"{tie.first} against {listed(tie.tied)}"
    if tie.scatter is None:
        return f"{asked} (nothing shows how runs scatter: train a second seed)"
    if tie.further_seeds is None:
        return f"{asked} (no number of seeds would: they hardly differ, or evaluation hides it)"
    runs = [(name, tie.budget) for name in (tie.first, *tie.tied)] * tie.further_seeds
    return f"{asked} ({_needed(study, runs)}: {tie.further_seeds} further seeds of each best size)"


def _width(one: FamilyRanking) -> float:
    """High over low of its multiplier; 1 where that is not known."""
    found = one.multiplier_vs_autoregressive
    if one.family == REFERENCE or found is None or not found.low or not found.high:
        return 1.0
    return found.high / found.low


def _multiplier(study: StudyFolder, family: str) -> str:
    """The runs after which its interval is expected to be no wider than `WIDE_MULTIPLIER`."""
    asked = f"the multiplier of {family} to a factor of {WIDE_MULTIPLIER:g}"
    narrow = math.log(WIDE_MULTIPLIER) / (2 * NormalDist().inv_cdf((1 + LEVEL) / 2))
    try:
        points = record_points([run.record for run in study.runs], str(study.path))
        pair = tuple(point for point in points.points if point.family in (family, REFERENCE))
        cores, points = shape_sizes([study.path]), replace(points, points=pair)
        found = next_runs(points, _MOST_RUNS, verdict="multiplier", cores=cores).runs
    except InputError as error:
        return f"{asked} ({without_folders(str(error))})"
    left = [run.error_after > narrow for run in found]
    if all(left):
        return f"{asked} (more than {_MOST_RUNS} runs would)"
    runs = [(run.family, run.flops) for run in found[: left.index(False) + 1]]
    return f"{asked} ({_needed(study, runs)}, named by isodiff plan next)"


def _needed(study: StudyFolder, runs: Sequence[tuple[str, float]]) -> str:
    """How many, and how long they train in turn, as fast as each family's at its largest budget."""
    speeds = study_setting(study).measured
    seconds = sum(flops / speeds.get(family, math.nan) for family, flops in runs)
    time = f", {clock(seconds)} of training" if math.isfinite(seconds) else ""
    return f"about {len(runs)} more runs{time}"
