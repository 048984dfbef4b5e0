"""A run under way: network, optimizer, averages and counters, restored from the last checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.families import Family
from isodiff.network.transformer import Transformer
from isodiff.record import HeldOutLoss, SharedPrefix
from isodiff.rng import Rows, stream
from isodiff.runs import checkpoint
from isodiff.runs.build import Size, describe, make_family, make_network, measure
from isodiff.runs.ema import AveragedWeights
from isodiff.runs.metrics import Written, read_metrics
from isodiff.runs.spec import Precision, RunSpec
from isodiff.train.branching import Branch, LogSteps
from isodiff.train.initialization import Initialization
from isodiff.train.optimizer import make_optimizer, set_rate
from isodiff.train.precision import autocast, resolve
from isodiff.train.source import Source, Windows


class TrainingRun:
    """Everything the training loop needs, and the steps it takes.

    Attributes:
        step, steps: done so far, of how many; `steps` changes where the family adapts its options.
        flops: spent so far, by this run and the one that did its shared prefix.
        smoothed_loss: of the batches so far, nats per token; None before the first.
        size: counts of the family with its options by now; `planned` with those of the spec.

    Raises:
        InputError: a damaged checkpoint, or an initialization that is not the spec's.
    """

    def __init__(
        self,
        spec: RunSpec,
        folder: Path,
        corpus: Corpus,
        *,
        device: torch.device | str = "cpu",
        init: Initialization | None = None,
        branches: Sequence[Branch] = (),
        source: Source | None = None,
        size: Size | None = None,
        steps: int | None = None,
        precision: Precision | None = None,
    ) -> None:
        self.spec, self.folder, self.corpus, self.branches = spec, folder, corpus, branches
        self.device = torch.device(device)
        self.source: Source = Windows(spec, corpus) if source is None else source
        self.planned = self.size = size or measure(spec, corpus.vocab_size)
        self.family: Family = make_family(spec.family, corpus.vocab_size)
        self.network: Transformer = make_network(spec, self.family).to(self.device)
        if init is not None:
            init.apply(self.network, spec)
        self.optimizer = make_optimizer(self.network, spec.recipe, spec.shape.width)
        ema = spec.recipe.ema
        self.average = None if ema is None else AveragedWeights(self.network, ema)
        state = checkpoint.newest(folder / "checkpoint", spec.id, self._restored)
        if state is not None:
            checkpoint.set_aside_after(folder / "checkpoint", state.step)
            precision = state.precision
        self.precision: Precision = precision or resolve(spec.recipe.precision, self.device)
        if spec.init is not None and init is None and state is None:
            raise InputError(f"run {spec.id} starts from run {spec.init.run}; give its folder")
        self.restored = state or checkpoint.State(
            step=0,
            steps=steps or self.planned.steps(spec),
            flops=0.0,
            metrics_bytes=0,
            wall_seconds=0.0,
            precision=self.precision,
            family=spec.family,
        )
        self.wall_seconds, self.flops = self.restored.wall_seconds, self.restored.flops
        self.step, self.steps = self.restored.step, self.restored.steps
        self.smoothed_loss = self.restored.smoothed_loss
        if self.restored.family != spec.family:
            self._adopt(self.restored.family)
        if spec.recipe.compile:
            for block in self.network.blocks:
                block.compile()

    def _restored(self, place: Path, state: checkpoint.State) -> checkpoint.State:
        """`state`, its checkpoint loaded and checked against the run."""
        checkpoint.restore(place, self.network, self.optimizer, self.average)
        if not state.metrics.intact(self.folder / "metrics.jsonl"):
            raise checkpoint.Damaged(
                f"{self.folder / 'metrics.jsonl'} was altered before {place.name}"
            )
        steps, flops = self.planned.steps(self.spec), state.step * self.planned.step_flops
        if not self.family.adapt_every and (
            state.steps != steps
            or not math.isclose(state.flops, flops, rel_tol=1e-6)
            or make_family(state.family, self.corpus.vocab_size) != self.family
        ):
            raise checkpoint.Damaged(f"{place} has a state of another run")
        return state

    def _adopt(self, options: dict[str, Any]) -> None:
        """Go on with these options of the family, counting its FLOPs with them."""
        self.family = make_family(options, self.corpus.vocab_size)
        spec = replace(self.spec, family=options)
        self.size = measure(spec, self.corpus.vocab_size)

    @property
    def log_steps(self) -> LogSteps:
        """When this run writes rows."""
        return LogSteps(self.planned.steps(self.spec), self.spec.validation.curve_points)

    def update(self, step: int) -> tuple[float, float, float]:
        """One optimizer step. Returns the loss (nats per token), the gradient norm and the learning rate.

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

    def adapt(self, step: int) -> dict[str, Any]:
        """Let the family choose its options by the weights so far, on the step's first micro-batch.

        The search counts as a forward pass under the spec's own options; the steps left are those that spend
        what is left of the budget. Returns why these options were chosen.
        """
        recipe = self.spec.recipe
        rows = range(recipe.micro_batch_size or recipe.batch_size)
        rng = Rows.of(stream(self.spec.seed, "tune", step), len(rows), device=self.device)
        with torch.no_grad(), autocast(self.precision, self.device):
            batch = self.source.batch(step, rows, self.device)
            family, why = batch.adapt(self.family, self.network, rng)
        self._adopt(describe(family))
        self.flops += self.planned.step_flops / 3 * len(rows) / recipe.batch_size
        left = (self.spec.budget - self.flops) / self.size.step_flops
        self.steps = step + max(1, round(left))
        return why

    def validate(self, windows: int, draws: int, noise_error: float | None = None) -> HeldOutLoss:
        """The likelihood of what is held out, with averaged weights where there are any."""
        kept = None
        if self.average is not None:
            kept = {name: p.detach().clone() for name, p in self.network.named_parameters()}
            self.network.load_state_dict(self.average.weights)
        self.network.eval()
        how = (windows, draws, noise_error, self.device)
        found = self.source.evaluate(self.family, self.network, *how)
        if kept is not None:
            self.network.load_state_dict(kept)
        self.network.train()
        return found

    def save(self, step: int, metrics: Written) -> None:
        """Write a checkpoint after `step` steps."""
        self._write(self.folder, self.spec, self._state(step, self.steps, metrics))

    def branch_off(self, branch: Branch) -> None:
        """Write the checkpoint and the rows that a branch goes on from, unless it has begun by itself."""
        with branch.claimed() as free:
            if not free:
                return
            metrics = branch.write_rows(read_metrics(self.folder / "metrics.jsonl"))
            state = self._state(branch.step, branch.log_steps.steps, metrics)
            prefix = SharedPrefix(
                run=self.spec.id,
                step=branch.step,
                flops=state.flops,
                wall_seconds=state.wall_seconds,
            )
            self._write(branch.folder, branch.spec, replace(state, shared_prefix=prefix))

    def _state(self, step: int, steps: int, metrics: Written) -> checkpoint.State:
        return checkpoint.State(
            step=step,
            steps=steps,
            flops=self.flops,
            metrics_bytes=metrics.length,
            metrics_sha256=metrics.sha256,
            smoothed_loss=self.smoothed_loss,
            wall_seconds=self.wall_seconds,
            precision=self.precision,
            family=describe(self.family),
            shared_prefix=self.restored.shared_prefix,
        )

    def _write(self, folder: Path, spec: RunSpec, state: checkpoint.State) -> None:
        parts = (self.network, self.optimizer, self.average)
        checkpoint.save(folder / "checkpoint", spec.id, state, *parts)
