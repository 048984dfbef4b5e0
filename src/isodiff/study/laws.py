"""The laws of a study's runs, a file each: fits.json, parametric.json, repeated.json and so on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from isodiff.errors import InputError, without_folders
from isodiff.scaling.laws.law import Law, LawResult, registered
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Points
from isodiff.scaling.sensitivity import under_each
from isodiff.serialization import write_result


def fit_all(out: Path, bootstrap: int) -> None:
    """Write every law of the finished runs; a study too small for one says why instead.

    Raises:
        InputError: the records cannot be read.
    """
    runs = [str(out / "runs")]
    points = read_points(runs, flops="exact", parameters="non_embedding")
    for name, law in registered().items():
        try:
            result = _fit(law, points, runs, bootstrap)
        except InputError as error:
            why = without_folders(str(error))
            write_result(out / law.path, {"law": name, "families": {}, "warnings": [why]})
        else:
            write_result(out / law.path, result)


def _fit(law: Law, points: Points, runs: list[str], bootstrap: int) -> LawResult:
    law.applies(points)
    result = law.fit(points, bootstrap=bootstrap, seed=0).result()
    if not law.by_convention:
        return result
    conventions = under_each(runs, lambda points: law.fit(points, bootstrap=0, seed=0))
    return replace(result, conventions=conventions)
