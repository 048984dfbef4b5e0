"""Laws to plan by: from a file that `isodiff fit --out` wrote, from published runs, or as papers print them.

All come as the result of a fit, so that a plan reads one form only. Laws and rules as printed are constants
only: no points and mostly no intervals.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from isodiff.errors import InputError, nearest
from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.laws.law import LawResult, registered
from isodiff.scaling.laws.loss_surface import Surface
from isodiff.scaling.point_sources import published_points
from isodiff.scaling.table_files import is_table
from isodiff.serialization import from_json, read_sealed

_REPLICATES = 200
_FITTED = {
    "2305.16264": ("repeated",),
    "2602.15014": ("parametric", "isoflop"),
    "2203.15556": ("parametric",),
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
    path = Path(source)
    packed_or_text = path.suffix.lower() != ".json" and path.is_file() and is_table(path)
    value = [] if packed_or_text else read_sealed(path)
    if isinstance(value, list):
        raise InputError(
            f"{source} is no law but a table; fit it first: isodiff fit {source} --out law.json"
        )
    laws = registered()
    if not isinstance(value, dict) or value.get("law") not in laws or not value.get("families"):
        raise InputError(f"{source} holds no law; write one with isodiff fit RUNS --out {source}")
    law = from_json(laws[value["law"]].result, value, source, strict=True)
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
        return _as_printed(arxiv)
    if arxiv not in _FITTED:
        known = [*_FITTED, *PRINTED]
        listed = ", ".join(f"published:{name}" for name in known)
        raise InputError(f"no published laws {source!r}{nearest(arxiv, known)}; there is {listed}")
    points, laws = published_points(source), registered()
    return tuple(laws[name].fit(points, bootstrap=_REPLICATES).result() for name in _FITTED[arxiv])


def _as_printed(arxiv: str) -> tuple[LawResult, ...]:
    """Constants of a paper in the form of a fit: no draws, so no intervals."""
    paper, (flops, parameters) = printed_laws()[arxiv], PRINTED[arxiv]
    kinds = {name: law.as_printed or law.result for name, law in registered().items()}
    found: dict[str, dict[str, Any]] = {}
    for name, family in paper["families"].items():
        validation = {"reason": "the paper prints constants only"}
        about = {"kind": family["kind"], "range": family["range"], "draws": {}}
        for law in (law for law in family if law in kinds):
            place = kinds[law].printed_in
            own = {place: family[law]} if place else family[law]
            found.setdefault(law, {})[name] = {**about, **own, "validation": validation}
    about = {
        "source": f"published:{arxiv}",
        "flops": flops,
        "parameters_convention": parameters,
        "cooled": paper.get("cooled"),
        "protocol": paper["reference"],
    }
    return tuple(
        from_json(kinds[law], {**about, "law": law, "families": families}, "published_laws.json")
        for law, families in found.items()
    )


@functools.cache
def printed_laws() -> dict[str, Any]:
    """Everything in `data/published_laws.json`, by arXiv number."""
    return _table("published_laws.json")


@functools.cache
def printed_rules() -> dict[str, Any]:
    """Everything in `data/recipes.json`."""
    return _table("recipes.json")


def printed_repetition(family: str) -> tuple[float, float] | None:
    """Smallest and largest R_D that is printed for a family."""
    found = printed_rules()["R_D"]["values"].get(base_name(family))
    return None if found is None else (float(found[0]), float(found[1]))


def base_name(family: str) -> str:
    """A family without its options: `hybrid(balanced)` is a hybrid."""
    return family.split("(")[0]


def fresh_constants(source: str, family: str) -> Surface | None:
    """Constants of fresh data that a source prints for a family; None where it prints none."""
    own = printed(source, "fresh", family)
    return None if own is None else Surface.of(np.array([[own[name] for name in NAMES]]))


def printed(source: str, what: str, family: str) -> dict[str, float] | None:
    """What a source prints of a family."""
    return printed_laws().get(source.removeprefix("published:"), {}).get(what, {}).get(family)


def _table(name: str) -> dict[str, Any]:
    table = files("isodiff.scaling") / "data" / name
    return json.loads(table.read_text(encoding="utf-8"))
