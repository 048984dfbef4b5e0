"""A study's folder read whole: the study, its runs, its laws, its frontier, its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from isodiff.errors import InputError
from isodiff.plateau import on_plateau
from isodiff.record import Record
from isodiff.scaling.laws.isoflop_result import IsoflopFamily, IsoflopResult
from isodiff.scaling.laws.law import LawResult, registered
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.scaling.points import family_labels, variants
from isodiff.serialization import canonical, from_json, read_result, read_sealed
from isodiff.study_record import SampledTexts, StudyRecord, read_samples

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class StudyRun:
    """A record, the family it counts for, and its file."""

    record: Record
    family: str
    file: Path

    @property
    def budget(self) -> float:
        """Training FLOPs that the study gave it."""
        return self.record.spec.budget

    @property
    def on_plateau(self) -> bool:
        """Whether the fits left it out, as it has not left the unigram plateau."""
        return on_plateau(self.record)


@dataclass(frozen=True, eq=False)
class StudyFolder:
    """Everything a report says, as read.

    Attributes:
        runs: by family, budget, size and seed.
        fits: the IsoFLOP law.
        laws: every law whose file is there, by its name; one that could not be fitted has no family.
        families: names in the order of the study; a family keeps its color by this order.
    """

    path: Path
    study: StudyRecord
    runs: tuple[StudyRun, ...]
    laws: Mapping[str, LawResult]
    samples: Mapping[str, SampledTexts]
    frontier: FrontierResult | None
    families: tuple[str, ...] = ()

    @property
    def fits(self) -> IsoflopResult | None:
        """The IsoFLOP law."""
        found = self.laws.get("isoflop")
        return found if isinstance(found, IsoflopResult) else None

    @property
    def finished(self) -> tuple[StudyRun, ...]:
        """The runs that have a validation loss."""
        return tuple(run for run in self.runs if run.record.validation is not None)

    @property
    def parameters_convention(self) -> str:
        """How sizes are counted: as in the fits, or without embeddings."""
        return self.fits.parameters_convention if self.fits else "non_embedding"

    def parameters(self, run: StudyRun) -> int | None:
        """Size of a run under that convention."""
        return getattr(run.record.parameters, self.parameters_convention, None)

    def fit(self, family: str) -> IsoflopFamily:
        """The IsoFLOP law of a family; an empty one where there is none."""
        return (self.fits.families.get(family) if self.fits else None) or IsoflopFamily()

    def place(self, family: str) -> int:
        """Where a family stands; last if the study has no run of it."""
        return self.families.index(family) if family in self.families else len(self.families)


def read_study_folder(path: Path) -> StudyFolder:
    """Read the folder of a study.

    Raises:
        InputError: it is no study's folder, or a file of it is damaged.
    """
    if not (path / "study.json").is_file():
        raise InputError(f"{path} holds no study.json; give a folder made by isodiff study")
    study = read_result(StudyRecord, path / "study.json")
    files = sorted(path.glob("runs/*/record.json"))
    records = [read_result(Record, file) for file in files]
    found = StudyFolder(
        path=path,
        study=study,
        runs=tuple(map(StudyRun, records, _labels(records), files)),
        laws=_laws(path),
        samples=read_samples(path / "samples.json"),
        frontier=_optional(FrontierResult, path / "frontier.json"),
    )
    return _ordered(found)


def _optional(kind: type[_Result], file: Path) -> _Result | None:
    return read_result(kind, file) if file.exists() else None


def _laws(path: Path) -> dict[str, LawResult]:
    files = {name: (path / law.path, law.result) for name, law in registered().items()}
    return {name: _law(file, name, kind) for name, (file, kind) in files.items() if file.exists()}


def _law(file: Path, name: str, kind: type[LawResult]) -> LawResult:
    """The law of a file; where another version wrote it, one without families that says so."""
    value = read_sealed(file)
    if not isinstance(value, dict) or not isinstance(value.get("families", {}), dict):
        raise InputError(f"{file} is no {name} law; restore or delete it")
    try:
        return from_json(kind, value, file, strict=True)
    except InputError as error:
        if kind is IsoflopResult:
            raise
        why = f"{file.name} cannot be read ({error}); fit it again, or delete it"
        return kind(law=name, warnings=(why,))


def _labels(records: Sequence[Record]) -> list[str]:
    """The family each run counts for, under the names that a fit of the finished runs gives."""
    compared = variants([record.spec for record in records])
    done = [i for i, record in enumerate(records) if record.status == "done"]
    fitted = family_labels(variants([records[i].spec for i in done]))
    names = {canonical(compared[i]): label for i, label in zip(done, fitted, strict=True)}
    return [
        names.get(canonical(one), label)
        for one, label in zip(compared, family_labels(compared), strict=True)
    ]


def _ordered(found: StudyFolder) -> StudyFolder:
    """The same folder with families as the study lists them and runs by family, budget and size."""
    listed = found.study.study.get("families")
    items = listed if isinstance(listed, list) else []
    names = [str(item.get("name") if isinstance(item, dict) else item) for item in items]
    fitted = list(found.fits.families) if found.fits else []
    families = {*(run.family for run in found.runs), *fitted}

    def place(family: str) -> tuple[int, str]:
        name = family.split("(", 1)[0]
        return (names.index(name) if name in names else len(names), family)

    def order(run: StudyRun) -> tuple[Any, ...]:
        spec, size = run.record.spec, run.record.parameters.non_embedding
        return (place(run.family), spec.budget, size or 0, spec.seed, run.record.id)

    return replace(
        found,
        runs=tuple(sorted(found.runs, key=order)),
        families=tuple(sorted(families, key=place)),
    )
