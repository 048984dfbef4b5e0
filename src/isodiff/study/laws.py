"""The laws of a study's runs: fits.json, parametric.json and, where text repeats, repeated.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from isodiff.errors import InputError
from isodiff.files import write_json
from isodiff.scaling.laws.data_constrained import fit_repeated
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.law import LawResult
from isodiff.scaling.laws.parametric import fit_parametric
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Points
from isodiff.scaling.sensitivity import under_each
from isodiff.serialization import write_result

Fitted = Callable[[Points], LawResult]


def fit_all(out: Path, bootstrap: int) -> None:
    """Write every law of the finished runs; a study too small for one says why instead."""
    runs = [str(out / "runs")]

    def isoflop(points: Points) -> LawResult:
        result = fit_isoflop(points, bootstrap=bootstrap).result()
        conventions = under_each(runs, lambda points: fit_isoflop(points, bootstrap=0))
        return replace(result, conventions=conventions)

    def parametric(points: Points) -> LawResult:
        return fit_parametric(points, bootstrap=bootstrap).result()

    def repeated(points: Points) -> LawResult:
        if not any(p.unique_tokens and p.tokens > p.unique_tokens for p in points.points):
            raise InputError("no run has seen its text more than once")
        return fit_repeated(points, bootstrap=bootstrap).result()

    write_law(out / "fits.json", "isoflop", runs, isoflop)
    write_law(out / "parametric.json", "parametric", runs, parametric)
    write_law(out / "repeated.json", "repeated", runs, repeated)


def write_law(file: Path, law: str, runs: list[str], fit: Fitted) -> None:
    """The law, or one without families and with the reason."""
    try:
        result = fit(read_points(runs, flops="exact", parameters="non_embedding"))
    except InputError as error:
        write_json(file, {"law": law, "families": {}, "warnings": [str(error)]})
    else:
        write_result(file, result)
