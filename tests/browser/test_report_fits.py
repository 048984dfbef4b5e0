"""The report of a large study on a screen, a phone and paper, and for who hears it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isodiff.report.page import build_report
from tests.report.planted import write_study

FAMILIES = {
    "autoregressive": 1.0,
    "masked": 2.0,
    "uniform": 4.0,
    "interpolating": 2.5,
    "block(block_size=16)": 1.6,
    "hybrid": 3.0,
    "gaussian": 6.0,
}
OVERLAPS = """() => {
  const found = [];
  for (const drawing of document.querySelectorAll(".drawing svg")) {
    const boxes = [...drawing.querySelectorAll("text")]
      .filter((text) => text.textContent && text.getAttribute("opacity") !== "0")
      .map((text) => [text.textContent, text.getBoundingClientRect()])
      .filter(([, box]) => box.width);
    boxes.forEach(([one, a], i) => boxes.slice(i + 1).forEach(([two, b]) => {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 3) found.push([drawing.closest("section").className, one, two]);
    }));
  }
  return found;
}"""
TICKS = OVERLAPS.replace('"text")', '".role-axis-label text")')


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, families=FAMILIES, frontier=True)
    return Path(build_report(folder).report)


@pytest.fixture
def opened(visit, report):
    """The page at a width, with everything unfolded."""

    def opened(width: int, **options):
        page = visit(report, width, **options)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        return page

    return opened


@pytest.mark.parametrize("width", [1280, 900, 390, 320])
def test_no_table_is_clipped(opened, overflow, width):
    page = opened(width)
    assert page.locator("table").count() >= 6
    clipped = page.locator(".scroll").evaluate_all(
        "all => all.filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.ariaLabel)"
    )
    assert overflow(page) <= 0
    assert not clipped or width == 900  # a small screen scrolls


@pytest.mark.parametrize("width", [1280, 390])
def test_ticks_and_names_do_not_collide(opened, width):
    page = opened(width)
    assert page.locator(".drawing:visible .role-axis-label text").count() > 40
    assert page.evaluate(TICKS) == []
    assert [one for one in page.evaluate(OVERLAPS) if one[0] == "frontier"] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_samplers_are_named_in_the_figure(opened, width):
    texts = opened(width).locator("section.frontier .drawing:visible text").all_text_contents()
    assert texts.count("ancestral") == 2 * 3 * len(FAMILIES)  # of each budget, in batches and alone


def test_on_a_phone_every_number_stands_below_the_name_of_its_column(opened):
    page = opened(390)
    for table in page.locator("table:visible").all():
        names = table.locator("thead th").evaluate_all(
            "all => all.map(one => one.childNodes[0].textContent)"
        )
        row = table.locator("tbody tr").first
        for place, cell in enumerate(row.locator("> *").all()):
            box = cell.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390
            shown = cell.evaluate("one => getComputedStyle(one, '::before').content")
            assert place == 0 or shown.strip('"').startswith(names[place])


def test_on_paper_the_verdict_is_on_the_first_of_at_most_twelve_pages(visit, report):
    page = visit(report)
    paper = page.pdf(format="A4")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", paper)) <= 12
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 694, "height": 1020})  # A4 less the margins, at 96 dpi
    verdict = page.locator("section.verdict").bounding_box()
    assert verdict["y"] + verdict["height"] <= 1020
    clipped = page.locator(".scroll").evaluate_all(
        "all => all.filter(s => s.scrollWidth > s.clientWidth + 1).map(s => s.ariaLabel)"
    )
    assert clipped == []
    assert page.locator("nav").is_hidden()
    rows = page.locator("section.runs tbody tr")
    assert rows.count() > 60 == page.locator("section.runs tbody tr:visible").count()
    assert page.get_by_text(f"the first 60 of {rows.count()} rows").is_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_landmarks_lead_a_screen_reader(opened, width):
    page = opened(width)
    assert page.get_by_role("main").count() == 1
    links = page.get_by_role("navigation").get_by_role("link")
    sections = page.locator("section").count()
    assert links.count() == sections == page.get_by_role("region").locator("h2").count()
    for link in links.all():
        assert page.locator(f'[id="{link.get_attribute("href")[1:]}"]').count() == 1
    runs = page.locator("section.runs")
    assert runs.get_by_role("table").count() == 1  # also where rows are stacked
    assert runs.get_by_role("columnheader").count() == 13
    assert runs.get_by_role("row").count() == 1 + runs.locator("tbody tr").count()
    assert runs.get_by_role("rowheader").count() == runs.locator("tbody tr").count()
