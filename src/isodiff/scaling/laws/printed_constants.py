"""Laws and rules as papers print them: constants only, no points and mostly no intervals."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

import numpy as np

from isodiff.scaling.fitting.newton import NAMES
from isodiff.scaling.laws.loss_surface import Surface


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
