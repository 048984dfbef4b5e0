"""Branching: one run that serves several budgets (constant, then a cooldown; arXiv 2405.18392).

Runs of schedule "wsd" with the same `warmup_steps` that differ in nothing but their budgets are one and the
same until the cooldown of the shortest: they share a prefix. So the longest takes the others along. Where
the cooldown of one begins, it writes a checkpoint and the rows of metrics.jsonl into the folder of that run,
the branch. From there on the branch is a run that was interrupted: it goes on from its checkpoint and ends
with the same weights, rows and results as one that was trained alone, bit for bit (same device, same number
of threads).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from isodiff.errors import InputError
from isodiff.files import exclusive
from isodiff.runs import checkpoint
from isodiff.runs.build import Size
from isodiff.runs.metrics import LossRow, Metrics, Row, ValidationRow, Written
from isodiff.runs.spec import RunSpec

_LOG_POINTS = 200


@dataclass(frozen=True, slots=True)
class LogSteps:
    """The steps at which a run of `steps` steps writes down its loss, and validates `points` - 1 times."""

    steps: int
    points: int

    def loss(self, done: int) -> bool:
        """Whether the loss is written after `done` steps."""
        return done % max(1, self.steps // _LOG_POINTS) == 0

    def validation(self, done: int) -> bool:
        """Whether to validate after `done` steps."""
        return done in (round(self.steps * i / self.points) for i in range(1, self.points))

    def includes(self, row: Row) -> bool:
        """Whether a row of metrics.jsonl is one of this run's."""
        if isinstance(row, ValidationRow):
            return self.validation(row.step)
        return isinstance(row, LossRow) and self.loss(row.step)


@dataclass(frozen=True, slots=True)
class Branch:
    """A run in `folder` that does on its own what comes after the first `step` steps."""

    spec: RunSpec
    folder: Path
    step: int
    log_steps: LogSteps

    @contextmanager
    def claimed(self) -> Iterator[bool]:
        """Hold the folder; False where somebody trains the run by itself, or has begun to."""
        with ExitStack() as held:
            try:
                held.enter_context(exclusive(self.folder))
            except InputError:
                yield False
                return
            begun = checkpoint.steps(self.folder / "checkpoint")
            yield not begun and not (self.folder / "record.json").exists()

    def write_rows(self, rows: Sequence[Row]) -> Written:
        """Write the rows that are this run's."""
        with Metrics(self.folder / "metrics.jsonl", 0) as metrics:
            for row in filter(self.log_steps.includes, rows):
                metrics.write(row)
            return metrics.written()


def branches_of(
    longest: RunSpec, others: Sequence[RunSpec], runs: Path, size: Size
) -> tuple[Branch, ...]:
    """The runs that branch off the longest one, each into `runs`/<id>.

    Raises:
        InputError: a run is not the same as the longest up to its cooldown.
    """
    recipe, found = longest.recipe, []
    if others and longest.family.get("adapt_every"):
        raise InputError(
            f"run {longest.id} cannot have branches: with adapt_every its options, and with them its "
            "steps, follow from its own budget; train every budget by itself"
        )
    for other in others:
        steps = size.steps(other)
        step = recipe.stable(steps)
        if (
            recipe.schedule != "wsd"
            or recipe.warmup_steps is None
            or dataclasses.replace(other, budget=longest.budget) != longest
            or step > recipe.stable(size.steps(longest))
        ):
            raise InputError(
                f"run {other.id} is no branch of {longest.id}: it must differ by a smaller budget alone, "
                "with schedule wsd and the same warmup_steps"
            )
        log_steps = LogSteps(steps, other.validation.curve_points)
        found.append(Branch(other, runs / other.id, step, log_steps))
    return tuple(found)
