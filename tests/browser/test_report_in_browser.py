"""The report as a reader meets it: both themes, a phone, sorting, notes of points, escaping."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from isodiff.report.page import build_report
from tests.report.planted import write, write_study

EVIL = "<script>document.title = 'broken'</script><img src=x onerror=alert(1)>"
FIGURES = 3


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("study")
    records = write_study(folder, name=EVIL, description=EVIL)
    for record in records:
        if record["status"] != "done":
            record["message"] = EVIL
            write(folder / "runs" / record["id"] / "record.json", record)
    return Path(build_report(folder).report), records


def luminance(page, selector: str, part: str) -> float:
    """Of a computed color, 0 to 1, roughly."""
    color = page.locator(selector).first.evaluate(f"node => getComputedStyle(node).{part}")
    return sum(map(float, color[color.index("(") + 1 : -1].split(",")[:3])) / (3 * 255)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "shown"), [(1280, "wide"), (390, "narrow")])
def test_figures_are_seen(visit, overflow, report, theme, width, shown):
    page = visit(report[0], width, theme)
    drawings = page.locator(f".drawing.{shown} svg")
    assert drawings.count() == FIGURES
    for i in range(FIGURES):
        box = drawings.nth(i).bounding_box()
        assert box["width"] > 0.5 * width and box["height"] > 150
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert drawings.nth(i).locator("[aria-roledescription=point]").first.is_visible()
    assert page.locator(".drawing:visible").count() == FIGURES  # of two drawings each
    assert overflow(page) <= 0
    paper, ink = luminance(page, "body", "backgroundColor"), luminance(page, "body", "color")
    label = luminance(page, f".drawing.{shown} svg text", "fill")
    assert (paper > 0.9 > 0.3 > ink) if theme == "light" else (paper < 0.2 < 0.7 < ink)
    assert abs(paper - label) > 0.4


def column(page, name: str):
    """The button of a heading and the cells below it."""
    headings = page.locator("table.sortable thead button")
    place = headings.all_inner_texts().index(name)
    return headings.nth(place), page.locator(f"table.sortable tbody tr > :nth-child({place + 1})")


def keys(cells) -> list[float]:
    return [float(key) for key in cells.evaluate_all("cells => cells.map(c => c.dataset.key)")]


def test_pressing_a_heading_sorts_by_its_numbers(visit, report):
    page = visit(report[0])
    button, cells = column(page, "size")
    wanted = sorted(record["parameters"]["non_embedding"] for record in report[1])
    assert sorted(keys(cells)) == wanted != keys(cells)
    button.click()
    assert keys(cells) == wanted
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("size")
    button.click()
    assert keys(cells) == wanted[::-1]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("size")


def test_what_is_missing_stays_last_both_ways(visit, report):
    button, cells = column(visit(report[0]), "loss")
    nats = [
        record["results"]["validation"]["nats_per_token"]["value"]
        for record in report[1]
        if record["status"] == "done"
    ]
    for wanted in (sorted(nats), sorted(nats, reverse=True)):
        button.click()
        assert keys(cells) == [*wanted, math.inf, math.inf]  # two runs did not finish


def test_words_sort_too(visit, report):
    button, cells = column(visit(report[0]), "family")
    for down in (False, True):
        button.click()
        words = cells.all_inner_texts()
        assert words == sorted(words, reverse=down) and len(set(words)) == 4


def test_a_point_says_its_run_and_leads_to_its_row(visit, report):
    page = visit(report[0])
    points = page.locator('.drawing.wide [aria-roledescription="point"][aria-label*="run "]')
    assert points.count() >= 36
    note, point = page.locator("#note"), points.nth(7)
    assert note.is_hidden()
    point.scroll_into_view_if_needed()
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    point.hover()
    label = point.get_attribute("aria-label")
    assert note.is_visible() and note.inner_text() == label
    box, marked = note.bounding_box(), point.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280
    assert abs(box["y"] + box["height"] / 2 - marked["y"] - marked["height"] / 2) < 80
    page.mouse.move(2, 2)
    assert note.is_hidden()
    point.click()
    target = page.locator("tr:target")
    run = target.get_attribute("id").removeprefix("s1-run-")
    assert run in label and run in {record["id"] for record in report[1]}
    assert target.locator(f'a[href$="{run}/record.json"]').is_visible()


def test_text_that_looks_like_markup_is_text(visit, report):
    page = visit(report[0])
    assert page.locator("h1").inner_text() == page.locator(".description").inner_text() == EVIL
    assert page.locator("td.failed small", has_text=EVIL).is_visible()
    assert page.title() == f"{EVIL} · isodiff" and page.locator("img").count() == 0


def test_without_a_script_everything_is_there(visit, report):
    page = visit(report[0], java_script_enabled=False)
    assert page.locator(".drawing.wide svg:visible").count() == FIGURES
    assert page.locator("table.sortable tbody tr").count() == len(report[1])
