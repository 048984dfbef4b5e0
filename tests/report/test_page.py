"""The page: whole, self-contained, escaped, the same every time."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from isodiff.report.blocks import Figure
from isodiff.report.charts import specification, svg
from isodiff.report.page import build_report, report_sections
from isodiff.report.study_folder import read_study_folder
from isodiff.report.theme import INKS, PALETTE
from tests.report.planted import FAMILIES, PROVENANCE, write, write_study
from tests.report.reading import Page

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;</pre>"
HEADINGS = [
    "Verdict",
    "IsoFLOP curves",
    "Scaling laws",
    "Speed and quality",
    "Training curves",
    "Samples",
    "Runs",
    "Protocol",
    "Versions and machine",
]


@pytest.fixture(scope="module")
def source(whole):
    return Path(whole[2].report).read_text(encoding="utf-8")


def test_everything_is_there_in_order(whole, source):
    page = Page(source)
    assert [text for tag, text in page.texts if tag == "h2"] == HEADINGS
    words = page.words
    for sentence in whole[2].studies[0].sentences:
        assert sentence in words
    for text in (
        "Presidents, small",
        "nats per token",
        "bits per byte",
        "bpe:1024",
        "vocab size 1,024",
        "convention “exact”",
        "95% intervals of 200 bootstrap replicates, seed 0",
        "512 windows of 128 tokens, 2 noise draws each, seed 0 (36 runs)",
        "loss nan at step 812",
        "worker 2 was killed (out of memory)",
        "git revision",
        PROVENANCE["git_revision"],
        "7 min 41 s",
        "is left out: diverged",
    ):
        assert text in words, text
    assert page.count("pre") == 2 * len(FAMILIES) + 1  # two texts each, and the study


def test_the_laws_are_told_with_what_they_predicted(whole, source):
    words = Page(source).words
    assert "Predicted: the law of all budgets but the largest, read at the largest." in words
    fits = json.loads((whole[0] / "fits.json").read_text())
    for family in FAMILIES:
        found = fits["families"][family]["validation"]["L"]
        for text in (
            f"{found['predicted']:.3f}",
            f"{found['observed']:.3f}",
            f"{found['relative_error']:+.1%}",
        ):
            assert text in words


def test_laws_of_two_budgets_say_why_nothing_was_predicted(tmp_path):
    write_study(tmp_path, budgets=(1e11, 1e12))
    build_report(tmp_path)
    words = Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "2 accepted budgets; 3 are needed to leave one out" in words


def test_every_run_has_a_row_that_leads_to_its_record(whole, source):
    folder, records, _ = whole
    links = {
        attributes["href"]
        for tag, attributes in Page(source).elements
        if tag == "a" and attributes["href"].endswith("record.json")
    }
    assert {(folder / link).resolve() for link in links} == {
        (folder / "runs" / record["id"] / "record.json").resolve() for record in records
    }
    anchors = {attributes.get("id") for tag, attributes in Page(source).elements if tag == "tr"}
    inner = [
        a["href"] for t, a in Page(source).elements if t == "a" and a["href"].startswith("#s1-run-")
    ]
    assert len(inner) == len(FAMILIES) and {link[1:] for link in inner} <= anchors


def test_nothing_is_loaded_from_anywhere(source):
    page = Page(source)
    assert len(source.encode()) < 3_000_000
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "img", "base", "form")
        assert "src" not in attributes
        for name in ("href", "xlink:href"):
            assert not re.match(r"\s*(\w+:|//)", attributes.get(name, "")), attributes
    assert "@import" not in source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))
    assert not re.findall(r"https?://", source)


def test_only_the_page_s_own_script_may_run(source):
    page = Page(source)
    assert page.count("script") == 1
    (script,) = [text for tag, text in page.texts if tag == "script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [
        attributes["content"]
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy and f"script-src 'sha256-{digest}'" in policy


def test_drawings_are_in_colors_that_both_themes_know(source):
    known = {light for light, _ in PALETTE} | set(INKS)
    drawn = {
        attributes[part]
        for _, attributes in Page(source).elements
        for part in ("fill", "stroke")
        if part in attributes
    }
    assert drawn - {"none", "transparent"} <= known
    assert {light for light, _ in PALETTE[: len(FAMILIES)]} <= drawn


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colors_stand_out_from_the_paper(theme):
    inks = {name: (light, dark) for light, (name, dark) in INKS.items()}
    paper = inks["paper"][theme]
    assert contrast(inks["ink"][theme], paper) >= 7
    assert contrast(inks["muted"][theme], paper) >= 4.5
    assert all(contrast(pair[theme], paper) >= 3 for pair in PALETTE)


def test_identifiers_are_unique(source):
    identifiers = [a["id"] for _, a in Page(source).elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r"url\(#([^)]*)\)", source)) <= set(identifiers)


def test_figures_are_written_as_svg_and_png(whole):
    folder, _, answer = whole
    names = ["loss", "isoflop", "frontier", "training"]
    expected = [folder / "figures" / f"{n}.{kind}" for n in names for kind in ("svg", "png")]
    assert [Path(path) for path in answer.figures] == expected
    for path in expected[::2]:
        root = ElementTree.fromstring(path.read_text())
        png = path.with_suffix(".png").read_bytes()
        assert png.startswith(b"\x89PNG")
        size = [int.from_bytes(png[i : i + 4], "big") for i in (16, 20)]
        assert size == [2 * int(root.attrib[side]) for side in ("width", "height")]


def test_points_of_the_drawing_say_the_numbers_of_their_runs(whole, source):
    _, records, _ = whole
    notes = {a["aria-label"] for _, a in Page(source).elements if "aria-label" in a}
    for record in records:
        if record["status"] == "done":
            (note,) = [n for n in notes if n.endswith(f"nats per token, run {record['id']}")]
            value = record["results"]["validation"]["nats_per_token"]["value"]
            assert f": {value:.3f} ± " in note


def test_text_from_files_is_never_markup(tmp_path):
    records = write_study(
        tmp_path,
        families={EVIL: 1.0, "plain": 2.0},
        budgets=(1e11,),
        name=EVIL,
        description=EVIL,
        id=EVIL,
        corpus={EVIL: EVIL, "source": [EVIL]},
        provenance={EVIL: EVIL},
        frontier=True,
    )
    frontier = tmp_path / "frontier.json"
    frontier.write_text(frontier.read_text().replace('"ancestral"', json.dumps(EVIL)))
    for record in records:
        if record["status"] != "done":
            record["message"] = EVIL
        record["device"] = record["provenance"]["cpu"] = EVIL
        write(tmp_path / "runs" / record["id"] / "record.json", record)
    page = Page(Path(build_report(tmp_path).report).read_text())
    assert page.count("script") == 1 and page.count("img") == 0
    assert not [a for _, a in page.elements for name in a if name.startswith("on")]
    assert page.words.count(EVIL) >= 15
    for path in (tmp_path / "figures").glob("*.svg"):
        root = ElementTree.fromstring(path.read_text())
        assert not [element for element in root.iter() if element.tag.endswith(("script", "img"))]


def test_the_same_study_gives_the_same_drawings(whole):
    folder, study = whole[0], read_study_folder(whole[0])
    blocks = [block for section in report_sections(study) for block in section.blocks]
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert len(figures) == 4
    for figure in figures:
        again = svg(specification(figure.wide))
        assert (folder / "figures" / f"{figure.name}.svg").read_text() == again + "\n"


def test_the_same_study_gives_the_same_bytes(tmp_path):
    write_study(tmp_path, families={"one": 1.0, "two": 2.0}, budgets=(1e11,), sizes=(9000, 21000))
    first = build_report(tmp_path, tmp_path / "a" / "page.html")
    again = build_report(tmp_path, tmp_path / "b" / "page.html")
    assert Path(first.report).read_bytes() == Path(again.report).read_bytes()
    assert len(again.figures) == len(first.figures) == 6
    for one, two in zip(first.figures, again.figures, strict=True):
        assert Path(one).read_bytes() == Path(two).read_bytes()


def test_the_report_needs_no_torch_and_its_verb_nothing_heavy(tmp_path):
    write_study(tmp_path, families={})
    code = (
        "import sys\nfrom pathlib import Path\nimport isodiff.cli.report as verb\n"
        "heavy = {'torch', 'altair', 'vl_convert', 'numpy', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        f"verb.run((Path({str(tmp_path)!r}),))\n"
        "assert 'torch' not in sys.modules and 'altair' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
