"""`plan.json`: the runs of a study, made when it is first started and grown when it asks for more.

What is done must stay asked for: more families, budgets, shapes, seeds or values of the recipe may come, and
a study may be renamed or moved. One that no longer asks for a run that is done is another study, and refused.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isodiff.errors import InputError, without_folders
from isodiff.record import Record, flat, identity
from isodiff.runs.spec import RunSpec
from isodiff.serialization import read_result, write_result
from isodiff.study.jobs import PlannedRun
from isodiff.study.plan import StudyPlan, calibrated, described, plan_study, timed
from isodiff.study.study import Study
from isodiff.study.workers import Workers
from isodiff.upgrade import as_first_named


def settled(
    study: Study,
    out: Path,
    corpus: Path,
    pool: Workers,
    minutes: float | None,
    left: Callable[[], float | None],
) -> StudyPlan:
    """The plan of `out/plan.json`, made or grown to what the study asks for.

    Args:
        study: what is asked for.
        out: the study's folder.
        corpus: its text.
        pool: workers.
        minutes: the time allowed, if it is limited.
        left: gives those of them that are left for training.

    Raises:
        InputError: `out` holds another study, or this one cannot run as written.
    """
    asked = identity({"study": as_first_named(study.to_json()), "minutes": minutes})
    file, before = out / "plan.json", None
    if file.exists():
        before = read_result(StudyPlan, file)
        if before.id == asked:
            return before
    if before is None or not any(is_done(out, run) for run in before.runs):
        scale, runs = plan_study(study, corpus, pool, left())
    else:
        scale = _kept_scale(before, study, minutes, out)
        runs = _grown(study.scaled(scale), before, out, corpus, pool)
    made = StudyPlan(
        id=asked,
        study=_given_away(study.scaled(scale).to_json()),
        minutes=minutes,
        scale=scale,
        runs=tuple(runs),
    )
    write_result(file, made)
    return made


def _given_away(study: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a study without the folders in which its text lies."""
    corpus = {
        key: [without_folders(one) for one in value]
        if isinstance(value, list)
        else value and without_folders(value)
        for key, value in study["corpus"].items()
    }
    return {**study, "corpus": corpus}


def is_done(out: Path, run: PlannedRun) -> bool:
    """Whether a run has ended, well or badly; one that failed is tried again."""
    file = out / "runs" / run.id / "record.json"
    return file.exists() and read_result(Record, file).status != "failed"


def _kept_scale(before: StudyPlan, study: Study, minutes: float | None, out: Path) -> float:
    """The factor on all budgets, which stays what it was when the study was first started."""
    if minutes != before.minutes:
        was = (
            "without --minutes" if before.minutes is None else f"with --minutes {before.minutes:g}"
        )
        raise InputError(
            f"{out} was begun {was}, which settles its budgets: go on like that, or choose another --out"
        )
    if before.minutes is None:
        return 1.0
    if before.scale is None:  # written by an earlier version
        return before.study["budgets"][0]["flops"] / study.budgets[0].flops
    print(
        f"budgets are {before.scale:.3g} of those written, as at the first start", file=sys.stderr
    )
    return before.scale


def _grown(
    study: Study, before: StudyPlan, out: Path, corpus: Path, pool: Workers
) -> list[PlannedRun]:
    """All runs of the study; only those that `before` does not know are timed."""
    known = {run.id: run for run in before.runs}
    done = {run.id for run in before.runs if is_done(out, run)}
    wanted = described(study, corpus, pool, known=[run.spec for run in before.runs])
    gone = sorted(done - {run.id for run in wanted})
    if gone:
        spec = known[gone[0]].spec
        change = min((_changes(spec, run.spec) for run in wanted), key=len)
        raise InputError(
            f"{out} holds another study: {len(gone)} of its finished runs are not asked for any more "
            f"({gone[0]}: {', '.join(change)}); ask for them too, or choose another --out"
        )
    precisions = {one.spec.recipe.precision: one.precision for one in before.runs if one.precision}
    wanted = [
        dataclasses.replace(run, precision=precisions.get(run.spec.recipe.precision, run.precision))
        for run in wanted
    ]
    new = [run for run in wanted if run.id not in known]
    seconds = calibrated(new, corpus, pool) if new else {}
    print(f"{out} grows by {len(new)} runs; {len(done)} are done", file=sys.stderr)
    found = []
    for run in wanted:
        if run.prefix_of in done:  # it is over, and left nothing to branch off
            run = dataclasses.replace(run, prefix_of=None, prefix_steps=0)
        if run.id in known:
            run = dataclasses.replace(run, seconds=known[run.id].seconds)
        else:
            run = timed(run, seconds)
        found.append(run)
    return found


def _changes(old: RunSpec, new: RunSpec) -> list[str]:
    """How two specs differ: `recipe.learning_rate is 0.01, not 0.005`."""
    first, second = flat(old.to_json()), flat(new.to_json())
    return [
        f"{name} is {second.get(name)}, not {first.get(name)}"
        for name in sorted(first | second)
        if first.get(name) != second.get(name)
    ]
