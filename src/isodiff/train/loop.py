"""The training loop: one flat function, every family.

Batches and noise are functions of (seed, step), so a run that was killed goes on from its last checkpoint
and ends with the same weights, bit for bit (same device, same number of threads).
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import torch

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.evaluate.likelihood import Evaluation
from isodiff.families import Family
from isodiff.files import exclusive, read_json, write_json
from isodiff.network.transformer import Transformer
from isodiff.record import provenance
from isodiff.rng import Rows, stream
from isodiff.train import checkpoint
from isodiff.train.metrics import Metrics, read_metrics
from isodiff.train.optimizer import Average, adamw, set_rate
from isodiff.train.precision import autocast, resolve
from isodiff.train.progress import Progress, Reporter, silent
from isodiff.train.run import Size, check_corpus, describe, make_family, make_network, measure
from isodiff.train.source import Source, Windows
from isodiff.train.spec import RunSpec
from isodiff.train.start import Start

LOG_POINTS = 200
DIVERGED = 5.0  # times log V: no family is this bad unless it is getting worse


def train(
    spec: RunSpec,
    folder: Path,
    corpus: Corpus,
    *,
    init: Start | None = None,
    source: Source | None = None,
    device: str = "cpu",
    report: Reporter = silent,
    checkpoint_seconds: float = 60.0,
    wait_seconds: float = 0.0,
) -> dict[str, Any]:
    """Train `spec` in `folder`, or go on where it stopped; returns the record, also of a done run.

    `init` holds the weights that `spec.init` names, `source` the examples that `spec.task` names; without a
    task a run learns from the windows of its corpus.

    Raises:
        InputError: the corpus or the task is another one, the budget is too small, or the folder is in use.
    """
    check_corpus(spec, corpus, corpus.folder)
    source = Windows(spec, corpus) if source is None else source
    if source.task != spec.task:
        raise InputError(
            f"run {spec.id} learns from {spec.task or 'its corpus'}, not {source.task}"
        )
    size = measure(spec, corpus.vocab_size)
    steps = size.steps(spec)
    with exclusive(folder, wait_seconds):
        if (folder / "record.json").exists():
            record = read_json(folder / "record.json")
            if record["status"] != "failed":
                return record
        write_json(folder / "spec.json", spec.to_json())
        write_json(folder / "location.json", {"corpus": str(corpus.folder.resolve())})
        run = Run(spec, folder, corpus, size, steps, torch.device(device), init, source)
        message = run.advance(report, checkpoint_seconds)
        record = run.record(message)
        write_json(folder / "record.json", record)
        return record


class Run:
    """A run under way: everything `advance` needs, restored from the last checkpoint."""

    def __init__(
        self,
        spec: RunSpec,
        folder: Path,
        corpus: Corpus,
        size: Size,
        steps: int,
        device: torch.device,
        init: Start | None = None,
        source: Source | None = None,
    ) -> None:
        self.spec, self.folder, self.corpus = spec, folder, corpus
        self.source: Source = Windows(spec, corpus) if source is None else source
        self.planned, self.size, self.device = size, size, device
        self.family: Family = make_family(spec.family, corpus.vocab_size)
        self.network: Transformer = make_network(spec, self.family).to(device)
        if init is not None:
            init.give(self.network, spec)
        self.optimizer = adamw(self.network, spec.recipe, spec.shape.width)
        ema = spec.recipe.ema
        self.average = None if ema is None else Average(self.network, ema)
        parts = (folder / "checkpoint", spec.id, self.network, self.optimizer, self.average)
        state = checkpoint.restore(*parts)
        self.precision = state.precision if state else resolve(spec.recipe.precision, device)
        if spec.init is not None and init is None and state is None:
            raise InputError(f"run {spec.id} starts from run {spec.init['run']}; give its folder")
        self.start = state or checkpoint.State(0, steps, 0.0, 0, 0.0, self.precision, spec.family)
        self.wall_seconds, self.flops = self.start.wall_seconds, self.start.flops
        self.step, self.steps = self.start.step, self.start.steps
        if self.start.family != spec.family:
            self.adopt(self.start.family)
        if spec.recipe.compile:
            for block in self.network.blocks:
                block.compile()

    def adopt(self, options: dict[str, Any]) -> None:
        """Go on with these options of the family, counting its FLOPs with them."""
        self.family = make_family(options, self.corpus.vocab_size)
        spec = dataclasses.replace(self.spec, family=options)
        self.size = measure(spec, self.corpus.vocab_size)

    def advance(self, report: Reporter, checkpoint_seconds: float) -> str | None:
        """Train to the end. Returns None, or why the run had to stop."""
        spec = self.spec
        planned = self.planned.steps(spec)
        log_every = max(1, planned // LOG_POINTS)
        validate_at = {
            round(planned * i / spec.validation.curve_points)
            for i in range(1, spec.validation.curve_points)
        }
        limit = DIVERGED * math.log(self.corpus.vocab_size)
        smooth, began, saved = None, time.monotonic(), time.monotonic()
        with Metrics(self.folder / "metrics.jsonl", self.start.metrics_bytes) as metrics:
            while self.step < self.steps:
                every = self.family.tune_every
                if every and self.step and self.step % every == 0:
                    metrics.write(step=self.step, tuned=self.tune(self.step))
                loss, norm, rate = self.update(self.step)
                smooth = loss if smooth is None else smooth + 0.02 * (loss - smooth)
                if not math.isfinite(loss) or not math.isfinite(norm):
                    return f"loss {loss} with gradient norm {norm} at step {self.step}"
                if smooth > limit:
                    return (
                        f"smoothed loss {smooth:.3g} nats per token at step {self.step}: diverged"
                    )
                self.wall_seconds = self.start.wall_seconds + time.monotonic() - began
                self.flops += self.size.step_flops
                done = self.step + 1
                if done % log_every == 0 or done == self.steps:
                    row = {"step": done, "loss": loss, "rate": rate, "gradient_norm": norm}
                    metrics.write(**row, flops=self.flops)
                if done in validate_at:
                    found = self.validate(spec.validation.curve_windows, 1)
                    nats = dataclasses.asdict(found.nats_per_token)
                    metrics.write(step=done, flops=self.flops, validation=nats)
                speed = (
                    (done - self.start.step) * self.size.step_tokens / (time.monotonic() - began)
                )
                report(
                    Progress(
                        done, self.steps, smooth, speed, (self.steps - done) * self.size.step_flops
                    )
                )
                if done == self.steps or time.monotonic() - saved > checkpoint_seconds:
                    self.save(done, metrics.length())
                    saved = time.monotonic()
                self.step = done
        return None

    def update(self, step: int) -> tuple[float, float, float]:
        """One optimizer step. Returns the loss, the gradient norm and the learning rate.

        A loss or gradient that is not finite leaves the weights as they are.
        """
        recipe = self.spec.recipe
        share = recipe.rate(step, self.steps)
        rate = share * recipe.peak(self.spec.shape.width)
        set_rate(self.optimizer, share)
        loss = self.gradients(step)
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip))
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            if self.average is not None:
                self.average.update(self.network)
        return loss, norm, rate

    def tune(self, step: int) -> dict[str, Any]:
        """Let the family choose its options by the weights so far, on the step's first micro-batch.

        The search counts as a forward pass under the spec's own options; the steps left are those that spend
        what is left of the budget.
        """
        recipe = self.spec.recipe
        rows = range(recipe.micro_batch_size or recipe.batch_size)
        rng = Rows.of(stream(self.spec.seed, "tune", step), len(rows), device=self.device)
        with torch.no_grad(), autocast(self.precision, self.device):
            batch = self.source.batch(step, rows, self.device)
            family, why = batch.tuned(self.family, self.network, rng)
        self.adopt(describe(family))
        self.flops += self.planned.step_flops / 3 * len(rows) / recipe.batch_size
        left = (self.spec.budget - self.flops) / self.size.step_flops
        self.steps = step + max(1, round(left))
        return why

    def gradients(self, step: int) -> float:
        """Accumulate the gradient of the mean loss of one global batch; returns that mean."""
        spec, total = self.spec, self.spec.recipe.batch_size
        self.optimizer.zero_grad(set_to_none=True)
        micro = spec.recipe.micro_batch_size or total
        sum_of_losses = 0.0
        for begin in range(0, total, micro):
            rows = range(begin, begin + micro)
            batch = self.source.batch(step, rows, self.device)
            rng = Rows.of(stream(spec.seed, "noise", step), total, rows, self.device)
            with autocast(self.precision, self.device):
                loss = batch.loss(self.family, self.network, rng).sum()
            loss = loss / (total * self.source.scored)
            loss.backward()
            sum_of_losses += loss.item()
        return sum_of_losses

    def save(self, step: int, metrics_bytes: int) -> None:
        """Write a checkpoint after `step` steps."""
        state = checkpoint.State(
            step,
            self.steps,
            self.flops,
            metrics_bytes,
            self.wall_seconds,
            self.precision,
            describe(self.family),
        )
        place = self.folder / "checkpoint"
        checkpoint.save(place, self.spec.id, state, self.network, self.optimizer, self.average)

    def validate(self, windows: int, draws: int) -> Evaluation:
        """The bound on what is held out, with averaged weights where there are any."""
        kept = None
        if self.average is not None:
            kept = {name: p.detach().clone() for name, p in self.network.named_parameters()}
            self.network.load_state_dict(self.average.weights)
        self.network.eval()
        found = self.source.evaluate(self.family, self.network, windows, draws, self.device)
        if kept is not None:
            self.network.load_state_dict(kept)
        self.network.train()
        return found

    def record(self, message: str | None) -> dict[str, Any]:
        """Everything about the run that a fit or a report needs."""
        spec = self.spec
        result: dict[str, Any] = {}
        if message is None:
            found = self.validate(spec.validation.windows, spec.validation.draws)
            result = {"validation": dataclasses.asdict(found)}
        curve = [
            {"step": row["step"], "flops": row["flops"], **row["validation"]}
            for row in read_metrics(self.folder / "metrics.jsonl")
            if "validation" in row
        ]
        counted = {**self.size.flops(spec, self.step), "exact": self.flops}
        return {
            "id": spec.id,
            "status": "done" if message is None else "diverged",
            "message": message,
            "spec": spec.to_json(),
            "parameters": {
                "total": self.size.total,
                "non_embedding": self.size.non_embedding,
                "core": self.size.core,
            },
            "flops": {"planned": spec.budget, **counted},
            "tokens": self.step * self.size.step_tokens,
            "epochs": self.source.epochs(self.step),
            "steps": self.step,
            "results": result,
            "curve": [
                {
                    "step": row["step"],
                    "flops": row["flops"],
                    "nats_per_token": row["value"],
                    "standard_error": row["standard_error"],
                }
                for row in curve
            ],
            "wall_seconds": self.wall_seconds,
            "tokens_per_second": self.step * self.size.step_tokens / max(self.wall_seconds, 1e-9),
            "precision": self.precision,
            "device": device_name(self.device),
            "threads": torch.get_num_threads(),
            "provenance": provenance(),
        }


def device_name(device: torch.device) -> str:
    """The device, in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
