"""One point of a scaling study is one finished run; here they are read from records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from isodiff.errors import InputError
from isodiff.record import Convention, Kind

Parameters = Literal["non_embedding", "core", "total"]


@dataclass(frozen=True, slots=True)
class Point:
    """A run as a scaling law sees it.

    `budget` groups the curve (FLOPs the study gave to each of its runs); `flops` is what the run
    cost in the convention in use. `nats` is the validation loss per token, `standard_error` the
    error of that evaluation where it is known (it says nothing of the noise between seeds).
    `unique_tokens` is the length of the text before it repeats.
    """

    family: str
    budget: float
    flops: float
    parameters: float
    tokens: float
    nats: float
    standard_error: float | None = None
    id: str = ""
    kind: Kind | None = None
    unique_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Points with what has to be said about them: where they come from and what was left out."""

    points: tuple[Point, ...]
    source: str
    flops: str = "as given"
    parameters: str = "as given"
    warnings: tuple[str, ...] = ()


def record_points(
    records: Iterable[dict[str, Any]],
    source: str,
    flops: Convention | None = None,
    parameters: Parameters = "non_embedding",
) -> Points:
    """The finished runs among `records`; the others are named in the warnings."""
    records = sorted(records, key=lambda record: str(record["id"]))
    reasons = [why_left_out(record) for record in records]
    done = [record for record, why in zip(records, reasons, strict=True) if why is None]
    warnings = [
        f"run {record['id']} is left out: {why}"
        for record, why in zip(records, reasons, strict=True)
        if why is not None
    ]
    if not done:
        raise InputError(
            f"{source} holds no finished run ({len(records)} unfinished, failed or fine-tuned)"
        )
    warnings += mixed([record["spec"] for record in done])
    labels = family_labels([record["spec"].get("family") for record in done])
    points = [
        record_point(record, label, flops, parameters)
        for record, label in zip(done, labels, strict=True)
    ]
    return Points(tuple(points), source, flops or "budget", parameters, tuple(warnings))


def why_left_out(record: dict[str, Any]) -> str | None:
    """Why a record is no point; None where it is one."""
    if record.get("status") != "done":
        return record.get("status", "no status")
    init = record["spec"].get("init")
    if init:
        return f"it starts from run {init['run']}, whose training is not among its FLOPs"
    return None


def mixed(specs: Sequence[dict[str, Any]]) -> list[str]:
    """A warning for each thing that must be one for losses to be comparable, and is several."""
    return [
        f"the runs differ in {key}, so their losses are not comparable; fit them apart"
        for key in ("corpus", "length", "validation")
        if any(spec.get(key) != specs[0].get(key) for spec in specs)
    ]


def record_point(
    record: dict[str, Any], label: str, flops: Convention | None, parameters: Parameters
) -> Point:
    """One finished record as a point."""
    try:
        validation = record["results"]["validation"]
        loss = validation["nats_per_token"]
        budget = float(record["spec"]["budget"])
        point = Point(
            family=label,
            budget=budget,
            flops=budget if flops is None else float(record["flops"][flops]),
            parameters=float(record["parameters"][parameters]),
            tokens=float(record["tokens"]),
            nats=float(loss["value"]),
            standard_error=loss.get("standard_error"),
            id=str(record["id"]),
            kind=validation.get("kind"),
            unique_tokens=unique(record),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the record of run {record['id']} cannot be fitted ({error!r}); train it again"
        ) from None
    check(point, f"run {point.id}")
    return point


def unique(record: dict[str, Any]) -> float | None:
    """Tokens of the training text: those seen over how often each was."""
    epochs = record.get("epochs")
    return float(record["tokens"]) / float(epochs) if epochs else None


def family_labels(families: Sequence[Any]) -> list[str]:
    """The name of each family; `name(option=value)` where one name was run with several options."""
    plain = [f if isinstance(f, dict) else {"name": f} for f in families]
    labels = []
    for family in plain:
        same = [other for other in plain if other.get("name") == family.get("name")]
        differing = sorted(
            key
            for key in set().union(*same)
            if any(other.get(key) != family.get(key) for other in same)
        )
        options = ", ".join(f"{key}={family.get(key)}" for key in differing)
        labels.append(f"{family.get('name')}({options})" if options else str(family.get("name")))
    return labels


def by_family(points: Points | Sequence[Point]) -> tuple[Points, dict[str, list[Point]]]:
    """The points as `Points`, and those of each family by name.

    Raises:
        InputError: there are none, or a family mixes exact losses with bounds.
    """
    data = points if isinstance(points, Points) else Points(tuple(points), "points")
    if not data.points:
        raise InputError("no points to fit")
    names = sorted({point.family for point in data.points})
    families = {name: [p for p in data.points if p.family == name] for name in names}
    for name, own in families.items():
        if len({point.kind for point in own}) > 1:
            raise InputError(
                f"the losses of {name} are exact in some runs and bounds or unmarked in others; "
                "mark each, and give them as two families"
            )
    return data, families


def check(point: Point, where: str) -> None:
    """Every number of a point is finite and positive (a standard error may be zero)."""
    for name in ("budget", "flops", "parameters", "tokens", "nats", "unique_tokens"):
        value = getattr(point, name)
        if name == "unique_tokens" and value is None:
            continue
        assert value is not None, name
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{where}: {name} is {value}; it must be a positive number")
    error = point.standard_error
    if error is not None and not (math.isfinite(error) and error >= 0):
        raise InputError(f"{where}: standard_error is {error}; it must be zero or positive")
