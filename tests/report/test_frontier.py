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
    frontier_sentence,
    frontier_text,
    points_table,
    wins_table,
)
from isodiff.report.sections.verdict import study_verdict
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling.pareto_result import FrontierResult
from isodiff.serialization import from_json
from tests.report.planted import FAMILIES, write, write_study
from tests.report.reading import Page


@pytest.fixture(scope="module")
def value(whole):
    return json.loads((whole[0] / "frontier.json").read_text())


@pytest.fixture(scope="module")
def found(value):
    return from_json(FrontierResult, value, "frontier.json")


def test_the_verdict_names_every_range_and_its_confidence(whole, value, found):
    said = frontier_sentence(found)
    assert said in study_verdict(read_study_folder(whole[0])).sentences
    every = value["verdict"] + value["verdict_alone"]
    assert said.count("up to") == len(every) >= 4
    assert said.index("in batches") < said.index("One text at a time")
    for win in every:
        steps = [setting["steps"] for setting in win["settings"]]
        shown = f"{steps[0]}" if len(set(steps)) == 1 else f"{max(steps)} to {min(steps)}"
        words = f"{win['family']}, {win['sampler']} ({shown} steps) [{win['confidence']:.0%} sure]"
        assert words in said


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
    assert said.count("no run here has an exact likelihood") == 2  # verdict and figure


def words(folder: Path) -> str:
    return Page(Path(build_report(folder).report).read_text()).words


def test_a_damaged_frontier_is_one_line(tmp_path):
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), frontier=True)
    value = json.loads((tmp_path / "frontier.json").read_text())
    del value["points"][1]["entropy"]
    write(tmp_path / "frontier.json", value)
    with pytest.raises(InputError, match=r"frontier.json: points\[1\].entropy is missing"):
        build_report(tmp_path)
