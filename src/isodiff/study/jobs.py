"""What a study asks of its worker processes, and what they answer; both travel as JSON. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, NonNegativeFloat, PositiveFloat

from isodiff.cost.memory import activation_bytes
from isodiff.errors import InputError
from isodiff.record import Status
from isodiff.runs.spec import AnySpec, Precision
from isodiff.scaling.sampler_points import MeasuredSampler, TextStatistics
from isodiff.serialization import IfAny

A = TypeVar("A")

_RUN_OVERHEAD = 0.3  # seconds to open, save and record a run


class Job(Generic[A]):
    """Something to compute; `answer` is the type `A` of the result."""

    answer: ClassVar[Any]

    @property
    def what(self) -> str:
        """What it is, for people."""
        return type(self).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """How long runs of one kind take here: a step, and all evaluations of a run."""

    step: float
    evaluation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run before it is trained: its counts, and the wall time expected.

    Attributes:
        steps: whole, but before budgets are scaled.
        parameters: non-embedding.
        weight_bytes: of weights, gradients and moments.
        step_positions: positions that the network reads in a step.
        prefix_of: the run that does the first steps of this one, if any; `trunk` in JSON.
        prefix_steps: how many; `start` in JSON.
        precision: fixed before calibration, so that no run times it again; None in plans of earlier versions.
    """

    id: str
    spec: AnySpec
    steps: Annotated[int | float, Field(gt=0)]
    step_flops: PositiveFloat
    tokens: int | float
    epochs: float
    parameters: int
    weight_bytes: float
    step_positions: int
    seconds: NonNegativeFloat = 0.0
    prefix_of: Annotated[str | None, Field(alias="trunk")] = None
    prefix_steps: Annotated[int, Field(alias="start", ge=0)] = 0
    precision: IfAny[Precision] = None

    def __post_init__(self) -> None:
        if self.spec.id != self.id:
            raise InputError(f"run {self.id} has the spec of run {self.spec.id}")

    def wall_seconds(self, timed: StepSeconds, factor: float = 1.0) -> float:
        """Expected time, with its budget multiplied by `factor`."""
        own = factor * (self.steps - self.prefix_steps)
        return own * timed.step + timed.evaluation + _RUN_OVERHEAD

    @property
    def flops(self) -> float:
        """FLOPs that the run stands for."""
        return self.steps * self.step_flops

    @property
    def trained_flops(self) -> float:
        """FLOPs that it spends itself."""
        return (self.steps - self.prefix_steps) * self.step_flops

    @property
    def memory_bytes(self) -> float:
        """Of weights, gradients and moments, and roughly of a step's activations in float32."""
        spec, recipe = self.spec, self.spec.recipe
        share = (recipe.micro_batch_size or recipe.batch_size) / recipe.batch_size
        shown = self.step_positions / recipe.batch_size
        return self.weight_bytes + activation_bytes(
            depth=spec.shape.depth,
            width=spec.shape.width,
            positions=share * self.step_positions,
            scores=spec.shape.heads * shown,
            logits=spec.corpus.vocab_size * spec.length / shown,
            number_bytes=4,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDevices(Job[list[str]]):
    """The devices that "cuda" stands for, or the one that is named."""

    answer = list[str]
    device: str

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "looking for devices"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFamilies(Job[None]):
    """That families exist and take the options that a study gives them, before its corpus is prepared."""

    answer = type(None)
    families: list[dict[str, Any]]

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "checking families"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeRuns(Job[list[PlannedRun]]):
    """Complete drafts of specs and count what they take; see `plan.described`."""

    answer = list[PlannedRun]
    corpus: Path
    drafts: list[dict[str, Any]]
    loose: bool
    known: list[AnySpec]

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "counting runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateSteps(Job[StepSeconds]):
    """Time a few steps of a run and one evaluation."""

    answer = StepSeconds
    corpus: Path
    spec: AnySpec
    precision: Precision | None

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"timing {self.spec.family['name']} at shape {self.spec.shape}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How training ended, and why where it is not done, or what was damaged where it is."""

    status: Status
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRun(Job[RunOutcome]):
    """Train a run, and the prefixes of its branches; `flops` are those still to be trained."""

    answer = RunOutcome
    spec: AnySpec
    folder: Path
    corpus: Path
    branches: list[AnySpec]
    flops: float
    precision: Precision | None

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"run {self.spec.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTexts:
    """Texts and the network evaluations that each took at most."""

    texts: tuple[str, ...]
    nfe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTexts(Job[DrawnTexts]):
    """Sample so many texts from a run."""

    answer = DrawnTexts
    folder: Path
    texts: int
    steps: int

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"samples of run {self.folder.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSetting:
    """A sampler of a family: a variant of it and the variant's options; None steps where it has no steps."""

    variant: str
    options: dict[str, Any]
    steps: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSamplers(Job[list[list[SamplerSetting]]]):
    """The samplers that a frontier compares, for each family."""

    answer = list[list[SamplerSetting]]
    families: list[str]
    length: int
    steps: list[int] | None

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "listing samplers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreHeldOut(Job[TextStatistics]):
    """Statistics of so many windows of held-out text; `reference_model` is a run's folder or hf:NAME."""

    answer = TextStatistics
    folder: Path
    reference_model: str
    texts: int

    @property
    def what(self) -> str:
        """What it is, for people."""
        return "scoring held-out text"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurePoint(Job[MeasuredSampler]):
    """Speed and quality of a run with a sampler. A point's file is named by the hash of this JSON.

    `device` is the kind that was asked for; each worker has its own.
    """

    answer = MeasuredSampler
    folder: Path
    variant: str
    options: dict[str, Any]
    steps: int | None
    reference_model: Annotated[str, Field(alias="judge")]
    texts: int
    held_out: int
    call_seconds: float
    device: str
    workers: int

    @property
    def what(self) -> str:
        """What it is, for people."""
        return f"a point of the frontier (run {self.folder.name}, {self.variant})"
