"""Sections: a new one is a file and a line; pages and terminals show the same blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from isodiff.report import page
from isodiff.report.blocks import Section, Table, Text
from isodiff.report.study_folder import read_study_folder
from isodiff.report.text import terminal
from tests.report.planted import FAMILIES
from tests.report.reading import Page
from tests.report.toy_section import toy_section


def test_a_section_is_one_file_and_one_line(whole, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(page, "SECTIONS", [*page.SECTIONS, toy_section])
    built = page.build_report(whole[0], tmp_path / "page.html")
    found = Page(Path(built.report).read_text(encoding="utf-8"))
    assert [text for tag, text in found.texts if tag == "h2"][-1] == "Toy numbers"
    assert {"id": "s1-toy-numbers"} in [dict(a) for tag, a in found.elements if tag == "h2"]
    said = terminal(*page.report_sections(read_study_folder(whole[0])))
    for words in (found.words, said):
        for text in (
            "Toy numbers",
            "By family",
            "Counted, <not> fitted.",
            "Many runs.",
            "Few toys.",
        ):
            assert text in words
    assert "interpolating 12 ± 0" in found.words
    for family in FAMILIES:
        assert f"    {family:<14}  12 +- 0\n" in said


def test_a_terminal_shows_every_section_in_ascii(whole) -> None:
    sections = page.report_sections(read_study_folder(whole[0]))
    said = terminal(*sections)
    assert said.isascii()
    titles = [section.title for section in sections]
    assert [line for line in said.splitlines() if line in titles] == titles
    for record in whole[1]:
        assert record["id"] in said


def test_columns_of_a_terminal_are_aligned() -> None:
    rows = [("masked", 12, "≤ 1.5 ± 0.1", "-"), ("autoregressive", 1234, "= 2 ± 0.25", "3k")]
    table = Table.of(("family", "runs", "loss", "D*"), rows, caption="± as ever")
    assert terminal(table).splitlines() == [
        "family          runs  loss           D*",
        "masked            12  <= 1.5 +- 0.1   -",
        "autoregressive  1234  = 2 +- 0.25    3k",
        "+- as ever",
    ]


def test_parts_stand_apart_and_below_their_titles() -> None:
    terms = Table.of_terms([("E", "1.6"), ("alpha", "0.34 [0.3, 0.4]")])
    section = Section("masked", [terms, Text([]), Text(["one", "two"], "list", title="Warnings")])
    assert terminal("Laws", section, Text(["done"])).splitlines() == [
        "Laws",
        "",
        "masked",
        "  E      1.6",
        "  alpha  0.34 [0.3, 0.4]",
        "  Warnings",
        "    - one",
        "    - two",
        "",
        "done",
    ]


@pytest.mark.parametrize(
    ("title", "place"), [("Speed and quality", "speed-and-quality"), ("A", "a")]
)
def test_a_section_without_an_anchor_is_named_by_its_title(title: str, place: str) -> None:
    assert Section(title, []).place == place
    assert Section(title, [], "other").place == "other"
