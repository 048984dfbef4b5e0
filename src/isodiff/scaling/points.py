"""One point of a scaling study is one finished run; here they are made of records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from isodiff.errors import InputError
from isodiff.plateau import left_out, on_plateau
from isodiff.record import Convention, Kind, Record, RecordedSpec, canonical
from isodiff.serialization import from_json, to_json

Parameters = Literal["non_embedding", "core", "total"]
_SAME_BUDGET = 1.03
"""Factor up to which budgets are one: whole steps and batches rarely spend a budget exactly."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Point:
    """A run as a scaling law sees it; `serialization.from_json` checks it.

    `budget` groups the curve (FLOPs the study gave to each of its runs); `flops` is what the run
    cost in the convention in use. `nats` is the validation loss per token, `standard_error` the
    error of that evaluation where it is known (it says nothing of the noise between seeds), `noise_error`
    its part that all runs of a family have in common, as they meet the same noise draws.
    `unique_tokens` is the length of the text before it repeats.
    """

    family: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    budget: Positive
    flops: Positive
    parameters: Positive
    tokens: Positive
    nats: Positive
    standard_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    id: str = ""
    kind: Kind | None = None
    unique_tokens: Positive | None = None
    noise_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


@dataclass(frozen=True, slots=True)
class Points:
    """Points with what has to be said about them: where they come from and what was left out."""

    points: tuple[Point, ...]
    source: str
    flops: str = "as given"
    parameters: str = "as given"
    warnings: tuple[str, ...] = ()


def record_points(
    records: Iterable[Record],
    source: str,
    flops: Convention | None = None,
    parameters: Parameters = "non_embedding",
) -> Points:
    """The finished runs among `records` that left the unigram plateau; warnings name the others."""
    done, stuck, warnings = [], [], []
    for record in sorted(records, key=lambda record: record.id):
        why: str = record.status
        if why == "done" and record.trained_elsewhere:
            why = record.trained_elsewhere
        if why != "done":
            warnings.append(f"run {record.id} is left out: {why}")
        else:
            (stuck if on_plateau(record) else done).append(record)
    warnings += left_out(stuck, len(stuck) + len(done))
    if not done:
        none = f" holds no finished run ({len(warnings)} unfinished, failed or fine-tuned)"
        raise InputError(source + (f": {warnings[-1]}" if stuck else none))
    warnings += [
        f"the runs differ in {key}, so their losses are not comparable; fit them apart"
        for key in ("corpus", "length", "validation")
        if any(getattr(record.spec, key) != getattr(done[0].spec, key) for record in done)
    ]
    labels = family_labels(variants([record.spec for record in done]))
    points = tuple(
        _record_point(record, label, flops, parameters)
        for record, label in zip(done, labels, strict=True)
    )
    return Points(points, source, flops or "budget", parameters, tuple(warnings))


def _record_point(
    record: Record, label: str, flops: Convention | None, parameters: Parameters
) -> Point:
    loss, tokens, budget = record.validation, record.tokens, record.spec.budget
    values = {
        "family": label,
        "budget": budget,
        "flops": budget if flops is None else record.flops.under(flops),
        "parameters": getattr(record.parameters, parameters),
        "tokens": tokens,
        "nats": loss and loss.nats_per_token.value,
        "standard_error": loss and loss.nats_per_token.standard_error,
        "noise_error": loss and loss.noise_error,
        "id": record.id,
        "kind": loss and loss.kind,
        # tokens of the text: those seen over how often each was
        "unique_tokens": tokens / record.epochs if tokens and record.epochs else None,
    }
    for name in ("flops", "parameters", "tokens", "nats"):
        if values[name] is None:
            raise InputError(
                f"the record of run {record.id} cannot be fitted (it has no {name}); train it again"
            )
    return from_json(Point, values, f"run {record.id}", mend="")


def variants(specs: Sequence[RecordedSpec]) -> list[dict[str, Any]]:
    """What is compared in each run: its family's options, and the fields of the recipe that were swept.

    A field was swept where runs differ in it that agree in all but their recipes.
    """
    alike: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for spec in specs:
        rest = to_json(spec) | {"recipe": None}
        alike[canonical(rest)].append(spec.recipe or {})
    swept = {
        name
        for recipes in alike.values()
        for name in set().union(*recipes)
        if len({canonical(recipe.get(name)) for recipe in recipes}) > 1
    }
    return [
        {**spec.family, **{name: (spec.recipe or {}).get(name) for name in swept}} for spec in specs
    ]


def family_labels(families: Sequence[Any]) -> list[str]:
    """The name of each family; `name(option=value)` where one name was run with several options."""
    plain = [f if isinstance(f, dict) else {"name": f} for f in families]
    same: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for family in plain:
        same[family.get("name")].append(family)
    varied = {name: _varied(alike) for name, alike in same.items()}
    labels = []
    for family in plain:
        name = family.get("name")
        options = ", ".join(f"{key}={family.get(key)}" for key in varied[name])
        labels.append(f"{name}({options})" if options else str(name))
    return labels


def _varied(families: Sequence[dict[str, Any]]) -> list[str]:
    """The options in which families of one name differ."""
    first = families[0]
    keys = sorted({key for family in families for key in family})
    return [key for key in keys if any(f.get(key) != first.get(key) for f in families)]


def share_budgets(data: Points) -> Points:
    """The points with budgets that differ by less than `_SAME_BUDGET` made one: that of most runs."""
    runs = Counter(point.budget for point in data.points)
    shared: dict[float, list[float]] = {}
    for budget in sorted(runs):
        first = next(reversed(shared), None)
        near = first is not None and budget <= first * _SAME_BUDGET
        shared.setdefault(first if near and first is not None else budget, []).append(budget)
    common = {one: max(alike, key=runs.__getitem__) for alike in shared.values() for one in alike}
    if all(one == budget for one, budget in common.items()):
        return data
    points = tuple(replace(point, budget=common[point.budget]) for point in data.points)
    return replace(data, points=points)


def by_family(points: Points | Sequence[Point]) -> tuple[Points, dict[str, list[Point]]]:
    """The points as `Points`, and those of each family by name.

    Raises:
        InputError: there are none, or a family mixes exact losses with bounds.
    """
    data = points if isinstance(points, Points) else Points(tuple(points), "points")
    if not data.points:
        raise InputError("no points to fit")
    names = sorted({point.family for point in data.points})
    families: dict[str, list[Point]] = {name: [] for name in names}
    for point in data.points:
        families[point.family].append(point)
    for name, own in families.items():
        if len({point.kind for point in own}) > 1:
            raise InputError(
                f"the losses of {name} are exact in some runs and bounds or unmarked in others; "
                "mark each, and give them as two families"
            )
    return data, families
