"""What every scaling law gives: a result by family, as frozen dataclasses that files and reports hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from isodiff.record import Kind
from isodiff.serialization import IfAny

Span = tuple[float, float]
"""Both ends of an interval, or of a range."""
OpenSpan = tuple[float | None, float | None]
"""An interval whose end is None where the data do not bound it."""


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Replicates of a law, to read intervals of anything off it: names of the columns, and the rows."""

    parameters: tuple[str, ...] = ()
    rows: tuple[tuple[float, ...], ...] = ()


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


@dataclass(frozen=True, kw_only=True)
class FamilyResult:
    """What any law says of a family. `range` and `draws` are missing in files of older versions."""

    kind: Kind | None = None
    range: IfAny[Ranges] = None
    draws: IfAny[Draws] = None

    @property
    def held_out_error(self) -> float | None:
        """Relative error of the loss at the largest budget, predicted from the others."""
        return None

    def scatter(self, nats: float) -> float:
        """Relative scatter of runs about the law, where its loss is `nats`."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class LawResult:
    """A fitted law: what was done, what to beware of, and the result of every family.

    A law that could not be fitted has no family and says why in `warnings`. `cooled` is the loss of runs at a
    constant learning rate over that after a cooldown, where the law is of such runs.
    """

    on_top: ClassVar[tuple[str, ...]] = ()
    """What the JSON repeats at the top where there is one family only."""

    law: str = ""
    protocol: str = ""
    bootstrap: int | None = None
    seed: int | None = None
    flops: str = "budget"
    parameters_convention: str = "non_embedding"
    source: str = ""
    warnings: tuple[str, ...] = ()
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
