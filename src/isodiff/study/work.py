"""What a worker does for each kind of job. Torch is imported here and in sampling.py alone."""

from __future__ import annotations

import os
import statistics
import time
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
from isodiff.runs.validation import usual_draws
from isodiff.serialization import from_json, to_json
from isodiff.study.branching import branch_points, with_shared_warmup
from isodiff.study.jobs import (
    CalibrateSteps,
    CheckFamilies,
    DescribeRuns,
    DrawnTexts,
    DrawTexts,
    Job,
    ListDevices,
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
_ANY_VOCABULARY = 257
_LOCK_SECONDS = 30.0  # an orphan of a killed study needs a moment to notice and let go


def _check(job: CheckFamilies, device: str) -> None:
    for family in job.families:
        make_family(family, _ANY_VOCABULARY)


def _describe(job: DescribeRuns, device: str) -> list[PlannedRun]:
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
    specs = with_shared_warmup(specs, steps, job.known)
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
            precision=resolve(spec.recipe.precision, torch.device(device)),
        )
        for spec, size, number, branch in parts
    ]


def _calibrate(job: CalibrateSteps, device: str) -> StepSeconds:
    """A few steps of a run and one evaluation, timed; nothing is read from a folder or written."""
    spec = job.spec
    nowhere = Path(os.devnull)
    text = Corpus.open(job.corpus)
    run = TrainingRun(spec, nowhere, text, device=device, steps=10**6, precision=job.precision)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _WARM_UP + 5 or time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        run.update(len(times))
        times.append(time.perf_counter() - start)
    asked = spec.validation
    run.validate(asked.curve_windows, 1)  # the first call is slower
    start = time.perf_counter()
    run.validate(asked.curve_windows, 1)
    curve = time.perf_counter() - start
    draws = usual_draws(run.family.kind, asked, spec.length)
    share = asked.windows * draws / asked.curve_windows
    return StepSeconds(
        step=statistics.median(times[_WARM_UP:]),
        evaluation=curve * (spec.validation.curve_points - 1 + share),
    )


def _sample(job: DrawTexts, device: str) -> DrawnTexts:
    run = load(job.folder, device=device)
    sampler = run.family.sampler_with(job.steps)
    prompt = undecided(job.texts, run.spec.length, torch.device(device))
    rng = Streams(run.spec.seed, job.texts, device=torch.device(device))
    tokens, nfe = sample(run.family, run.network, prompt, sampler, rng=rng)
    texts = tuple(run.corpus.tokenizer.decode(row) for row in tokens.cpu().numpy())
    return DrawnTexts(texts=texts, nfe=int(nfe.max()))


def _set_aside(folder: Path) -> str | None:
    """What to say where a run went on from an earlier checkpoint than its last."""
    found = [place.name for place in sorted(folder.glob("checkpoint/damaged_*"))]
    return f"went on before {', '.join(found)} in {folder / 'checkpoint'}" if found else None


def _devices(job: ListDevices, device: str) -> list[str]:
    """Every CUDA device for "cuda", else the one that is named."""
    try:
        wanted = torch.device(job.device)
    except RuntimeError:
        raise InputError(f"no device {job.device!r}; one of cpu, cuda, cuda:1, ...") from None
    if wanted.type != "cuda":
        return [job.device]
    number = torch.cuda.device_count()
    if (wanted.index or 0) >= number:
        raise InputError(f"--device {job.device}: this machine has {number} CUDA devices")
    return [job.device] if wanted.index is not None else [f"cuda:{i}" for i in range(number)]


class Work:
    """Does jobs with so many threads on one device; `progress` hears the share of a run that is trained."""

    def __init__(self, threads: int, device: str, progress: Callable[[float], None]) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._device, self._progress = device, progress
        self._kinds: dict[type[Job[Any]], Callable[[Any, str], Any]] = {
            CheckFamilies: _check,
            DescribeRuns: _describe,
            CalibrateSteps: _calibrate,
            TrainRun: self._train,
            DrawTexts: _sample,
            ListDevices: _devices,
            ListSamplers: samplers,
            MeasurePoint: measured_sampler,
            ScoreHeldOut: held_out_statistics,
        }

    def do(self, name: str, job: Any) -> Any:
        """The JSON of the answer to the JSON of a job."""
        kind = next(kind for kind in self._kinds if kind.__name__ == name)
        return to_json(self._kinds[kind](from_json(kind, job, "job"), self._device))

    def _train(self, job: TrainRun, device: str) -> RunOutcome:
        last = 0.0

        def report(progress: TrainingProgress) -> None:
            nonlocal last
            if time.monotonic() - last > 1:
                last = time.monotonic()
                self._progress(max(0.0, 1 - progress.flops_left / job.flops))

        record = train(
            job.spec,
            job.folder,
            Corpus.open(job.corpus),
            branches=job.branches,
            device=device,
            report=report,
            wait_seconds=_LOCK_SECONDS,
            precision=job.precision,
        )
        return RunOutcome(status=record.status, message=record.message or _set_aside(job.folder))
