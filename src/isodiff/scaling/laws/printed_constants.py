"""Laws as papers print them, by arXiv number: constants only, no points and mostly no intervals."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

import numpy as np

from isodiff.scaling.fitting.terms import NAMES
from isodiff.scaling.laws.data_constrained_result import DecayConstants
from isodiff.scaling.laws.loss_surface import Surface


@functools.cache
def printed_laws() -> dict[str, Any]:
    """Everything in `data/published_laws.json`."""
    table = files("isodiff.scaling") / "data" / "published_laws.json"
    return json.loads(table.read_text(encoding="utf-8"))


def fresh_constants(source: str, family: str) -> Surface | None:
    """Constants of fresh data that a source prints for a family; None where it prints none."""
    own = printed_laws().get(source.removeprefix("published:"), {}).get("fresh", {}).get(family)
    return None if own is None else Surface.of(np.array([[own[name] for name in NAMES]]))


def printed_worth(source: str, family: str) -> DecayConstants | None:
    """R_D, R_N and the objective that a source prints for a family."""
    known = printed_laws().get(source.removeprefix("published:"), {}).get("repeated", {})
    return None if family not in known else DecayConstants(**known[family])
