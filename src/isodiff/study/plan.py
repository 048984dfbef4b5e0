"""From a study to its runs: completed specs, sizes, time and memory, budgets scaled to the clock."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.runs.spec import MIN_STEPS, RunSpec
from isodiff.serialization import canonical
from isodiff.study.jobs import CalibrateSteps, CheckFamilies, DescribeRuns, PlannedRun, StepSeconds
from isodiff.study.study import Study
from isodiff.study.workers import Workers
from isodiff.units import clock

SLACK = 0.95  # of the time allowed; the rest absorbs what calibration does not see


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """`plan.json`: the runs of a study, fixed when it is first started.

    Attributes:
        id: hash of what was asked.
        study: the study's JSON, budgets scaled to the clock.
        minutes: the time allowed, if it was limited.
        scale: the factor on its budgets that this came to.
    """

    id: str
    study: dict[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    scale: float | None = None
    runs: tuple[PlannedRun, ...]


def corpus_folder(study: Study, out: Path, workers: Workers) -> Path:
    """The study's corpus, prepared in `out` if it is not prepared already.

    Raises:
        InputError: a family or an option of it that there is not; nothing is prepared then.
    """
    workers.ask(CheckFamilies(families=study.named_families))
    source = study.corpus
    if source.prepared is not None:
        return Path(source.prepared)
    from isodiff.data.corpora import check_prepared, prepare

    sources = [source.source] if isinstance(source.source, str) else list(source.source or [])
    folder = out / "corpus"
    if folder.exists():
        check_prepared(sources, folder, source.tokenizer)
    else:
        print(f"preparing the corpus in {folder}", file=sys.stderr)
        prepare(sources, folder, tokenizer=source.tokenizer, separator=source.separator)
    return folder


def plan_study(
    study: Study, corpus: Path, workers: Workers, minutes: float | None
) -> tuple[float, list[PlannedRun]]:
    """The factor on all budgets at which calibration and all runs end within `minutes`, and the runs with it.

    Raises:
        InputError: a budget is too small for a shape, or the minutes are too few for the study.
    """
    loose = described(study, corpus, workers, loose=minutes is not None)
    began = time.monotonic()
    seconds = calibrated(loose, corpus, workers)
    count, factor = len(workers.members), 1.0
    if minutes is not None:
        spent = (time.monotonic() - began) / 60
        left = max(0.0, minutes - spent)
        factor = fit_to(loose, seconds, count, left * 60 * SLACK)
        shortest = min(run.steps for run in loose)
        if shortest * factor < MIN_STEPS:
            need = math.ceil(spent + left * MIN_STEPS / shortest / factor)
            raise InputError(
                f"{minutes:g} minutes, {spent:.1f} of them for calibration, give "
                f"{shortest * factor:.0f} steps to the largest shapes; "
                f"runs need >= {MIN_STEPS}: allow {need} minutes or drop shapes"
            )
    runs = described(study.scaled(factor), corpus, workers)
    return factor, [timed(run, seconds) for run in runs]


def described(
    study: Study,
    corpus: Path,
    workers: Workers,
    *,
    loose: bool = False,
    known: Sequence[RunSpec] = (),
) -> list[PlannedRun]:
    """Every run with its counts but without its time.

    Args:
        study: asks for the runs.
        corpus: their text.
        workers: count.
        loose: let budgets be too small.
        known: runs of the study that there are already, whose warm-up the others take.
    """
    drafts = study.drafts()
    job = DescribeRuns(corpus=corpus, drafts=drafts, loose=loose, known=list(known))
    runs = workers.ask(job)
    first: dict[str, PlannedRun] = {}
    for run in runs:
        if first.setdefault(run.id, run) is not run:
            raise InputError(
                f"the study has run {run.id} ({run.spec.family['name']} {run.spec.shape}) twice; "
                "name each family with its options once"
            )
    return runs


def timed(run: PlannedRun, seconds: Mapping[str, StepSeconds]) -> PlannedRun:
    """The run with the wall time that its kind of steps takes."""
    return dataclasses.replace(run, seconds=run.wall_seconds(seconds[speed_key(run.spec)]))


def speed_key(spec: RunSpec) -> str:
    """What decides the speed of a step: all of a spec but its budget, its seed and its warm-up."""
    recipe = dataclasses.replace(spec.recipe, warmup_steps=None)
    return canonical(dataclasses.replace(spec, budget=1.0, seed=0, recipe=recipe).to_json())


def calibrated(
    runs: Sequence[PlannedRun], corpus: Path, workers: Workers
) -> dict[str, StepSeconds]:
    """Seconds of every kind of run by `speed_key`, measured with all workers busy, as they will be.

    Raises:
        JobFailed: a kind cannot be timed.
    """
    kinds = {speed_key(run.spec): run for run in runs}
    jobs = [
        CalibrateSteps(corpus=corpus, spec=run.spec, precision=run.precision)
        for run in kinds.values()
    ]
    found: dict[str, StepSeconds] = {}
    names = list(kinds)

    def done(index: int, answer: StepSeconds | Exception) -> None:
        if isinstance(answer, Exception):
            raise answer
        found[names[index]] = answer

    print(f"timing {len(jobs)} kinds of steps", file=sys.stderr)
    workers.share(jobs, done)
    return found


def fit_to(
    runs: Sequence[PlannedRun], seconds: Mapping[str, StepSeconds], count: int, allowed: float
) -> float:
    """The factor on all budgets at which `count` workers need `allowed` seconds.

    Raises:
        InputError: even without training, evaluations take longer.
    """
    from scipy.optimize import root_scalar

    def too_long(factor: float) -> float:
        times = [run.wall_seconds(seconds[speed_key(run.spec)], factor) for run in runs]
        return makespan(times, count) - allowed

    least = too_long(0) + allowed
    if least > 0.8 * allowed:
        raise InputError(
            f"evaluating {len(runs)} runs alone takes {clock(least)} of the {clock(allowed)} allowed; "
            "allow more minutes, fewer runs or fewer validation windows"
        )
    high = 1.0
    while too_long(high) < 0:
        high *= 2
    return float(root_scalar(too_long, bracket=(0.0, high), method="brentq").root)


def makespan(times: Sequence[float], count: int) -> float:
    """Wall time of jobs taken longest first by whichever of `count` workers is free."""
    loads = [0.0] * count
    for seconds in sorted(times, reverse=True):
        loads[loads.index(min(loads))] += seconds
    return max(loads)
