"""A run under way: network, optimizer, averages and counters, restored from the last checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
from isodiff.train.ranks import ALONE, Ranks
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
        ranks: Ranks = ALONE,
    ) -> None:
        self.spec, self.folder, self.corpus, self.branches = spec, folder, corpus, branches
        self.ranks = ranks
        self.device = torch.device(device)
        self.source: Source = Windows(spec, corpus) if source is None else source
        self.planned = self.size = size or measure(spec, corpus.vocab_size)
        self.family: Family = make_family(spec.family, corpus.vocab_size)
        self.engine = ranks.engine(partial(_network, spec, self.family, init), self.device)
        self.network: Transformer = self.engine.network
        self.optimizer = make_optimizer(self.network, spec.recipe, spec.shape.width)
        ema = spec.recipe.ema
        self.average = None if ema is None else AveragedWeights(self.network, ema)
        state = self._restored()
        if state is not None:
            precision = state.precision
        self.precision: Precision = precision or ranks.first(
            lambda: resolve(spec.recipe.precision, self.device)
        )
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

    def _restored(self) -> checkpoint.State | None:
        """The state of the newest checkpoint, which the first rank reads and all go on from."""
        objects = self.network, self.optimizer, self.average
        place, parts = self.folder / "checkpoint", None

        def read() -> checkpoint.State | None:
            nonlocal parts
            found = checkpoint.newest(place, self.spec.id, self._checked)
            if found is None:
                return None
            state, parts = found
            checkpoint.set_aside_after(place, state.step)
            return state

        state = self.ranks.first(read)
        if state is not None:
            checkpoint.restore(parts, *objects, self.engine.put)
        return state

    def _checked(
        self, place: Path, state: checkpoint.State
    ) -> tuple[checkpoint.State, checkpoint.Parts]:
        """`state`, and the tensors of its checkpoint, checked against the run."""
        parts = checkpoint.read(place, self.network, self.optimizer, self.average)
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
        return state, parts

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
        norm = self.engine.clip(recipe.clip)
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            if self.average is not None:
                self.average.update(self.network)
        return loss, norm, rate

    def gradients(self, step: int) -> float:
        """Accumulate the gradient of the mean loss of one global batch; returns that mean."""
        self.optimizer.zero_grad(set_to_none=True)
        rows = self.ranks.rows(self.spec.recipe.batch_size)
        sum_of_losses = 0.0
        for begin in rows[:: self.spec.recipe.micro_batch_size or len(rows)]:
            some = rows[begin - rows.start :][: self.spec.recipe.micro_batch_size]
            loss = partial(self._share_of_loss, step, some)
            sum_of_losses += self.engine.backward(loss, last=some.stop == rows.stop)
        return self.ranks.total(sum_of_losses)

    def _share_of_loss(self, step: int, rows: range, network: Transformer) -> Tensor:
        """What some rows add to the mean loss of the global batch."""
        total = self.spec.recipe.batch_size
        batch = self.source.batch(step, rows, self.device)
        rng = Rows.of(stream(self.spec.seed, "noise", step), total, rows, self.device)
        with autocast(self.precision, self.device):
            loss = batch.loss(self.family, network, rng).sum()
        return loss / (total * self.source.scored)

    def adapt(self, step: int) -> dict[str, Any]:
        """Let the family choose its options by the weights so far, on the step's first micro-batch.

        The search counts as a forward pass under the spec's own options; the steps left are those that spend
        what is left of the budget. Returns why these options were chosen.
        """
        recipe = self.spec.recipe
        rows = range(recipe.micro_batch_size or recipe.batch_size)
        rng = Rows.of(stream(self.spec.seed, "tune", step), len(rows), device=self.device)

        def search() -> tuple[dict[str, Any], dict[str, Any]]:
            with torch.no_grad(), autocast(self.precision, self.device):
                batch = self.source.batch(step, rows, self.device)
                family, why = batch.adapt(self.family, network, rng)
            return describe(family), why

        with self.engine.evaluated() as network:
            options, why = self.ranks.first(search)
        self._adopt(options)
        self.flops += self.planned.step_flops / 3 * len(rows) / recipe.batch_size
        left = (self.spec.budget - self.flops) / self.size.step_flops
        self.steps = step + max(1, round(left))
        return why

    def validate(self, windows: int, draws: int, noise_error: float | None = None) -> HeldOutLoss:
        """The likelihood of what is held out, with averaged weights where there are any."""
        how = (windows, draws, noise_error, self.device, self.ranks.over)
        with self.engine.evaluated(self.average and self.average.weights) as network:
            network.eval()
            found = self.source.evaluate(self.family, network, *how)
            network.train()
        return found

    def save(self, step: int, metrics: Written) -> None:
        """Write a checkpoint after `step` steps."""
        place, state, parts = self.folder / "checkpoint", self._state(step, metrics), self._parts()
        self.ranks.first(lambda: checkpoint.save(place, self.spec.id, state, parts))

    def branch_off(self, branch: Branch) -> None:
        """Write the checkpoint and the rows that a branch goes on from, unless it has begun by itself."""
        parts = self._parts()
        self.ranks.first(lambda: self._branch_off(branch, parts))

    def _branch_off(self, branch: Branch, parts: checkpoint.Parts) -> None:
        with branch.claimed() as free:
            if not free:
                return
            metrics = branch.write_rows(read_metrics(self.folder / "metrics.jsonl"))
            state = self._state(branch.step, metrics)
            prefix = SharedPrefix(
                run=self.spec.id,
                step=branch.step,
                flops=state.flops,
                wall_seconds=state.wall_seconds,
            )
            state = replace(state, steps=branch.log_steps.steps, shared_prefix=prefix)
            checkpoint.save(branch.folder / "checkpoint", branch.spec.id, state, parts)

    def _parts(self) -> checkpoint.Parts:
        """The tensors of a checkpoint, on the first rank."""
        objects = self.network, self.optimizer, self.average
        return checkpoint.gathered(*objects, self.engine.whole)

    def _state(self, step: int, metrics: Written) -> checkpoint.State:
        return checkpoint.State(
            step=step,
            steps=self.steps,
            flops=self.flops,
            metrics_bytes=metrics.length,
            metrics_sha256=metrics.sha256,
            smoothed_loss=self.smoothed_loss,
            wall_seconds=self.wall_seconds,
            precision=self.precision,
            family=describe(self.family),
            shared_prefix=self.restored.shared_prefix,
        )


def _network(spec: RunSpec, family: Family, init: Initialization | None) -> Transformer:
    """The network of a spec as its training begins."""
    network = make_network(spec, family)
    if init is not None:
        init.apply(network, spec)
    return network
