"""docs/laws.md shows the scoreboard of public tables as it was measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "reproductions" / "public-tables"


@pytest.fixture(scope="module")
def scoreboard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scoreboard", FOLDER / "scoreboard.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scoreboard"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_was_measured(scoreboard: ModuleType) -> None:
    result = json.loads((FOLDER / "result.json").read_text(encoding="utf-8"))
    assert scoreboard.markdown(result) in (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    assert {row["set"] for row in result["rows"]} == {table.name for table in scoreboard.TABLES}


def test_a_cell_is_the_root_mean_square_and_how_many_intervals_hold(scoreboard: ModuleType) -> None:
    assert scoreboard.cell([[-0.02, False]]) == "−2.0 %, 0/1"
    assert scoreboard.cell([[0.03, True], [0.04, False]]) == "3.5 %, 1/2"
    assert scoreboard.cell([[0.01, None]]) == "+1.0 %, no interval"
    assert scoreboard.cell(None) == "–"


def test_far_asks_for_what_a_fit_leaves_out_from_a_tenth_of_its_compute(
    scoreboard: ModuleType,
) -> None:
    from isodiff.scaling import published_points
    from isodiff.scaling.fitting.holdout import split

    for name in ("2602.15014", "2203.15556"):
        data = published_points(f"published:{name}")
        asked = scoreboard.far(data).points
        out = split(asked).held_out
        least = min(point.flops for point, left in zip(asked, out, strict=True) if left)
        most = max(point.flops for point, left in zip(asked, out, strict=True) if not left)
        assert most <= least / 9.7
