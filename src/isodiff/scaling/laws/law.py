"""What a scaling law is: how it is fitted, the results that files hold, and how they are read at a budget.

A law is a module of this package with a constant `LAW = Law(...)`; `registered` finds them all. Fitting gives
a `Fit`, which is quick; `Law.diagnose` makes of it a `LawResult` with every check and everything to draw.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import numpy as np
from pydantic import SerializerFunctionWrapHandler, model_serializer

from isodiff.record import Kind
from isodiff.scaling.fitting.bootstrap import LEVEL, Quantity, interval
from isodiff.scaling.fitting.power_law import Array
from isodiff.scaling.points import Points
from isodiff.serialization import IfAny, Said, to_json

_R = TypeVar("_R", bound="LawResult")

REFERENCE = "autoregressive"
"""The family that compute multipliers and crossovers compare with."""

Span = tuple[float, float]
"""Both ends of an interval, or of a range."""
OpenSpan = tuple[float | None, float | None]
"""An interval whose end is None where the data do not bound it."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Replicates of a law, to read intervals of anything off it: names of the columns, and the rows."""

    parameters: tuple[str, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, parameters: Sequence[str], rows: Array) -> Draws:
        """From [replicates, parameters]."""
        return cls(parameters=tuple(parameters), rows=tuple(map(tuple, rows.tolist())))


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Smallest and largest compute, size and tokens of the runs behind a law."""

    C: Span
    N: IfAny[Span] = None
    D: IfAny[Span] = None


@dataclass(frozen=True, kw_only=True)
class ConventionRow:
    """The numbers that a law gives by family when C and N are counted in one way."""

    flops: str
    parameters: str
    families: dict[str, dict[str, float | None]]


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """The same runs under every convention; how far each number moves, by family."""

    rows: tuple[ConventionRow, ...]
    moved: dict[str, dict[str, Span | None]]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a law says of a budget: N*, D* and L* [1 + draws]; row 0 is the law.

    `nats` is None where the law gives no loss. `repetition`: how repeated text was counted; None where none
    repeats. `optimistic`: it counted as new, so `nats` are a lower bound.
    """

    parameters: Array
    tokens: Array
    nats: Array | None
    repetition: str | None = None
    optimistic: bool = False

    def with_noise(self, scatter: float) -> Array | None:
        """Losses of runs, not of the law: draws with relative noise of that scatter added."""
        if self.nats is None or len(self.nats) == 1:
            return self.nats
        noise = scatter * np.random.default_rng(0).standard_normal(len(self.nats) - 1)
        return np.concatenate([self.nats[:1], self.nats[1:] * np.exp(noise)])


def span_of(samples: Array | None) -> Span | None:
    """Interval of [1 + draws]; None without draws that differ."""
    found = None if samples is None else interval(samples[1:], fewest=1)
    return None if found is None or found[0] == found[1] else found


@dataclass(frozen=True)
class Constant:
    """A number of a family that a law is known by: its symbol, what it is, its value."""

    symbol: str
    meaning: str
    quantity: Quantity


@dataclass(frozen=True, kw_only=True)
class FamilyResult:
    """What any law says of a family. `range` and `draws` are missing in files of older versions."""

    kind: Kind | None = None
    range: IfAny[Ranges] = None
    draws: IfAny[Draws] = None

    def drawn(self, first: Sequence[float]) -> Array:
        """The law's parameters and the replicates of them: [1 + draws, parameters]."""
        rows = () if self.draws is None else self.draws.rows
        return np.vstack([first, np.array(rows).reshape(-1, len(first))])

    def beyond_runs(self, budget: float) -> float:
        """A budget over the nearest compute of the runs: 1 among them; NaN in files of older versions."""
        ends = (np.nan, np.nan) if self.range is None else self.range.C
        return budget / float(np.clip(budget, *ends))

    @property
    def held_out_error(self) -> float | None:
        """Relative error of the loss at the largest budget, predicted from the others."""
        return None

    def scatter(self, nats: float) -> float:
        """Relative scatter of runs about the law, where its loss is `nats`."""
        return 0.0

    def constants(self) -> tuple[Constant, ...]:
        """The numbers to show of this family."""
        return ()

    def predict(self, name: str, budget: float, unique_tokens: float | None) -> Forecast | None:
        """Optimal size, tokens and loss at a budget, in FLOPs; None where there is no law.

        With `unique_tokens` of text the optimum takes account of what repetitions are worth to the family
        called `name`.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class LawResult:
    """A fitted law: what was done, what to beware of, and the result of every family.

    A law that could not be fitted has no family and says why in `warnings`. `cooled` is the loss of runs at a
    constant learning rate over that after a cooldown, where the law is of such runs.
    """

    on_top: ClassVar[tuple[str, ...]] = ()
    """What the JSON repeats at the top where there is one family only."""
    printed_in: ClassVar[str] = ""
    """The field of a family that constants out of a paper go into; its own fields by default."""
    knows_repetition: ClassVar[bool] = True
    """Whether the law gives a loss where text repeats."""

    law: str = ""
    protocol: str = ""
    bootstrap: int | None = None
    seed: int | None = None
    flops: str = "budget"
    parameters_convention: str = "non_embedding"
    source: Said = ""
    warnings: tuple[Said, ...] = ()
    families: Mapping[str, FamilyResult] = field(default_factory=dict)
    conventions: IfAny[Conventions] = None
    cooled: IfAny[float] = None

    @model_serializer(mode="wrap")
    def _serialize(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields; those of an only family at the top as well."""
        value = plain(self)
        if len(value["families"]) != 1:
            return value
        (only,) = value["families"].values()
        return {**{key: only[key] for key in self.on_top}, **value}


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Randomness of one purpose (a family, a resampling), whatever others there are."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])


@dataclass(frozen=True)
class Fit(ABC):
    """A law fitted to every family: what `Law.fit` gives, before any check."""

    law: ClassVar[str]

    data: Points
    bootstrap: int
    seed: int

    @abstractmethod
    def numbers(self) -> dict[str, dict[str, float | None]]:
        """The constants that a paper would quote, by family."""

    def intervals(self, how: str) -> str:
        """In words, where intervals come from."""
        if not self.bootstrap:
            return "no intervals"
        replicates = f"{self.bootstrap} replicates (seed {self.seed})"
        return f"{LEVEL:.0%} intervals from {replicates} {how}"

    def as_result(
        self,
        kind: type[_R],
        families: Mapping[str, FamilyResult],
        protocol: str,
        warnings: Sequence[str],
        **own: Any,
    ) -> _R:
        """A result of these families; `own` are the fields that only results of this kind have."""
        data = self.data
        return kind(
            law=self.law,
            protocol=f"{protocol}; C: {data.flops}, N: {data.parameters}.",
            bootstrap=self.bootstrap,
            seed=self.seed,
            flops=data.flops,
            parameters_convention=data.parameters,
            source=data.source,
            warnings=(*data.warnings, *warnings),
            families=families,
            **own,
        )

    def result(self) -> LawResult:
        """Every number of the fit, with its checks."""
        return registered()[self.law].diagnose(self)

    def to_json(self) -> dict[str, Any]:
        """The JSON of its result."""
        return to_json(self.result())


@dataclass(frozen=True, kw_only=True)
class Law:
    """A scaling law.

    Attributes:
        name: as `isodiff fit --law` and files call it.
        summary: what it is, for the help.
        fit: `fit(points, *, bootstrap, seed, **options)`; its other keywords are the options of `isodiff fit`
            that it takes.
        diagnose: the result of what `fit` gave.
        result: the class of results.
        as_printed: the class of results of which papers print no more than constants; `result` by default.
        file: in a study's folder; `<name>.json` by default.
        applies: raises an `InputError` where a study's runs have nothing to say of the law.
        check: likewise where a result holds nothing; `isodiff fit` refuses it.
        by_convention: whether a study's file holds the law under every convention of C and N.
    """

    name: str
    summary: str
    fit: Callable[..., Fit]
    diagnose: Callable[[Any], LawResult]
    result: type[LawResult]
    as_printed: type[LawResult] | None = None
    file: str = ""
    applies: Callable[[Points], None] = lambda points: None
    check: Callable[[Points, Any], None] = lambda points, result: None
    by_convention: bool = False

    @property
    def path(self) -> str:
        """Name of the file in a study's folder."""
        return self.file or f"{self.name}.json"

    @property
    def options(self) -> frozenset[str]:
        """Keywords of `fit` besides replicates and seed."""
        return frozenset(inspect.signature(self.fit).parameters) - {"points", "bootstrap", "seed"}


@functools.cache
def registered() -> dict[str, Law]:
    """Every law of this package, by name."""
    assert __package__ is not None
    folder = importlib.import_module(__package__).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(folder))
    modules = [importlib.import_module(f"{__package__}.{name}") for name in names]
    return {module.LAW.name: module.LAW for module in modules if hasattr(module, "LAW")}
