"""docs/laws.md: the keys it promises are the keys that `--json` prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from isodiff.cli.plan import workloads
from isodiff.scaling import fit_data_constrained, fit_isoflop, fit_parametric, published_points
from isodiff.scaling.laws.load import known_laws
from isodiff.scaling.planning.experimental_design import next_runs
from isodiff.scaling.planning.hardware import Setting
from isodiff.scaling.planning.recommend import plan
from isodiff.serialization import to_json

PAGE = (Path(__file__).parents[2] / "docs" / "laws.md").read_text(encoding="utf-8")
WORDS = {"or", "null", "name", "least", "most", "family", "number"}
"""Placeholders in the page's listings."""


def promised(law: str) -> set[str]:
    """Names in code spans of the law's entry under JSON."""
    section = PAGE[PAGE.index("## JSON") :]
    entry = section[section.index(f"- **{law}**") :].split("\n- **")[0].split("\n\n")[0]
    spans = re.findall(r"`([^`]*)`", entry)
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(spans))) - WORDS


def keys(value: Any) -> Iterator[str]:
    """Every key in a JSON value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from re.findall(r"[A-Za-z_]\w*", key)
            yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def found(law: str) -> dict[str, Any]:
    if law == "isoflop":
        return fit_isoflop(published_points("published:2602.15014"), bootstrap=20).to_json()
    if law == "parametric":
        return fit_parametric(published_points("published:2602.15014"), bootstrap=20).to_json()
    if law == "repeated":
        return fit_data_constrained(
            published_points("published:2305.16264"), bootstrap=20
        ).to_json()
    if law == "next":
        return to_json(next_runs(published_points("published:2602.15014"), 1, bootstrap=20))
    laws = known_laws("published:2512.10858")
    setting = workloads(laws, Setting(price=2.0))
    return {
        "fresh": to_json(plan(laws, 1e21, setting=setting)),
        "limited": to_json(plan(laws, 1e21, 1e9)),
        "unranked": to_json(plan(known_laws("published:2510.03280"), 1e21, 1e8)),
    }


@pytest.mark.parametrize("law", ["isoflop", "parametric", "repeated", "plan", "next"])
def test_every_promised_key_is_printed(law: str) -> None:
    wanted = promised(law)
    assert len(wanted) > 15
    extra = {"reason", "value", "low", "high"}  # where a part is missing, or an estimate has them
    values = {"value", "index", "objective"}  # names of the two numbers of a curve
    real = set(keys(found(law)))
    assert wanted - real <= extra | values | {"flops", "unique_tokens"}, sorted(wanted - real)
