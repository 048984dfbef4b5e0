"""Laws to plan by: from a file that `isodiff fit --out` wrote, from published runs, or as printed.

All come as the result of a fit, so that a plan reads one form only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isodiff.errors import InputError, nearest
from isodiff.files import read_json
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.laws.data_constrained import fit_data_constrained
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.isoflop_result import (
    BudgetHeldOut,
    IsoflopFamily,
    IsoflopResult,
    PowerLawConstants,
    PowerLaws,
)
from isodiff.scaling.laws.law import Draws, FamilyResult, Fit, LawResult, Ranges, registered
from isodiff.scaling.laws.loss_surface import SIX
from isodiff.scaling.laws.parametric import fit_parametric
from isodiff.scaling.laws.parametric_result import (
    ParametricConstants,
    PrintedParametric,
)
from isodiff.scaling.laws.printed_constants import printed_laws
from isodiff.scaling.point_sources import published_points
from isodiff.serialization import from_json

_REPLICATES = 200
_FITTED: dict[str, tuple[Callable[..., Fit], ...]] = {
    "2305.16264": (fit_data_constrained,),
    "2602.15014": (fit_parametric, fit_isoflop),
    "2203.15556": (fit_parametric,),
}
"""The laws that published runs are planned by."""
PRINTED = {
    "2510.03280": ("6ND", "non_embedding"),
    "2512.10858": ("exact without the head", "non_embedding"),
}
"""C and N of the laws that are known as printed only."""


def known_laws(source: str) -> tuple[LawResult, ...]:
    """Every law that a source gives: `published:ARXIV`, or the path of a fit's JSON.

    Raises:
        InputError: nothing is published under that number, or the file holds no law.
    """
    if source.startswith("published:"):
        return _published_laws(source)
    value = read_json(Path(source))
    laws = registered()
    if not isinstance(value, dict) or value.get("law") not in laws or not value.get("families"):
        raise InputError(f"{source} holds no law; write one with isodiff fit RUNS --out {source}")
    law = from_json(laws[value["law"]].result, value, source)
    for name, family in law.families.items():
        if family.draws is None or family.range is None:
            raise InputError(
                f"{source} was written by an older version ({name} has no draws); fit it again with --out"
            )
    return (law,)


@functools.cache
def _published_laws(source: str) -> tuple[LawResult, ...]:
    """The laws of published runs, fitted here (once a process), or those that a paper prints."""
    arxiv = source.removeprefix("published:")
    if arxiv in PRINTED:
        return tuple(_as_printed(arxiv))
    if arxiv not in _FITTED:
        known = [*_FITTED, *PRINTED]
        listed = ", ".join(f"published:{name}" for name in known)
        raise InputError(f"no published laws {source!r}{nearest(arxiv, known)}; there is {listed}")
    points = published_points(source)
    return tuple(fit(points, bootstrap=_REPLICATES).result() for fit in _FITTED[arxiv])


def _as_printed(arxiv: str) -> list[LawResult]:
    """Constants of a paper in the form of a fit: no draws, so no intervals."""
    known = printed_laws()[arxiv]
    flops, parameters = PRINTED[arxiv]
    laws: list[LawResult] = []
    for law, kind in (("parametric", PrintedParametric), ("isoflop", IsoflopResult)):
        families: Any = {
            name: _printed_family(law, family)
            for name, family in known["families"].items()
            if law in family
        }
        if families:
            laws.append(
                kind(
                    law=law,
                    source=f"published:{arxiv}",
                    flops=flops,
                    parameters_convention=parameters,
                    families=families,
                    cooled=known.get("cooled"),
                    protocol=known["reference"],
                )
            )
    return laws


def _printed_family(law: str, family: dict[str, Any]) -> FamilyResult:
    """One family of a printed law."""
    own = family[law]
    spans = Ranges(**{symbol: tuple(ends) for symbol, ends in family["range"].items()})
    reason = "the paper prints constants only"
    if law == "parametric":
        return ParametricConstants(
            kind=family["kind"],
            range=spans,
            draws=Draws(),
            cost=SIX,
            validation=RunsHeldOut(reason=reason),
            **own,
        )
    laws = PowerLaws(**{symbol: PowerLawConstants(**power) for symbol, power in own.items()})
    return IsoflopFamily(
        kind=family["kind"],
        range=spans,
        draws=Draws(),
        validation=BudgetHeldOut(reason=reason),
        laws=laws,
    )
