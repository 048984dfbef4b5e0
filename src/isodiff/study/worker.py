"""The process that computes: jobs as JSON lines on standard input, answers on standard output.

It is the only part of a study that imports torch, so planning and reporting stay light, and a crash takes
one run with it, not the study. It stops by itself when its parent is gone.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from isodiff.allocator import keep_freed_memory
from isodiff.cost.memory import state_bytes
from isodiff.data.tokens import Corpus, epochs
from isodiff.errors import InputError
from isodiff.families import sample, undecided
from isodiff.progress import TrainingProgress
from isodiff.rng import Streams
from isodiff.runs.build import corpus_identity, describe, load, make_family, measure
from isodiff.runs.spec import RunSpec
from isodiff.serialization import from_json, to_json
from isodiff.study.branching import branch_points, with_shared_warmup
from isodiff.study.jobs import (
    CalibrateSteps,
    DescribeRuns,
    DrawnTexts,
    DrawTexts,
    Job,
    ListSamplers,
    MeasurePoint,
    PlannedRun,
    RunOutcome,
    ScoreHeldOut,
    StepSeconds,
    TrainRun,
)
from isodiff.study.sampling import held_out_statistics, measured_sampler, samplers
from isodiff.train.loop import train
from isodiff.train.precision import resolve
from isodiff.train.run import TrainingRun

_WARM_UP, _SECONDS = 3, 0.6  # of a calibration: steps not counted, and the least time of the others
_LOCK_SECONDS = 30.0  # an orphan of a killed study needs a step to notice and let go


def _describe(job: DescribeRuns) -> list[PlannedRun]:
    """Complete every draft into a spec and count its parameters, FLOPs, steps and epochs."""
    corpus = Corpus.open(job.corpus)
    tokens = corpus.split("train")
    specs, sizes, steps = [], [], []
    for draft in job.drafts:
        family = make_family(draft["family"], corpus.vocab_size)
        whole = {**draft, "family": describe(family), "corpus": to_json(corpus_identity(corpus))}
        spec = RunSpec.from_json(whole)
        size = measure(spec, corpus.vocab_size)
        specs.append(spec)
        sizes.append(size)
        steps.append(spec.budget / size.step_flops if job.loose else size.steps(spec))
    specs = with_shared_warmup(specs, steps)
    parts = zip(specs, sizes, steps, branch_points(specs, steps), strict=True)
    return [
        PlannedRun(
            id=spec.id,
            spec=spec,
            steps=number,
            step_flops=size.step_flops,
            tokens=number * size.step_tokens,
            epochs=number
            * epochs(tokens, length=spec.length, batch_size=spec.recipe.batch_size, step=1),
            parameters=size.non_embedding,
            weight_bytes=state_bytes(size.total),
            step_positions=size.step_positions,
            prefix_of=branch.longest,
            prefix_steps=branch.step,
            precision=resolve(spec.recipe.precision, torch.device("cpu")),
        )
        for spec, size, number, branch in parts
    ]


def _calibrate(job: CalibrateSteps) -> StepSeconds:
    """A few steps of a run and one evaluation, timed."""
    spec = job.spec
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(
            spec, Path(folder), Corpus.open(job.corpus), steps=10**6, precision=job.precision
        )
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < _WARM_UP + 5 or time.perf_counter() - began < _SECONDS:
            start = time.perf_counter()
            run.update(len(times))
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
        run.validate(spec.validation.curve_windows, 1)
        curve = time.perf_counter() - start
    share = spec.validation.windows * (1 if run.family.kind == "exact" else spec.validation.draws)
    share /= spec.validation.curve_windows
    return StepSeconds(
        step=statistics.median(times[_WARM_UP:]),
        evaluation=curve * (spec.validation.curve_points - 1 + share),
    )


def _train(job: TrainRun) -> RunOutcome:
    last = 0.0

    def report(progress: TrainingProgress) -> None:
        nonlocal last
        _stop_if_orphaned()
        if time.monotonic() - last > 1:
            last = time.monotonic()
            _say({"progress": max(0.0, 1 - progress.flops_left / job.flops)})

    record = train(
        job.spec,
        job.folder,
        Corpus.open(job.corpus),
        branches=job.branches,
        report=report,
        wait_seconds=_LOCK_SECONDS,
        precision=job.precision,
    )
    return RunOutcome(status=record.status, message=record.message or _set_aside(job.folder))


def _set_aside(folder: Path) -> str | None:
    """What to say where a run went on from an earlier checkpoint than its last."""
    found = [place.name for place in sorted(folder.glob("checkpoint/damaged_*"))]
    return f"went on before {', '.join(found)} in {folder / 'checkpoint'}" if found else None


def _sample(job: DrawTexts) -> DrawnTexts:
    run = load(job.folder)
    sampler = run.family.sampler_with(job.steps)
    prompt = undecided(job.texts, run.spec.length)
    rng = Streams(run.spec.seed, job.texts)
    tokens, nfe = sample(run.family, run.network, prompt, sampler, rng=rng)
    texts = tuple(run.corpus.tokenizer.decode(row) for row in tokens.numpy())
    return DrawnTexts(texts=texts, nfe=int(nfe.max()))


_WORK: dict[type[Job[Any]], Callable[[Any], Any]] = {
    DescribeRuns: _describe,
    CalibrateSteps: _calibrate,
    TrainRun: _train,
    DrawTexts: _sample,
    ListSamplers: samplers,
    MeasurePoint: measured_sampler,
    ScoreHeldOut: held_out_statistics,
}
_KINDS = {kind.__name__: kind for kind in _WORK}


def _say(message: dict[str, Any]) -> None:
    _CHANNEL.write(json.dumps(message) + "\n")
    _CHANNEL.flush()


def _stop_if_orphaned() -> None:
    if os.getppid() != _PARENT:
        raise SystemExit(1)


def _main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    keep_freed_memory()
    for line in sys.stdin:
        message = json.loads(line)
        kind = _KINDS[message["do"]]
        try:
            _say({"answer": to_json(_WORK[kind](from_json(kind, message["job"], "job")))})
        except InputError as error:
            _say({"error": str(error), "input": True})
        except Exception as error:  # a job that fails must not end the worker: the study goes on
            traceback.print_exc()
            _say({"error": f"{type(error).__name__}: {error}", "input": False})


if __name__ == "__main__":
    _PARENT = os.getppid()
    _CHANNEL = sys.stdout
    sys.stdout = sys.stderr  # nothing else may reach the channel
    _main()
