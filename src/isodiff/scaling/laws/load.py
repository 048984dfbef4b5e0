"""Laws to plan by: from a file that `isodiff fit --out` wrote, from published runs, or as printed.

All come as the result of a fit, so that a plan reads one form only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isodiff.errors import InputError, nearest
from isodiff.files import read_json
from isodiff.scaling.fitting.holdout import RunsHeldOut
from isodiff.scaling.laws.data_constrained import fit_repeated
from isodiff.scaling.laws.data_constrained_result import DataConstrainedResult
from isodiff.scaling.laws.data_constrained_summary import diagnose_data_constrained
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.isoflop_result import (
    BudgetHeldOut,
    IsoflopFamily,
    IsoflopResult,
    PowerLawConstants,
    PowerLaws,
)
from isodiff.scaling.laws.isoflop_summary import diagnose_isoflop
from isodiff.scaling.laws.law import Draws, FamilyResult, LawResult, Ranges
from isodiff.scaling.laws.parametric import fit_parametric
from isodiff.scaling.laws.parametric_result import (
    ParametricConstants,
    ParametricResult,
    PrintedParametric,
)
from isodiff.scaling.laws.parametric_summary import diagnose_parametric
from isodiff.scaling.laws.printed_constants import printed_laws
from isodiff.scaling.laws.token_flops import SIX
from isodiff.scaling.point_sources import PUBLISHED, published_points
from isodiff.serialization import from_json

LAWS: dict[str, type[LawResult]] = {
    "isoflop": IsoflopResult,
    "parametric": ParametricResult,
    "repeated": DataConstrainedResult,
}
REPLICATES = 200
PRINTED = {
    "2510.03280": ("6ND", "non_embedding"),
    "2512.10858": ("exact without the head", "non_embedding"),
}
"""C and N of the laws that are known as printed only."""


def known_laws(source: str) -> list[LawResult]:
    """Every law that a source gives: `published:ARXIV`, or the path of a fit's JSON.

    Raises:
        InputError: nothing is published under that number, or the file holds no law.
    """
    if source.startswith("published:"):
        return published_laws(source)
    value = read_json(Path(source))
    if not isinstance(value, dict) or value.get("law") not in LAWS or not value.get("families"):
        raise InputError(f"{source} holds no law; write one with isodiff fit RUNS --out {source}")
    law = from_json(LAWS[value["law"]], value, source)
    for name, family in law.families.items():
        if family.draws is None or family.range is None:
            raise InputError(
                f"{source} was written by an older version ({name} has no draws); fit it again with --out"
            )
    return [law]


def published_laws(source: str) -> list[LawResult]:
    """The laws of published runs, fitted here, or those that a paper prints."""
    arxiv = source.removeprefix("published:")
    if arxiv in PRINTED:
        return as_printed(arxiv)
    if arxiv not in PUBLISHED:
        known = [*PUBLISHED, *PRINTED]
        listed = ", ".join(f"published:{name}" for name in known)
        raise InputError(f"no published laws {source!r}{nearest(arxiv, known)}; there is {listed}")
    points = published_points(source)
    if arxiv == "2305.16264":
        return [diagnose_data_constrained(fit_repeated(points, bootstrap=REPLICATES))]
    laws: list[LawResult] = [diagnose_parametric(fit_parametric(points, bootstrap=REPLICATES))]
    if arxiv == "2602.15014":
        laws.append(diagnose_isoflop(fit_isoflop(points, bootstrap=REPLICATES)))
    return laws


def as_printed(arxiv: str) -> list[LawResult]:
    """Constants of a paper in the form of a fit: no draws, so no intervals."""
    known = printed_laws()[arxiv]
    flops, parameters = PRINTED[arxiv]
    laws: list[LawResult] = []
    for law, kind in (("parametric", PrintedParametric), ("isoflop", IsoflopResult)):
        families: Any = {
            name: printed_family(law, family)
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


def printed_family(law: str, family: dict[str, Any]) -> FamilyResult:
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
