"""What a run is: everything that decides its numbers, and nothing else. No torch.

The hash of a spec's JSON is the run's identity: same spec, same folder. Where the corpus lies, how many
threads compute and how often a checkpoint is written are not part of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter

from isodiff.bounds import (
    Checked,
    Count,
    Decay,
    FewTimes,
    Finite,
    FlopCount,
    Fraction,
    LearningRate,
    NonNegative,
    Positive,
    SeedNumber,
    TokenCount,
    Whole,
)
from isodiff.errors import InputError
from isodiff.network.shape import Backbone, Shape
from isodiff.record import Imported, WeightsSource, identity
from isodiff.serialization import IfAny, read_result, to_json
from isodiff.upgrade import as_first_named, upgraded

MIN_STEPS = 100
NOISE_ERROR = 0.002
"""Nats per token below which the error due to noise draws is brought, unless a spec says otherwise."""
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Recipe(Checked):
    """How weights are optimized: AdamW (arXiv 1711.05101) or Muon, with a schedule of the learning rate.

    Attributes:
        batch_size: sequences per step, over all ranks and accumulation steps.
        micro_batch_size: sequences per forward pass; None for the whole batch at once.
        learning_rate: peak, at width 64.
        width_power: the peak is learning_rate * (64 / width) ** width_power ("standard" only).
        parametrization: "standard", or "complete_p": initialization and rates by width and depth, so that
            one learning_rate serves all shapes (arXiv 2505.01618).
        schedule: "cosine", or "wsd" (constant, then a linear cooldown; arXiv 2405.18392).
        warmup: share of the steps that warm up.
        warmup_steps: so many steps instead; a study sets it for "wsd", so that budgets share a prefix.
        cooldown: share of the steps that cool down ("wsd" only).
        final: learning rate at the end, as a share of the peak.
        beta1: AdamW's decay of the mean gradient.
        beta2: AdamW's decay of the mean squared gradient.
        weight_decay: AdamW's decay of matrices, as a share of the learning rate.
        clip: largest gradient norm.
        ema: decay of the averaged weights that are evaluated; None for no averaging.
        optimizer: "adamw", or "muon" for the matrices of attention and MLP (arXiv 2502.16982) with AdamW for
            the rest; its own arithmetic is not part of the budget ("standard" only).
        muon_rate: Muon's peak learning rate, at every width.
        labels_given: share of windows whose labels (tokens that begin documents and stand nowhere else) are
            given, neither noised nor scored; in the others they are tokens like all. None has no labels.
        precision: "auto" takes bfloat16 autocast where the device multiplies it faster.
        compile: torch.compile each block; pays on GPUs and in long CPU runs.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "recipe"
    batch_size: Count = 16
    micro_batch_size: Count | None = None
    learning_rate: LearningRate = 5e-3
    width_power: Finite = 0.5
    schedule: Literal["cosine", "wsd"] = "cosine"
    warmup: Fraction = 0.05
    cooldown: Fraction = 0.2
    final: Fraction = 0.1
    beta1: Decay = 0.9
    beta2: Decay = 0.95
    weight_decay: NonNegative = 0.1
    clip: Positive = 1.0
    ema: Decay | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    # These came after specs had been hashed, so their JSON mentions them only where they are set.
    parametrization: Annotated[
        Literal["standard", "complete_p"], Field(exclude_if=lambda value: value == "standard")
    ] = "standard"
    warmup_steps: IfAny[Count] = None
    optimizer: Annotated[
        Literal["adamw", "muon"], Field(exclude_if=lambda value: value == "adamw")
    ] = "adamw"
    muon_rate: Annotated[LearningRate, Field(exclude_if=lambda value: value == 0.02)] = 0.02
    labels_given: IfAny[Fraction] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise InputError(
                f"recipe: micro_batch_size {self.micro_batch_size} does not divide "
                f"batch_size {self.batch_size}"
            )
        if self.optimizer == "muon" and self.parametrization != "standard":
            raise InputError(
                "recipe: complete_p is of AdamW, and Muon's rate needs none; set parametrization to standard"
            )

    def peak(self, width: int) -> float:
        """Peak learning rate at this width; under complete_p that of parameters without a width."""
        if self.parametrization == "complete_p":
            return self.learning_rate
        return self.learning_rate * (64 / width) ** self.width_power

    def stable(self, steps: float) -> int:
        """Steps of `steps` that come before the cooldown of "wsd"."""
        return round(steps) - max(1, round(self.cooldown * steps))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of `step` in [0, steps), as a share of the peak."""
        warmup = self.warmup_steps or self.warmup_of(steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "cosine":
            done = (step - warmup) / max(1, steps - warmup)
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))
        cooldown = max(1, round(self.cooldown * steps))
        left = (steps - step) / cooldown
        return 1.0 if left >= 1 else self.final + (1 - self.final) * left

    def warmup_of(self, steps: float) -> int:
        """The share of `steps` that warms up, in steps."""
        return max(1, round(self.warmup * steps))


@dataclass(frozen=True, kw_only=True)
class Validation(Checked):
    """Fixed windows of the validation split under fixed noise, so that runs differ only in weights.

    Attributes:
        windows: how many windows the final number averages.
        draws: noise draws per window for families with a bound, at least.
        noise_error: nats per token; draws go on until their error is below it, or to 64 times `draws`.
        curve_points: evaluations on the way.
        curve_windows: how many of the windows they use.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "validation"
    windows: Count = 512
    draws: FewTimes = 2
    noise_error: Annotated[Positive, Field(exclude_if=lambda value: value == NOISE_ERROR)] = (
        NOISE_ERROR
    )
    curve_points: Whole = 4
    curve_windows: Count = 64


@dataclass(frozen=True, kw_only=True)
class CorpusIdentity:
    """The text of a run: the hash of what fixes every token, and the tokenizer's name."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    hash: str
    vocab_size: int
    tokenizer: str


@dataclass(frozen=True, kw_only=True)
class RunSpec(Checked):
    """One run. `family` is its name and options.

    `init` identifies the weights of another run that this one is initialized with; None for random ones.
    `task` identifies the examples that it learns from, in place of the corpus; that then gives the tokenizer.
    `imported` says which checkpoint of another program was read; nothing was trained.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    family: dict[str, Any]
    shape: Shape
    budget: FlopCount
    length: TokenCount
    corpus: CorpusIdentity
    seed: SeedNumber = 0
    backbone: Backbone = field(default_factory=Backbone)
    recipe: Recipe = field(default_factory=Recipe)
    validation: Validation = field(default_factory=Validation)
    init: IfAny[WeightsSource] = None
    task: IfAny[dict[str, Any]] = None
    imported: IfAny[Imported] = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every default written out; `init`, `task`, `imported` only where there is one."""
        return to_json(self)

    @classmethod
    def from_json(cls, value: Any) -> RunSpec:
        """Inverse of `to_json`; specs in earlier names too."""
        return _ADAPTER.validate_python(value)

    @classmethod
    def read(cls, folder: Path) -> RunSpec:
        """The spec of the run in `folder`.

        Raises:
            InputError: no run there, or one that this version cannot read.
        """
        if not (folder / "spec.json").exists():
            raise InputError(f"{folder} is not a run; it has no spec.json")
        return read_result(AnySpec, folder / "spec.json")  # type: ignore[arg-type]

    @property
    def id(self) -> str:
        """12 hexadecimal digits, the same under all names a spec has had."""
        return identity(as_first_named(self.to_json()))


AnySpec = Annotated[RunSpec, BeforeValidator(upgraded)]
"""The type of a spec in a file, which may be in earlier names."""
_ADAPTER: TypeAdapter[RunSpec] = TypeAdapter(AnySpec)


def num_steps(budget: float, step_flops: float, *, what: str) -> int:
    """Steps that spend `budget` to within half a step.

    Raises:
        InputError: fewer than 100 steps, where the budget would be missed by more than 0.5 %.
    """
    steps = round(budget / step_flops)
    if steps < MIN_STEPS:
        raise InputError(
            f"budget {budget:.3g} FLOPs gives {budget / step_flops:.1f} steps for {what}; needs >= "
            f"{MIN_STEPS}. Smallest budget here: {MIN_STEPS * step_flops:.2g}"
        )
    return steps
