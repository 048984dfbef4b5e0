"""Running a study: what is not done is done, in parallel, and nothing done is done twice.

`out/plan.json` fixes the runs (with budgets already scaled to the clock), so a study that was killed goes on
with the same runs, and each run from its own checkpoint.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isodiff.data.manifest import read_manifest
from isodiff.errors import InputError, without_folders
from isodiff.files import exclusive
from isodiff.progress import ProgressLine
from isodiff.provenance import num_cores, provenance
from isodiff.record import (
    ParameterCounts,
    Record,
    RecordedSpec,
    RunFlops,
    identity,
    read_records,
)
from isodiff.serialization import from_json, read_result, write_result
from isodiff.study.frontier import expected_seconds, measure_frontier
from isodiff.study.jobs import DrawTexts, PlannedRun, RunOutcome, TrainRun
from isodiff.study.laws import fit_all
from isodiff.study.plan import StudyPlan, corpus_folder, plan_study
from isodiff.study.study import Study
from isodiff.study.workers import JobFailed, Workers
from isodiff.study_record import CorpusRecord, SampledTexts, StudyFlops, StudyRecord
from isodiff.units import clock, scientific
from isodiff.upgrade import as_first_named

_RESERVE_SECONDS = 25.0  # for samples, fits and the report; the frontier's time is added


def run_study(
    study: Study,
    out: Path,
    *,
    minutes: float | None,
    workers: int | None = None,
    threads: int = 1,
    bootstrap: int = 1000,
) -> None:
    """Everything from text to the files that a report is made of.

    Raises:
        InputError: the study cannot run as written, or `out` holds another one.
    """
    began = time.monotonic()
    count = workers or max(1, num_cores() // threads)
    with exclusive(out), Workers(count, threads, out) as pool:
        corpus = corpus_folder(study, out)
        made = _settled(study, out, corpus, pool, minutes, began)
        _train_all(made.runs, out, corpus, pool)
        _sample_best(study, out, pool)
        _measure_samplers(study, out, pool)
        _write_study(study, out, corpus, made, time.monotonic() - began)
    fit_all(out, bootstrap)


def _settled(
    study: Study, out: Path, corpus: Path, pool: Workers, minutes: float | None, began: float
) -> StudyPlan:
    """The plan of `out/plan.json`, made now if this is the first start."""
    wanted = identity({"study": as_first_named(study.to_json()), "minutes": minutes})
    file = out / "plan.json"
    if file.exists():
        found = read_result(StudyPlan, file)
        if found.id != wanted:
            raise InputError(
                f"{out} holds another study (or the same with other settings); choose another --out, "
                f"or delete {out} to start again"
            )
        return found
    left = None
    if minutes is not None:
        # What has passed so far is part of what the user allowed.
        after = _RESERVE_SECONDS + expected_seconds(study, pool)
        left = minutes - (time.monotonic() - began + after) / 60
        if left <= 0:
            raise InputError(
                f"--minutes {minutes:g} is too little: {clock(after)} of it go to samples, frontier and "
                "report; allow more, or fewer samplers (frontier.steps, frontier: null)"
            )
    scaled, runs = plan_study(study, corpus, pool, left)
    found = StudyPlan(
        id=wanted, study=_given_away(scaled.to_json()), minutes=minutes, runs=tuple(runs)
    )
    write_result(file, found)
    return found


def _given_away(study: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a study without the folders in which its text lies."""
    corpus = {
        key: [without_folders(one) for one in value]
        if isinstance(value, list)
        else value and without_folders(value)
        for key, value in study["corpus"].items()
    }
    return {**study, "corpus": corpus}


def _train_all(runs: Sequence[PlannedRun], out: Path, corpus: Path, pool: Workers) -> None:
    """Train every run that has no record yet, longest first; a failed run is recorded and passed over."""
    waiting = sorted((r for r in runs if not _done(out, r)), key=lambda r: -r.seconds)
    if not waiting:
        return
    jobs = [
        TrainRun(
            spec=run.spec,
            folder=out / "runs" / run.id,
            corpus=corpus,
            branches=[one.spec for one in waiting if one.prefix_of == run.id],
            flops=run.trained_flops,
            precision=run.precision,
        )
        for run in waiting
    ]
    progress = _StudyProgress(waiting, len(runs))
    unfinished = {run.id for run in waiting}

    def finished(index: int, answer: RunOutcome | Exception) -> None:
        run = waiting[index]
        unfinished.discard(run.id)
        if isinstance(answer, Exception):
            write_result(out / "runs" / run.id / "record.json", _failure(run, str(answer)))
            progress.finish(index, "failed", str(answer))
        else:
            progress.finish(index, answer.status, answer.message)

    def ready(index: int) -> bool:
        """A branch waits until its prefix is done up to its cooldown, or the run that does it has ended."""
        run = waiting[index]
        return run.prefix_of not in unfinished or begun(out, run)

    pool.share(jobs, finished, progress.advance, ready)
    progress.line.close(leave=True)


class _StudyProgress:
    """The progress line of a study: runs ended, FLOPs left to train, time left."""

    def __init__(self, waiting: Sequence[PlannedRun], num_runs: int) -> None:
        self.waiting, self.num_runs = waiting, num_runs
        self.share = [0.0] * len(waiting)
        self.ended = Counter({"done": 0, "diverged": 0, "failed": 0})
        self.line = ProgressLine(self.describe, sum(run.seconds for run in waiting))

    def advance(self, index: int, share: float) -> None:
        before, self.share[index] = self.share[index], share
        self.line.advance((share - before) * self.waiting[index].seconds)

    def finish(self, index: int, status: str, message: str | None) -> None:
        self.ended[status] += 1
        if message:
            self.line.print(f"run {self.waiting[index].id} {status}: {message}")
        self.advance(index, 1.0)

    def describe(self, line: ProgressLine) -> str:
        runs = zip(self.share, self.waiting, strict=True)
        flops = sum((1 - share) * run.trained_flops for share, run in runs)
        finished = self.num_runs - len(self.waiting) + self.ended.total()
        bad = self.ended["failed"] + self.ended["diverged"]
        left = f"{scientific(flops)} FLOPs left, ETA {line.eta}"
        return f"{finished}/{self.num_runs} runs, {bad} failed, {left}"


def begun(out: Path, run: PlannedRun) -> bool:
    """Whether the run has a checkpoint to go on from."""
    return any((out / "runs" / run.id / "checkpoint").glob("step_*"))


def _done(out: Path, run: PlannedRun) -> bool:
    file = out / "runs" / run.id / "record.json"
    return file.exists() and read_result(Record, file).status != "failed"


def _failure(run: PlannedRun, message: str) -> Record:
    return Record(
        id=run.id,
        status="failed",
        message=message,
        spec=from_json(RecordedSpec, run.spec.to_json(), "spec"),
        parameters=ParameterCounts(non_embedding=run.parameters),
        flops=RunFlops(planned=run.spec.budget),
        provenance=provenance(),
    )


def _sample_best(study: Study, out: Path, pool: Workers) -> None:
    """Texts from each family's best run at its largest budget, into samples.json."""
    best: dict[str, Record] = {}
    done = [record for record in read_records([out / "runs"]) if record.validation is not None]
    for record in sorted(done, key=lambda one: (-one.spec.budget, _nats(one))):
        best.setdefault(record.spec.family["name"], record)
    found = {}
    for name, record in sorted(best.items()):
        job = DrawTexts(
            folder=out / "runs" / record.id,
            texts=study.sampling.texts,
            steps=study.sampling.steps,
        )
        try:
            answer = pool.ask(job)
        except (InputError, JobFailed) as error:
            print(f"no samples of {name}: {error}", file=sys.stderr)
            continue
        sampler = f"ancestral, {answer.nfe} network evaluations"
        found[name] = SampledTexts(
            run=record.id, sampler=sampler, texts=answer.texts, nfe=answer.nfe
        )
    write_result(out / "samples.json", found)


def _nats(record: Record) -> float:
    assert record.validation is not None
    return record.validation.nats_per_token.value


def _measure_samplers(study: Study, out: Path, pool: Workers) -> None:
    """frontier.json; a study that cannot have one says why instead."""
    if study.frontier is None:
        return
    try:
        measure_frontier([out / "runs"], out, study.frontier, pool)
    except InputError as error:
        print(f"no frontier: {error}", file=sys.stderr)
        write_result(out / "frontier.json", {"reason": without_folders(str(error))})


def _write_study(study: Study, out: Path, corpus: Path, made: StudyPlan, seconds: float) -> None:
    manifest = read_manifest(corpus)
    train = manifest.splits["train"]
    ended = [record.flops for record in read_records([out / "runs"])]
    whole = [(f.exact, f.exact if f.trained is None else f.trained) for f in ended if f.exact]
    value = StudyRecord(
        name=study.name,
        description=study.description,
        id=made.id,
        minutes=made.minutes,
        study=made.study,
        corpus=CorpusRecord(
            source=manifest.source,
            hash=manifest.hash,
            tokenizer=manifest.tokenizer.name,
            vocab_size=manifest.vocab_size,
            train_tokens=train.num_tokens,
            train_bytes=train.num_bytes,
        ),
        planned_runs=len(made.runs),
        flops=StudyFlops(
            exact=sum(exact for exact, _ in whole), trained=sum(own for _, own in whole)
        ),
        wall_seconds=seconds,
        provenance=provenance(),
    )
    write_result(out / "study.json", value)
