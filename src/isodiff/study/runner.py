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

from isodiff.data.manifest import read_manifest
from isodiff.errors import InputError, WorkFailed, without_folders
from isodiff.files import exclusive
from isodiff.progress import ProgressLine
from isodiff.provenance import provenance
from isodiff.record import (
    ParameterCounts,
    Record,
    RecordedSpec,
    RunFlops,
    read_records,
)
from isodiff.runs.location import point_to
from isodiff.serialization import from_json, write_result
from isodiff.study.frontier import NoReferenceModel, expected_seconds, measure_frontier
from isodiff.study.jobs import DrawTexts, PlannedRun, RunOutcome, TrainRun
from isodiff.study.laws import fit_all
from isodiff.study.plan import StudyPlan, corpus_folder
from isodiff.study.settled import is_done, settled
from isodiff.study.study import Study
from isodiff.study.workers import JobFailed, Workers
from isodiff.study_record import (
    CorpusRecord,
    SampledTexts,
    StudyFlops,
    StudyRecord,
    read_samples,
)
from isodiff.units import clock, scientific

_RESERVE_SECONDS = 25.0  # for samples, fits and the report; the frontier's time is added


def run_study(
    study: Study,
    out: Path,
    *,
    minutes: float | None,
    pool: Workers,
    bootstrap: int = 1000,
) -> list[str]:
    """Everything from text to the files that a report is made of; returns what failed, in words.

    What fails takes nothing with it: the others go on, files of earlier starts stay as they are, and the
    same command tries again.

    Raises:
        InputError: the study cannot run as written, or `out` holds another one.
        WorkFailed: it could not be planned, or no run has ended.
    """
    began = time.monotonic()
    with exclusive(out):
        corpus = corpus_folder(study, out, pool)
        point_to(corpus, out / "runs")
        made = settled(
            study, out, corpus, pool, minutes, lambda: _time_left(study, pool, minutes, began)
        )
        failed = _train_all(made.runs, out, corpus, pool)
        if not any(is_done(out, run) for run in made.runs):
            raise WorkFailed(f"all {len(made.runs)} runs failed, the first by this: {failed[0]}")
        failed += _sample_best(study, out, pool)
        failed += _measure_samplers(study, out, pool)
        _write_study(study, out, corpus, made, time.monotonic() - began)
    fit_all(out, bootstrap)
    return failed


def _time_left(study: Study, pool: Workers, minutes: float | None, began: float) -> float | None:
    """Minutes for training: those allowed, less those that have passed and those of all that comes after."""
    if minutes is None:
        return None
    after = _RESERVE_SECONDS + expected_seconds(study, pool)
    left = minutes - (time.monotonic() - began + after) / 60
    if left <= 0:
        raise InputError(
            f"--minutes {minutes:g} is too little: {clock(after)} of it go to samples, frontier and "
            "report; allow more, or fewer samplers (frontier.steps, frontier: null)"
        )
    return left


def _train_all(runs: Sequence[PlannedRun], out: Path, corpus: Path, pool: Workers) -> list[str]:
    """Train every run that has no record yet, longest first; a failed run is recorded and passed over."""
    waiting = sorted((r for r in runs if not is_done(out, r)), key=lambda r: -r.seconds)
    if not waiting:
        return []
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
    failed: list[str] = []

    def finished(index: int, answer: RunOutcome | Exception) -> None:
        run = waiting[index]
        unfinished.discard(run.id)
        if isinstance(answer, Exception):
            write_result(out / "runs" / run.id / "record.json", _failure(run, str(answer)))
            progress.finish(index, "failed", str(answer))
            failed.append(f"run {run.id} failed: {answer}")
        else:
            progress.finish(index, answer.status, answer.message)

    def ready(index: int) -> bool:
        """A branch waits until its prefix is done up to its cooldown, or the run that does it has ended."""
        run = waiting[index]
        return run.prefix_of not in unfinished or begun(out, run)

    pool.share(jobs, finished, progress.advance, ready)
    progress.line.close(leave=True)
    return failed


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


def _sample_best(study: Study, out: Path, pool: Workers) -> list[str]:
    """Texts from each family's best run at its largest budget, into samples.json; returns what failed."""
    best: dict[str, Record] = {}
    done = [record for record in read_records([out / "runs"]) if record.validation is not None]
    for record in sorted(done, key=lambda one: (-one.spec.budget, _nats(one))):
        best.setdefault(record.spec.family["name"], record)
    file, failed = out / "samples.json", []
    found = read_samples(file)
    for name, record in sorted(best.items()):
        job = DrawTexts(
            folder=out / "runs" / record.id,
            texts=study.sampling.texts,
            steps=study.sampling.steps,
        )
        try:
            answer = pool.ask(job)
        except (InputError, JobFailed) as error:
            failed.append(_said(f"no new samples of {name}: {error}"))
            continue
        sampler = f"ancestral, {answer.nfe} network evaluations"
        found[name] = SampledTexts(
            run=record.id, sampler=sampler, texts=answer.texts, nfe=answer.nfe
        )
    write_result(file, found)
    return failed


def _said(problem: str) -> str:
    print(problem, file=sys.stderr)
    return problem


def _nats(record: Record) -> float:
    assert record.validation is not None
    return record.validation.nats_per_token.value


def _measure_samplers(study: Study, out: Path, pool: Workers) -> list[str]:
    """frontier.json; a study that cannot have one says why instead. Returns what failed."""
    if study.frontier is None:
        return []
    try:
        measure_frontier([out / "runs"], out, study.frontier, pool)
    except NoReferenceModel as error:
        _said(f"no frontier: {error}")
        if not (out / "frontier.json").exists():
            write_result(out / "frontier.json", {"reason": without_folders(str(error))})
    except (InputError, JobFailed) as error:
        return [_said(f"no new frontier: {error}")]
    return []


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
