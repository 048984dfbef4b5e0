"""The frontier in a report: its numbers are those of frontier.json, and its words say no more."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.report.charts import specification
from isodiff.report.frontier_chart import drawn_point, frontier_chart, write_frontier
from isodiff.report.page import build_report
from isodiff.report.sections.frontier import (
    frontier_text,
    points_table,
    sampler_cell,
    samplers_at_speed,
    wins_table,
)
from isodiff.report.sections.verdict import verdict_section
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.serialization import from_json
from isodiff.units import short
from tests.report.planted import FAMILIES, write, write_study
from tests.report.reading import Page


@pytest.fixture(scope="module")
def value(whole):
    return json.loads((whole[0] / "frontier.json").read_text())


@pytest.fixture(scope="module")
def found(value):
    return from_json(FrontierResult, value, "frontier.json")


@pytest.mark.parametrize(("alone", "kind"), [(False, "in batches"), (True, "one text alone")])
def test_the_verdict_names_each_family_s_best_sampler_at_a_speed_that_all_reach(
    whole, value, alone, kind
):
    def speed(point):
        return point["length"] / point["latency_seconds"] if alone else point["tokens_per_second"]

    able = [point for point in value["points"] if not point["degenerate"]]
    reach = min(max(speed(p) for p in able if p["family"] == name) for name in FAMILIES)
    wanted = max(c for c in (k * 10**n for k in (1, 2, 5) for n in range(9)) if c <= reach)
    table = verdict_section(read_study_folder(whole[0])).blocks[2]
    (place,) = [i for i, column in enumerate(table.columns) if column.name.endswith(kind)]
    assert table.columns[place].name == f"{short(wanted)} tokens/s {kind}"
    for row, family in zip(table.rows, FAMILIES, strict=True):
        fast = [p for p in able if p["family"] == family and speed(p) >= wanted]
        best = min(fast, key=lambda point: point["nats_per_token"])
        assert row[place].text == f"ancestral, {best['steps']} steps"
        assert row[place].note.startswith(f"perplexity {best['generative_perplexity']:.2f} ± ")


def test_samplers_that_win_nothing_are_not_named(found):
    def poor(point):
        return replace(point, degenerate=True) if point.family == "masked" else point

    without = replace(found, points=tuple(map(poor, found.points)))
    _, best = samplers_at_speed(without, alone=False)
    assert set(best) == set(FAMILIES) - {"masked"}
    assert sampler_cell(without, best.get("masked")).text == "–"
    slow = [replace(point, unsteady_alone=True) for point in found.points]
    assert samplers_at_speed(replace(found, points=tuple(slow)), alone=True) is None
    assert samplers_at_speed(replace(found, points=tuple(slow)), alone=False) is not None


def test_the_tables_hold_every_point_and_its_errors(value, found):
    wins, points = wins_table(found), points_table(found)
    assert len(wins.rows) == len(value["verdict"]) + len(value["verdict_alone"])
    assert len(points.rows) == len(value["points"]) + 1 == 3 * 3 * len(FAMILIES) + 1
    standing = [row[-1].text for row in points.rows[:-1]]
    assert standing.count("degenerate") == sum(p["degenerate"] for p in value["points"]) == 3
    assert sum("batches" in words for words in standing) == sum(
        not p["degenerate"] and not p["dominated"] for p in value["points"]
    )
    names = [column.name for column in points.columns]
    entropy = names.index("entropy")
    assert all("±" in row[entropy].text for row in points.rows)
    assert points.rows[-1][0].text == "held-out text"
    text = frontier_text(found)
    assert text.isascii() and value["protocol"] in text and "held-out text" in text


def test_the_page_shows_entropy_beside_every_perplexity(whole, value):
    page = Page(Path(whole[2].report).read_text())
    notes = [a["aria-label"] for _, a in page.elements if "tokens/s" in a.get("aria-label", "")]
    # Three panels, two widths; every note gives both numbers.
    assert len(notes) == 6 * len(value["points"])
    assert all("generative perplexity" in note and "entropy" in note for note in notes)
    assert sum("texts degenerate" in note for note in notes) == 6 * 3
    assert value["protocol"] in page.words


def test_points_are_drawn_where_they_were_measured(found):
    point = found.points[0]
    drawn = drawn_point(point, "generative_perplexity")
    assert drawn["speed"] == point.tokens_per_second
    assert drawn["high"] - drawn["low"] == pytest.approx(2 * point.generative_perplexity_se)
    in_bits = drawn_point(point, "bits_per_byte")
    assert in_bits["loss"] == point.bits_per_byte


def test_a_frontier_of_one_point_is_drawn(found, tmp_path):
    alone = replace(found, points=found.points[:1], held_out=None)
    for narrow in (False, True):
        assert specification(frontier_chart(alone, list(FAMILIES), narrow))["concat"]
    written = write_frontier(replace(found, points=found.points[:1]), tmp_path)
    assert [path.name for path in written] == ["frontier.svg", "frontier.png"]
    assert all(path.stat().st_size > 1000 for path in written)


def test_a_reason_stands_where_the_frontier_would(tmp_path):
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), fits=False)
    assert "isodiff frontier writes one" in words(tmp_path)
    write(tmp_path / "frontier.json", {"reason": "no run here has an exact likelihood"})
    said = words(tmp_path)
    assert said.count("no run here has an exact likelihood") == 1
    reason = FrontierResult(reason="no run here has an exact likelihood")
    assert frontier_text(reason).endswith("not known: no run here has an exact likelihood.")


def words(folder: Path) -> str:
    return Page(Path(build_report(folder).report).read_text()).words


def test_a_damaged_frontier_is_one_line(tmp_path):
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), frontier=True)
    value = json.loads((tmp_path / "frontier.json").read_text())
    del value["points"][1]["entropy"]
    write(tmp_path / "frontier.json", value)
    with pytest.raises(InputError, match=r"frontier.json: points\[1\].entropy is missing"):
        build_report(tmp_path)
