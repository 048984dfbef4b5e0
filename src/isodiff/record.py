"""A run's record, `runs/<id>/record.json`: what every number of a fit or a report rests on. No torch.

A run's identity is the hash of its spec, so the same spec always lands in the same folder,
`runs/<id>/{spec.json, metrics.jsonl, checkpoint/, record.json}`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from isodiff.errors import InputError
from isodiff.provenance import Provenance
from isodiff.serialization import IfAny, Said, canonical, read_result
from isodiff.upgrade import upgraded

Kind = Literal["exact", "bound"]
Convention = Literal["exact", "no_attention", "6ND"]
CONVENTIONS: tuple[Convention, ...] = ("exact", "no_attention", "6ND")
Status = Literal["done", "diverged", "failed"]


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean that carries its standard error, over `num` independent values."""

    value: float
    standard_error: float
    num: int

    def to_json(self) -> dict[str, Any]:
        """`{"value", "standard_error", "num"}`."""
        return {"value": self.value, "standard_error": self.standard_error, "num": self.num}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedShape:
    """Size of a network: blocks, width of the residual stream, attention heads."""

    depth: int
    width: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """The weights that a run was initialized with: of which run, at which step, and their SHA-256."""

    run: str
    step: int
    sha256: str

    def __str__(self) -> str:
        return f"run {self.run}, step {self.step}, weights {self.sha256[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The checkpoint of another program that a run's weights were read from.

    Attributes:
        source, sha256: name and content of its files.
        layout: how they are laid out, by name.
        averaged: whether its averaged weights were taken; None where it has one kind only.
        parameters: numbers in it that are used.
        context: tokens that it reads at most; None where it does not say.
        statements: what was read out of it, and how, by what it is about: vocabulary, mask, beginning, end.
        training_tokens: how many it has seen, as the person who imported it says.
    """

    source: str
    sha256: str
    layout: str
    averaged: IfAny[bool] = None
    parameters: int
    context: IfAny[int] = None
    statements: dict[str, str]
    training_tokens: IfAny[int] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedSpec:
    """A run's spec as its record carries it; `runs.spec.RunSpec` makes it a run again.

    Parts that only the training code interprets are plain JSON, and may be absent in tables made by hand.
    """

    family: dict[str, Any]
    shape: RecordedShape
    budget: Annotated[float, Field(gt=0)]
    length: IfAny[int] = None
    corpus: IfAny[dict[str, Any]] = None
    seed: int = 0
    backbone: IfAny[dict[str, Any]] = None
    recipe: IfAny[dict[str, Any]] = None
    validation: IfAny[dict[str, Any]] = None
    init: IfAny[WeightsSource] = None
    task: IfAny[dict[str, Any]] = None
    imported: IfAny[Imported] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """Parameters under each convention; `core` counts matrices of the blocks."""

    total: IfAny[int] = None
    non_embedding: IfAny[int] = None
    core: IfAny[int] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFlops:
    """Training FLOPs: as planned, under each convention, and those of the steps that this run did itself.

    `optimizer`: what its own matrix products added, which no convention counts.
    """

    planned: IfAny[float] = None
    exact: IfAny[float] = None
    no_attention: IfAny[float] = None
    six_nd: Annotated[float | None, Field(alias="6ND", exclude_if=lambda value: value is None)] = (
        None
    )
    trained: IfAny[float] = None
    optimizer: IfAny[float] = None

    def under(self, convention: Convention) -> float | None:
        """The count under a convention, if it was recorded."""
        return self.six_nd if convention == "6ND" else getattr(self, convention)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutLoss:
    """A family's likelihood of held-out text: exact, or an upper bound; and how it was measured.

    Attributes:
        draws: noise draws of each text.
        noise_error: the part of the standard error of nats per token that is due to noise draws.
        deviations: what each stretch of the text adds to the error of bits per byte; they sum to 0. Runs that
            met the same text have the same stretches: the error of a difference is that of their differences.
    """

    kind: Kind
    nats_per_token: Mean
    bits_per_byte: Mean
    protocol: str = ""
    draws: IfAny[int] = None
    noise_error: IfAny[float] = None
    deviations: IfAny[tuple[float, ...]] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """What a run was measured to be; nothing where it did not finish.

    `unigram_nats`: the unigram entropy of its corpus (data/unigram.py), nats per token, to compare with.
    """

    validation: IfAny[HeldOutLoss] = None
    unigram_nats: IfAny[float] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPoint:
    """Validation on the way: nats per token after so many steps and FLOPs."""

    step: int
    flops: float
    nats_per_token: float
    standard_error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefix:
    """The run that did the first `step` steps of another, with what they cost: FLOPs and seconds."""

    run: str
    step: int
    flops: float
    wall_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, `runs/<id>/record.json`.

    FLOPs, tokens and seconds are those of all its steps, whoever did them; `flops.trained` counts its own.

    Attributes:
        message: why a run stopped that is not done.
        shared_prefix: the run that did the first steps of this one, if any; `trunk` in JSON.
        curve: validation on the way.
        ranks: processes that shared the last steps, where they were several.
    """

    id: str
    status: Status
    message: Said | None = None
    spec: Annotated[RecordedSpec, BeforeValidator(upgraded)]
    parameters: ParameterCounts = field(default_factory=ParameterCounts)
    flops: RunFlops = field(default_factory=RunFlops)
    shared_prefix: Annotated[SharedPrefix | None, Field(alias="trunk")] = None
    tokens: IfAny[int | float] = None
    epochs: IfAny[float] = None
    steps: IfAny[int] = None
    results: RunResults = field(default_factory=RunResults)
    curve: tuple[ValidationPoint, ...] = ()
    wall_seconds: IfAny[float] = None
    tokens_per_second: IfAny[float] = None
    precision: IfAny[str] = None
    device: IfAny[str] = None
    threads: IfAny[int] = None
    ranks: IfAny[int] = None
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def trained_elsewhere(self) -> str:
        """Why its FLOPs are not those of all its training; nothing where they are."""
        if init := self.spec.init:
            return f"it starts from run {init.run}, whose training is not among its FLOPs"
        if self.spec.imported and self.flops.exact is None:
            return "it was imported, and nobody said how many tokens it has seen (import --tokens)"
        return ""

    @property
    def validation(self) -> HeldOutLoss | None:
        """The final validation, of a finished run only."""
        return self.results.validation if self.status == "done" else None


def identity(spec: Any) -> str:
    """First 12 hexadecimal digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(spec).encode()).hexdigest()[:12]


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots: `recipe.learning_rate`."""
    found: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, Mapping):
            found |= flat(part, f"{prefix}{name}.")
        else:
            found[prefix + name] = part
    return found


def read_records(paths: Iterable[Path]) -> list[Record]:
    """Every record under `paths` (record files, run folders or studies), each run once.

    Raises:
        InputError: a path does not exist, nothing under it is a record, or a record is damaged.
    """
    return list(find_records(paths).values())


def find_records(paths: Iterable[Path]) -> dict[Path, Record]:
    """The same by the folder of each run."""
    found: dict[str, tuple[Path, Record]] = {}
    for path in paths:
        if not path.exists():
            raise InputError(f"{path} does not exist; give a run, a study folder or a record.json")
        files = [path] if path.is_file() else sorted(path.rglob("record.json"))
        if not files:
            raise InputError(f"{path} holds no record.json; train something there first")
        for file in files:
            record = read_result(Record, file)
            found[record.id] = (file.parent, record)
    return dict(found.values())
