"""A study's folder read whole: the study, its runs, its fits, its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.files import read_json
from isodiff.record import canonical
from isodiff.report.schema import (
    Record,
    Samples,
    Study,
    validated,
)
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, IsoflopResult
from isodiff.scaling.laws.law import LawResult
from isodiff.scaling.laws.load import LAWS
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.scaling.points import family_labels
from isodiff.serialization import from_json


@dataclass(frozen=True)
class Run:
    """A record, the family it counts for, and where it lies."""

    record: Record
    family: str
    path: Path

    @property
    def budget(self) -> float:
        """Training FLOPs that the study gave it."""
        return self.record.spec.budget


@dataclass(frozen=True)
class StudyFolder:
    """Everything a report says, as read.

    Attributes:
        families: names in the order of the study; a family keeps its color by this order.
        laws: every law that was fitted, by its name.
        runs: by family, budget, size and seed.
    """

    path: Path
    study: Study
    runs: tuple[Run, ...]
    fits: IsoflopResult | None
    samples: dict[str, Samples]
    frontier: FrontierResult | None
    families: tuple[str, ...]
    laws: Mapping[str, LawResult]

    @property
    def finished(self) -> tuple[Run, ...]:
        """The runs that have a validation loss."""
        return tuple(run for run in self.runs if run.record.validation is not None)

    @property
    def budgets(self) -> tuple[float, ...]:
        """Budgets of all runs, FLOPs, ascending."""
        return tuple(sorted({run.budget for run in self.runs}))

    @property
    def parameters_convention(self) -> str:
        """How sizes are counted: as in the fits, or without embeddings."""
        return self.fits.parameters_convention if self.fits else "non_embedding"

    def parameters(self, run: Run) -> int | None:
        """Size of a run under that convention."""
        return run.record.parameters.get(self.parameters_convention)

    def fit(self, family: str) -> IsoflopFamily:
        """The fit of a family; an empty one where there is none."""
        return (self.fits.families.get(family) if self.fits else None) or IsoflopFamily()


def read_study(path: Path) -> StudyFolder:
    """Read the folder of a study.

    Raises:
        InputError: it is no study's folder, or a file of it is damaged.
    """
    if not (path / "study.json").is_file():
        raise InputError(f"{path} holds no study.json; give a folder made by isodiff study")
    study = validated(Study, read_json(path / "study.json"), str(path / "study.json"))
    files = sorted(path.glob("runs/*/record.json"))
    records = [validated(Record, read_json(file), str(file)) for file in files]
    labels = run_labels(records)
    laws = read_laws(path)
    fits = laws.get("isoflop")
    samples = optional(path / "samples.json") or {}
    if not isinstance(samples, dict):
        raise InputError(f"{path / 'samples.json'} must hold an object; restore or delete it")
    frontier = optional(path / "frontier.json")
    found = StudyFolder(
        path=path,
        study=study,
        runs=tuple(map(Run, records, labels, files)),
        fits=fits if isinstance(fits, IsoflopResult) else None,
        samples={
            name: validated(Samples, value, f"{path / 'samples.json'}: {name}")
            for name, value in samples.items()
        },
        frontier=None
        if frontier is None
        else from_json(FrontierResult, frontier, path / "frontier.json"),
        families=(),
        laws=laws,
    )
    return ordered(found)


FILES = {"isoflop": "fits.json", "parametric": "parametric.json", "repeated": "repeated.json"}
"""The file of each law."""


def read_laws(path: Path) -> dict[str, LawResult]:
    """The laws whose files are there; one that could not be fitted has no family and says why."""
    found: dict[str, LawResult] = {}
    for law, name in FILES.items():
        value = optional(path / name)
        if value is None:
            continue
        if law != "isoflop" and not isinstance(value, dict):
            raise InputError(f"{path / name} is no {law} law; restore or delete it")
        try:
            found[law] = from_json(LAWS[law], value, path / name)
        except InputError as error:
            if law == "isoflop":
                raise
            warning = f"the law cannot be read; fit it again, or delete it ({error})"
            found[law] = LawResult(law=law, warnings=(warning,))
    return found


def optional(file: Path) -> Any:
    """The JSON value of a file that need not be there."""
    return read_json(file) if file.exists() else None


def run_labels(records: Sequence[Record]) -> list[str]:
    """The family each run counts for, under the names that a fit of the finished runs gives."""
    every = family_labels([record.spec.family for record in records])
    done = [record.spec.family for record in records if record.status == "done"]
    fitted = {
        canonical(family): label for family, label in zip(done, family_labels(done), strict=True)
    }
    return [
        fitted.get(canonical(record.spec.family), label)
        for record, label in zip(records, every, strict=True)
    ]


def ordered(found: StudyFolder) -> StudyFolder:
    """The same folder with families as the study lists them and runs by family, budget and size."""
    listed = found.study.study.get("families")
    listed = listed if isinstance(listed, list) else []
    names = [str(item.get("name")) if isinstance(item, dict) else str(item) for item in listed]
    fitted = list(found.fits.families) if found.fits else []
    families = {*(run.family for run in found.runs), *fitted}

    def place(family: str) -> tuple[int, str]:
        name = family.split("(", 1)[0]
        return (names.index(name) if name in names else len(names), family)

    def order(run: Run) -> tuple[Any, ...]:
        spec = run.record.spec
        size = run.record.parameters.get("non_embedding", 0)
        return (place(run.family), spec.budget, size, spec.seed, run.record.id)

    return replace(
        found,
        runs=tuple(sorted(found.runs, key=order)),
        families=tuple(sorted(families, key=place)),
    )
