"""Laws to plan by: from a file that `isodiff fit --out` wrote, from published runs, or as printed.

All come as the JSON of a fit, so that a plan reads one form only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from isodiff.errors import InputError, nearest
from isodiff.files import read_json
from isodiff.scaling.laws.data_constrained import fit_repeated
from isodiff.scaling.laws.isoflop import fit_isoflop
from isodiff.scaling.laws.parametric import fit_parametric
from isodiff.scaling.laws.printed_constants import printed_laws
from isodiff.scaling.point_sources import PUBLISHED, published_points

LAWS = ("isoflop", "parametric", "repeated")
REPLICATES = 200
PRINTED = {
    "2510.03280": ("6ND", "non_embedding"),
    "2512.10858": ("exact without the head", "non_embedding"),
}
"""C and N of the laws that are known as printed only."""


def known_laws(source: str) -> list[dict[str, Any]]:
    """Every law that a source gives: `published:ARXIV`, or the path of a fit's JSON.

    Raises:
        InputError: nothing is published under that number, or the file holds no law.
    """
    if source.startswith("published:"):
        return published_laws(source)
    value = read_json(Path(source))
    if not isinstance(value, dict) or value.get("law") not in LAWS or not value.get("families"):
        raise InputError(f"{source} holds no law; write one with isodiff fit RUNS --out {source}")
    for name, family in value["families"].items():
        if "draws" not in family or "range" not in family:
            raise InputError(
                f"{source} was written by an older version ({name} has no draws); fit it again with --out"
            )
    return [value]


def published_laws(source: str) -> list[dict[str, Any]]:
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
        return [fit_repeated(points, bootstrap=REPLICATES).to_json()]
    laws = [fit_parametric(points, bootstrap=REPLICATES).to_json()]
    if arxiv == "2602.15014":
        laws.append(fit_isoflop(points, bootstrap=REPLICATES).to_json())
    return laws


def as_printed(arxiv: str) -> list[dict[str, Any]]:
    """Constants of a paper in the form of a fit: no draws, so no intervals."""
    known = printed_laws()[arxiv]
    flops, parameters = PRINTED[arxiv]
    laws = []
    for law in ("parametric", "isoflop"):
        families = {
            name: printed_family(law, family)
            for name, family in known["families"].items()
            if law in family
        }
        if families:
            laws.append(
                {
                    "law": law,
                    "source": f"published:{arxiv}",
                    "flops": flops,
                    "parameters_convention": parameters,
                    "families": families,
                    "warnings": [],
                    "cooled": known.get("cooled"),
                    "protocol": known["reference"],
                }
            )
    return laws


def printed_family(law: str, family: dict[str, Any]) -> dict[str, Any]:
    """One family of a printed law."""
    own = family[law]
    shared = {
        "kind": family["kind"],
        "range": family["range"],
        "draws": {"parameters": [], "rows": []},
        "validation": {"reason": "the paper prints constants only"},
    }
    if law == "parametric":
        return {**shared, **own, "cost": {"N": 6.0, "N^2/3": 0.0, "N^1/3": 0.0, "misfit": 0.0}}
    laws = {symbol: {**power, "irreducible": 0.0} for symbol, power in own.items()}
    return {**shared, "laws": {"L": None, **laws}}
