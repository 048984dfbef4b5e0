"""The laws of a study's runs: fits.json, parametric.json and, where text repeats, repeated.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.files import write_json
from isodiff.scaling.laws.data_constrained import fit_repeated
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.parametric import fit_parametric
from isodiff.scaling.point_sources import read_points
from isodiff.scaling.points import Points
from isodiff.scaling.sensitivity import moved, under_each

Fitted = Callable[[Points], dict[str, Any]]


def fit_all(out: Path, bootstrap: int) -> None:
    """Write every law of the finished runs; a study too small for one says why instead."""
    runs = [str(out / "runs")]

    def isoflop(points: Points) -> dict[str, Any]:
        value = fit_isoflop(points, bootstrap=bootstrap).to_json()
        rows = under_each(runs, lambda points: fit_isoflop(points, bootstrap=0))
        return {**value, "conventions": {"rows": rows, "moved": moved(rows)}}

    def parametric(points: Points) -> dict[str, Any]:
        return fit_parametric(points, bootstrap=bootstrap).to_json()

    def repeated(points: Points) -> dict[str, Any]:
        if not any(p.unique_tokens and p.tokens > p.unique_tokens for p in points.points):
            raise InputError("no run has seen its text more than once")
        return fit_repeated(points, bootstrap=bootstrap).to_json()

    write_law(out / "fits.json", "isoflop", runs, isoflop)
    write_law(out / "parametric.json", "parametric", runs, parametric)
    write_law(out / "repeated.json", "repeated", runs, repeated)


def write_law(file: Path, law: str, runs: list[str], fit: Fitted) -> None:
    """The law's JSON, or one without families and with the reason."""
    try:
        value = fit(read_points(runs, flops="exact", parameters="non_embedding"))
    except InputError as error:
        value = {"law": law, "families": {}, "warnings": [str(error)]}
    write_json(file, value)
