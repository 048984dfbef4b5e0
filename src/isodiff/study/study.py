"""A study as the user writes it: YAML in, validated, every run's draft out. No torch.

    name: demo
    corpus: {source: sotu, tokenizer: bytes}
    length: 128
    families: [autoregressive, {name: masked, objective: low_variance}]
    budgets:
      - {flops: 1e11, shapes: [6k, 14k, 25k]}

Every family meets every shape of every budget with every seed, under one recipe; or under several, where
fields of the recipe are lists: `recipe: {learning_rate: [2e-3, 4e-3]}`. `recipe: paper` is one with a name.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
)

from isodiff.bounds import (
    Checked,
    Count,
    FewTimes,
    FlopCount,
    FolderName,
    Positive,
    SeedNumber,
    Several,
    Some,
    TokenCount,
    Utf8,
    Whole,
)
from isodiff.errors import InputError, shown
from isodiff.network.shape import Backbone, Shape
from isodiff.runs.spec import Recipe, Validation
from isodiff.serialization import to_json


def _sources(given: object) -> object:
    for one in given if isinstance(given, list) else [given]:
        if not isinstance(one, str | None):
            raise ValueError(f"must be a source, or a list of them; got {shown(one)}")
    if given in ("", []):
        raise ValueError("must not be empty")
    return given


_MOST = 10_000  # recipes of a study


def _combinations(recipe: Any) -> Any:
    """Every recipe that a mapping asks for whose values may be lists."""
    if not isinstance(recipe, dict):
        return recipe if isinstance(recipe, tuple) else [recipe]
    order = [f.name for f in dataclasses.fields(Recipe)]
    axes = {name: recipe[name] for name in order if isinstance(recipe.get(name), list)}
    for name, values in axes.items():
        if not values:
            raise InputError(f"recipe.{name} is an empty list; give it a value, or several")
    if (number := math.prod(map(len, axes.values()))) > _MOST:
        raise InputError(f"recipe: {number} combinations of {', '.join(axes)}; at most {_MOST}")
    return [
        {**recipe, **dict(zip(axes, chosen, strict=True))} for chosen in product(*axes.values())
    ]


def _axes(recipes: tuple[Recipe, ...]) -> dict[str, Any]:
    """The inverse: one mapping, with a list for each field in which the recipes differ."""
    found = {name: value for one in recipes for name, value in to_json(one).items()}
    for name in (f.name for f in dataclasses.fields(Recipe)):
        values = list(dict.fromkeys(getattr(one, name) for one in recipes))
        if len(values) > 1:
            found[name] = values
    return found


def _all_different(recipes: tuple[Recipe, ...]) -> tuple[Recipe, ...]:
    if len(set(recipes)) < len(recipes):
        raise ValueError("must not list a value twice")
    return recipes


Recipes = Annotated[
    tuple[Recipe, ...],
    BeforeValidator(_combinations),
    AfterValidator(_all_different),
    PlainSerializer(_axes, return_type=dict),
]
"""The recipes of a study; in a file one mapping, with lists for the fields that vary."""


@dataclass(frozen=True, kw_only=True)
class CorpusSource(Checked):
    """Where the text comes from: sources to prepare, or the folder of a prepared corpus."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "corpus"
    source: Annotated[str | list[str] | None, BeforeValidator(_sources)] = None
    tokenizer: Utf8 = "bytes"
    separator: Utf8 | None = None
    prepared: Utf8 | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.source is None) == (self.prepared is None):
            raise InputError("corpus: give either a source to prepare or a prepared folder")


def _sizes(shapes: list[str]) -> list[str]:
    sizes = [Shape.parse(shape) for shape in shapes]
    for number, size in enumerate(sizes):
        if size in sizes[:number]:
            raise ValueError(
                f"has {size} twice, as {shapes[sizes.index(size)]} and {shapes[number]}"
            )
    return shapes


@dataclass(frozen=True, kw_only=True)
class Budget(Checked):
    """One IsoFLOP curve: training FLOPs (convention: exact) and the sizes that try it.

    Attributes:
        batch_size: of its runs; by default the recipe's. Larger budgets want larger batches.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "budget"
    flops: FlopCount
    shapes: Annotated[Some[Utf8], AfterValidator(_sizes)]
    batch_size: Annotated[Count | None, Field(exclude_if=lambda value: value is None)] = None

    def of(self, recipe: Recipe) -> Recipe:
        """The recipe of its runs."""
        if self.batch_size is None:
            return recipe
        return dataclasses.replace(recipe, batch_size=self.batch_size)


@dataclass(frozen=True, kw_only=True)
class Sampling(Checked):
    """Texts drawn from each family's best run, for the report."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "sampling"
    texts: Whole = 3
    steps: FewTimes = 128


@dataclass(frozen=True, kw_only=True)
class FrontierSettings(Checked):
    """How speed and quality of samplers are measured.

    Attributes:
        steps: T of every sampler that has steps; by default a 16th, a quarter and all of the length.
        texts: at least so many texts a point.
        held_out: windows of held-out text to compare with.
        call_seconds: longest call of the batch sweep.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    called: ClassVar = "frontier"
    steps: Some[FewTimes] | None = None
    texts: Several = 128
    held_out: Several = 256
    call_seconds: Positive = 1.0


def _named(families: list[Any]) -> list[str | dict[str, Any]]:
    for family in families:
        name = family.get("name") if isinstance(family, dict) else family
        if not isinstance(name, str):
            raise ValueError(
                f"must be names, or mappings with a name and options; got {shown(family)}"
            )
    return families


def _apart(budgets: list[Budget]) -> list[Budget]:
    flops = [budget.flops for budget in budgets]
    for number, one in enumerate(flops):
        if one in flops[:number]:
            raise ValueError(f"has {one:g} FLOPs twice; list its shapes together")
    return budgets


@dataclass(frozen=True, kw_only=True)
class Study(Checked):
    """Families compared at matched training compute."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: FolderName
    corpus: CorpusSource
    families: Annotated[Some[Any], AfterValidator(_named)]
    budgets: Annotated[Some[Budget], AfterValidator(_apart)]
    length: TokenCount = 128
    seeds: Some[SeedNumber] = field(default_factory=lambda: [0])
    description: Utf8 = ""
    recipe: Recipes = (Recipe(),)
    backbone: Backbone = field(default_factory=Backbone)
    validation: Validation = field(default_factory=Validation)
    sampling: Sampling = field(default_factory=Sampling)
    frontier: FrontierSettings | None = field(default_factory=FrontierSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        several = len({recipe.batch_size for recipe in self.recipe}) > 1
        for number, budget in enumerate(self.budgets):
            if budget.batch_size is not None and several:
                raise InputError(
                    f"budgets[{number}].batch_size: recipe.batch_size is a list already; keep one of them"
                )
            for recipe in self.recipe:
                budget.of(recipe)  # refuses a batch that its micro-batches do not divide

    @property
    def named_families(self) -> list[dict[str, Any]]:
        """Each as its name and options."""
        return [{"name": one} if isinstance(one, str) else one for one in self.families]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, every default written out."""
        return to_json(self)

    def scaled(self, factor: float) -> Study:
        """The same study with every budget multiplied, to three digits; itself for a factor of 1."""
        if factor == 1:
            return self
        budgets = [
            dataclasses.replace(b, flops=float(f"{b.flops * factor:.3g}")) for b in self.budgets
        ]
        return dataclasses.replace(self, budgets=budgets)

    def drafts(self) -> list[dict[str, Any]]:
        """Every run but for its corpus, in JSON."""
        whole = self.to_json()
        shared = {name: whole[name] for name in ("length", "backbone", "validation")}
        return [
            {
                "family": family,
                "shape": dataclasses.asdict(Shape.parse(shape)),
                "budget": budget.flops,
                "seed": seed,
                "recipe": to_json(budget.of(recipe)),
                **shared,
            }
            for recipe in self.recipe
            for family in self.named_families
            for budget in self.budgets
            for shape in budget.shapes
            for seed in self.seeds
        ]
