"""What a report reads: the JSON files of a study's folder, validated. Unknown keys are ignored."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from isodiff.errors import InputError
from isodiff.record import Kind

Status = Literal["done", "diverged", "failed"]
Any_ = TypeVar("Any_", bound="Part")


class Part(BaseModel):
    """A JSON object: NaN and infinity are refused, unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Estimated(Part):
    """A mean over `num` independent values, with its standard error."""

    value: float
    standard_error: float = 0.0
    num: int = 0


class Validation(Part):
    """Held-out loss of a run: exact, or an upper bound."""

    kind: Kind
    nats_per_token: Estimated
    bits_per_byte: Estimated
    protocol: str = ""


class Results(Part):
    """What a run was measured to be; nothing where it did not finish."""

    validation: Validation | None = None


class Shape(Part):
    """Size of a network."""

    depth: int
    width: int
    heads: int


class Spec(Part):
    """The part of a run's spec that a report shows."""

    family: dict[str, Any]
    shape: Shape
    budget: float = Field(gt=0)
    seed: int = 0
    length: int | None = None


class Measured(Part):
    """Validation on the way: loss in nats per token after so many FLOPs."""

    step: int
    flops: float
    nats_per_token: float
    standard_error: float = 0.0


class Record(Part):
    """One run, `runs/<id>/record.json`."""

    id: str
    status: Status
    message: str | None = None
    spec: Spec
    parameters: dict[str, int] = {}
    flops: dict[str, float] = {}
    tokens: float | None = None
    epochs: float | None = None
    steps: int | None = None
    results: Results = Results()
    curve: list[Measured] = []
    wall_seconds: float | None = None
    tokens_per_second: float | None = None
    provenance: dict[str, Any] = {}
    device: str | None = None

    @property
    def validation(self) -> Validation | None:
        """The final validation, of a finished run only."""
        return self.results.validation if self.status == "done" else None


class Samples(Part):
    """Texts of one family, `samples.json`."""

    run: str = ""
    sampler: str = ""
    texts: list[str] = []
    nfe: int | None = None


class Study(Part):
    """`study.json`: what was asked for, of which text."""

    name: str
    description: str = ""
    study: dict[str, Any] = {}
    id: str = ""
    minutes: float | None = None
    corpus: dict[str, Any] = {}
    provenance: dict[str, Any] = {}
    planned_runs: int | None = None
    wall_seconds: float | None = None


def validated(kind: type[Any_], value: Any, where: str) -> Any_:
    """`value` as a `kind`; an `InputError` names the file and the first key that is wrong."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{where}: {key}: {first['msg'].lower()}; restore or delete it") from None
