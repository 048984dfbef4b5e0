"""The training loop: one flat function, every family.

Batches and noise are functions of (seed, step), so a run that was killed goes on from its last checkpoint
and ends with the same weights, bit for bit (same device, same number of threads).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.families import Family
from isodiff.files import exclusive, read_json, write_json
from isodiff.network.transformer import Transformer
from isodiff.rng import Rows, stream
from isodiff.runs import checkpoint
from isodiff.runs.build import Size, check_corpus, describe, make_family, make_network, measure
from isodiff.runs.metrics import Metrics, read_metrics
from isodiff.runs.spec import RunSpec
from isodiff.runs.validation import Evaluation
from isodiff.train.branching import Branch, Marks, branches_of
from isodiff.train.initialization import Start
from isodiff.train.optimizer import Average, adamw, set_rate
from isodiff.train.precision import autocast, resolve
from isodiff.train.progress import Progress, Reporter, silent
from isodiff.train.result import record_of
from isodiff.train.source import Source, Windows

DIVERGED = 5.0  # times log V: no family is this bad unless it is getting worse


def train(
    spec: RunSpec,
    folder: Path,
    corpus: Corpus,
    *,
    init: Start | None = None,
    source: Source | None = None,
    branches: Sequence[RunSpec] = (),
    device: str = "cpu",
    report: Reporter = silent,
    checkpoint_seconds: float = 60.0,
    wait_seconds: float = 0.0,
) -> dict[str, Any]:
    """Train `spec` in `folder`, or go on where it stopped; returns the record, also of a done run.

    `init` holds the weights that `spec.init` names, `source` the examples that `spec.task` names (without a
    task, the windows of the corpus). `branches` are runs of smaller budgets beside `folder` that this one
    takes along as far as their cooldowns.

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
    leaving = branches_of(spec, branches, folder.parent, size)
    with exclusive(folder, wait_seconds):
        if (folder / "record.json").exists():
            record = read_json(folder / "record.json")
            if record["status"] != "failed":
                return record
        write_json(folder / "spec.json", spec.to_json())
        write_json(folder / "location.json", {"corpus": str(corpus.folder.resolve())})
        parts = (spec, folder, corpus, size, steps, torch.device(device))
        run = Run(*parts, init, leaving, source)
        message = run.advance(report, checkpoint_seconds)
        record = record_of(run, message)
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
        branches: Sequence[Branch] = (),
        source: Source | None = None,
    ) -> None:
        self.spec, self.folder, self.corpus, self.branches = spec, folder, corpus, branches
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
        spec = replace(self.spec, family=options)
        self.size = measure(spec, self.corpus.vocab_size)

    def advance(self, report: Reporter, checkpoint_seconds: float) -> str | None:
        """Train to the end. Returns None, or why the run had to stop."""
        spec = self.spec
        marks = [self.marks, *(branch.marks for branch in self.branches)]
        limit = DIVERGED * math.log(self.corpus.vocab_size)
        smooth, began, saved = None, time.monotonic(), time.monotonic()
        with Metrics(self.folder / "metrics.jsonl", self.start.metrics_bytes) as metrics:
            while self.step < self.steps:
                every = self.family.adapt_every
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
                if any(mark.loss(done) for mark in marks) or done == self.steps:
                    row = {"step": done, "loss": loss, "rate": rate, "gradient_norm": norm}
                    metrics.write(**row, flops=self.flops)
                if any(mark.validation(done) for mark in marks):
                    found = self.validate(spec.validation.curve_windows, 1)
                    nats = dataclasses.asdict(found.nats_per_token)
                    metrics.write(step=done, flops=self.flops, validation=nats)
                for branch in self.branches:
                    if done == branch.step:
                        self.leave(branch, metrics)
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
            family, why = batch.adapt(self.family, self.network, rng)
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

    def state(self, step: int, steps: int, metrics_bytes: int) -> checkpoint.State:
        """Where the run stands after `step` steps."""
        family, trunk = describe(self.family), self.start.trunk
        times = (metrics_bytes, self.wall_seconds, self.precision)
        return checkpoint.State(step, steps, self.flops, *times, family, trunk)

    def save(self, step: int, metrics_bytes: int) -> None:
        """Write a checkpoint after `step` steps."""
        parts = (self.network, self.optimizer, self.average)
        state = self.state(step, self.steps, metrics_bytes)
        checkpoint.save(self.folder / "checkpoint", self.spec.id, state, *parts)

    def leave(self, branch: Branch, metrics: Metrics) -> None:
        """Give a branch its start, unless it has one."""
        metrics.length()
        with branch.alone() as free:
            if free:
                length = branch.begin(read_metrics(self.folder / "metrics.jsonl"))
                state = self.state(branch.step, branch.marks.steps, length)
                mine = {"run": self.spec.id, "step": branch.step}
                mine |= {"flops": state.flops, "wall_seconds": state.wall_seconds}
                parts = (self.network, self.optimizer, self.average)
                place = branch.folder / "checkpoint"
                checkpoint.save(place, branch.spec.id, replace(state, trunk=mine), *parts)

    @property
    def marks(self) -> Marks:
        """When this run writes rows."""
        return Marks(self.planned.steps(self.spec), self.spec.validation.curve_points)

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
