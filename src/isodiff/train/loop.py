"""The training loop: one flat function, every family.

Batches and noise are functions of (seed, step), so a run that was killed goes on from its last checkpoint
and ends with the same weights, bit for bit (same device, same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from isodiff.data.tokens import Corpus
from isodiff.data.unigram import unigram_nats
from isodiff.errors import InputError
from isodiff.files import exclusive
from isodiff.progress import TrainingProgress
from isodiff.provenance import provenance
from isodiff.record import (
    HeldOutLoss,
    ParameterCounts,
    Record,
    RecordedSpec,
    RunFlops,
    RunResults,
    ValidationPoint,
)
from isodiff.runs.build import check_corpus, measure
from isodiff.runs.device import check_device
from isodiff.runs.location import write_location
from isodiff.runs.metrics import AdaptRow, LossRow, Metrics, ValidationRow, read_metrics
from isodiff.runs.spec import Precision, RunSpec
from isodiff.serialization import from_json, read_result, write_result
from isodiff.train.branching import branches_of
from isodiff.train.initialization import Initialization
from isodiff.train.memory import check_memory
from isodiff.train.muon import optimizer_flops
from isodiff.train.precision import device_name
from isodiff.train.ranks import ALONE, Ranks
from isodiff.train.run import TrainingRun
from isodiff.train.source import Source, Windows

_DIVERGED = 5.0  # times log V: no family is this bad unless it is getting worse
Reporter = Callable[[TrainingProgress], object]


def train(
    spec: RunSpec,
    folder: Path,
    corpus: Corpus,
    *,
    init: Initialization | None = None,
    source: Source | None = None,
    branches: Sequence[RunSpec] = (),
    device: str = "cpu",
    report: Reporter = lambda progress: None,
    checkpoint_seconds: float = 60.0,
    wait_seconds: float = 0.0,
    precision: Precision | None = None,
    ranks: Ranks = ALONE,
) -> Record:
    """Train `spec` in `folder`, or go on where it stopped; returns the record, also of a done run.

    Args:
        spec: what to train.
        folder: of the run; `record.json` ends up there.
        corpus: the text that the spec names.
        init: the weights that `spec.init` names.
        source: the examples that `spec.task` names; without a task, the windows of the corpus.
        branches: runs of smaller budgets beside `folder`, taken along as far as their cooldowns.
        device: cpu, cuda, cuda:1, ...
        report: called after every step.
        checkpoint_seconds: time between checkpoints.
        wait_seconds: how long to wait for another process to let go of the folder.
        precision: what a plan found to be fast; None to time it where the recipe says "auto".
        ranks: of which this process is one; `folder` and `report` are the first one's.

    Raises:
        InputError: the corpus or the task is another one, the budget is too small, or the folder is in use,
            another run's, or damaged.
    """
    check_device(device)
    check_corpus(spec, corpus, corpus.folder)
    source = Windows(spec, corpus) if source is None else source
    if source.task != spec.task:
        raise InputError(
            f"run {spec.id} learns from {spec.task or 'its corpus'}, not {source.task}"
        )
    size = measure(spec, corpus.vocab_size)
    ranks.check(spec)
    check_memory(spec, size, device, ranks)
    steps = size.steps(spec)
    leaving = branches_of(spec, branches, folder.parent, size)
    with ExitStack() as held:

        def begin() -> Record | None:
            held.enter_context(exclusive(folder, wait_seconds))
            return _begun(spec, folder, corpus)

        if (record := ranks.first(begin)) is not None:
            return record
        run = TrainingRun(
            spec,
            folder,
            corpus,
            device=device,
            init=init,
            branches=leaving,
            source=source,
            size=size,
            steps=steps,
            precision=precision,
            ranks=ranks,
        )
        message = _train_to_end(run, report, checkpoint_seconds)
        validation = None
        if message is None:
            asked = spec.validation
            validation = run.validate(asked.windows, asked.draws, asked.noise_error)

        def end() -> Record:
            record = _record_of(run, message, validation)
            write_result(folder / "record.json", record)
            return record

        return ranks.first(end)


def _begun(spec: RunSpec, folder: Path, corpus: Corpus) -> Record | None:
    """The record of a run that is done; else the folder is made this run's."""
    if (folder / "record.json").exists():
        record = read_result(Record, folder / "record.json")
        if record.id != spec.id:
            raise _of_another_run(folder / "record.json", record.id, spec)
        if record.status != "failed":
            return record
    if (folder / "spec.json").exists() and (found := RunSpec.read(folder)) != spec:
        raise _of_another_run(folder / "spec.json", found.id, spec)
    write_result(folder / "spec.json", spec.to_json())
    write_location(folder, corpus.folder)
    return None


def _of_another_run(file: Path, id: str, spec: RunSpec) -> InputError:
    return InputError(f"{file} is that of run {id}, not of {spec.id}; choose another folder")


def _train_to_end(run: TrainingRun, report: Reporter, checkpoint_seconds: float) -> str | None:
    """Returns None, or why the run had to stop."""
    logs = [run.log_steps, *(branch.log_steps for branch in run.branches)]
    limit = _DIVERGED * math.log(run.corpus.vocab_size)
    leads, total = run.ranks.leads, run.ranks.total
    began = saved = time.monotonic()
    path = run.folder / "metrics.jsonl" if leads else None
    with Metrics(path, run.restored.metrics_bytes) as metrics:
        held_out = _last_held_out(run) if leads else None
        while run.step < run.steps:
            every = run.family.adapt_every
            if every and run.step and run.step % every == 0:
                metrics.write(AdaptRow(step=run.step, adapted=run.adapt(run.step)))
            loss, norm, rate = run.update(run.step)
            before = loss if run.smoothed_loss is None else run.smoothed_loss
            run.smoothed_loss = smooth = before + 0.02 * (loss - before)
            if not math.isfinite(loss) or not math.isfinite(norm):
                return f"loss {loss} with gradient norm {norm} at step {run.step}"
            if smooth > limit:
                return f"smoothed loss {smooth:.3g} nats per token at step {run.step}: diverged"
            seconds = time.monotonic() - began
            run.wall_seconds = run.restored.wall_seconds + seconds
            run.flops += run.size.step_flops
            done = run.step + 1
            if any(log.loss(done) for log in logs) or done == run.steps:
                metrics.write(
                    LossRow(step=done, loss=loss, rate=rate, gradient_norm=norm, flops=run.flops)
                )
            if any(log.validation(done) for log in logs):
                nats = run.validate(run.spec.validation.curve_windows, 1).nats_per_token
                metrics.write(ValidationRow(step=done, flops=run.flops, validation=nats))
                held_out = nats.value
            for branch in run.branches:
                if done == branch.step:
                    metrics.written()  # flushed: the branch takes its rows from the file
                    run.branch_off(branch)
            if leads:
                rate_of_tokens = (done - run.restored.step) * run.size.step_tokens / seconds
                report(
                    TrainingProgress(
                        step=done,
                        steps=run.steps,
                        objective=smooth,
                        held_out=held_out,
                        kind=run.family.kind,
                        tokens_per_second=rate_of_tokens,
                        flops_left=(run.steps - done) * run.size.step_flops,
                    )
                )
            if done == run.steps or total(time.monotonic() - saved > checkpoint_seconds):
                run.save(done, metrics.written())
                saved = time.monotonic()
            run.step = done
    return None


def _last_held_out(run: TrainingRun) -> float | None:
    """The loss of held-out text when it was last measured before `run` was taken up again."""
    rows = read_metrics(run.folder / "metrics.jsonl")
    measured = [row.validation.value for row in rows if isinstance(row, ValidationRow)]
    return measured[-1] if measured else None


def _record_of(run: TrainingRun, message: str | None, validation: HeldOutLoss | None) -> Record:
    """What a run that ended came to; `message` says why it had to stop."""
    spec, size, prefix = run.spec, run.size, run.restored.shared_prefix
    counted, tokens = size.flops(spec, run.step), run.step * size.step_tokens
    return Record(
        id=spec.id,
        status="done" if message is None else "diverged",
        message=message,
        spec=from_json(RecordedSpec, spec.to_json(), "spec"),
        parameters=ParameterCounts(
            total=size.total, non_embedding=size.non_embedding, core=size.core
        ),
        flops=RunFlops(
            planned=spec.budget,
            exact=run.flops,
            no_attention=counted["no_attention"],
            six_nd=counted["6ND"],
            trained=run.flops - (0.0 if prefix is None else prefix.flops),
            optimizer=float(run.step * optimizer_flops(run.optimizer)) or None,
        ),
        shared_prefix=prefix,
        tokens=tokens,
        epochs=run.source.epochs(run.step),
        steps=run.step,
        results=RunResults(
            validation=validation,
            # examples of a task are other text than the corpus
            unigram_nats=unigram_nats(run.corpus) if validation and not spec.task else None,
        ),
        curve=tuple(
            ValidationPoint(
                step=row.step,
                flops=row.flops,
                nats_per_token=row.validation.value,
                standard_error=row.validation.standard_error,
            )
            for row in read_metrics(run.folder / "metrics.jsonl")
            if isinstance(row, ValidationRow) and run.log_steps.validation(row.step)
        ),
        wall_seconds=run.wall_seconds,
        tokens_per_second=tokens / max(run.wall_seconds, 1e-9),
        precision=run.precision,
        device=device_name(run.device),
        threads=torch.get_num_threads(),
        ranks=None if run.ranks.count == 1 else run.ranks.count,
        provenance=provenance(),
    )
