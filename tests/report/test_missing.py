"""Studies that lack something still get a good report; damaged files one clear line."""

import json
from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.report.blocks import Block, Figure, Section, Text
from isodiff.report.charts import specification, svg
from isodiff.report.page import build_report
from isodiff.report.sections.isoflop import isoflop_section
from isodiff.report.sections.laws import law_tables
from isodiff.report.sections.verdict import study_verdict, verdict_section
from isodiff.report.study_folder import read_study_folder
from isodiff.report.theme import color, dash, shape
from tests.report.planted import write, write_study
from tests.report.reading import Page


def words(answer):
    return Page(Path(answer.report).read_text()).words


def figure(section: Section) -> Figure:
    (found,) = [block for block in section.blocks if isinstance(block, Figure)]
    return found


def why_missing(blocks: list[Block]) -> str:
    (text,) = blocks
    assert isinstance(text, Text) and text.style == "missing"
    return " ".join(text.lines)


def test_a_study_without_runs(tmp_path):
    write_study(tmp_path, families={})
    answer = build_report(tmp_path)
    assert "No run has finished, so there is nothing to compare yet." in answer.verdict
    assert answer.figures == () and not (tmp_path / "figures").exists()
    said = words(answer)
    for text in (
        "1 not run",
        "No run has finished yet.",
        "holds no fits.json",
        "No run has measured its loss on the way.",
        "No text was drawn",
        "The study has no runs yet.",
        "No run was evaluated.",
        "tokenizer bpe:1024",
    ):
        assert text in said, text


def test_a_study_of_failures_only(tmp_path):
    records = write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), fits=False)
    for record in records:
        record.update(status="failed", message="killed", results={}, curve=[], parameters={})
        write(tmp_path / "runs" / record["id"] / "record.json", record)
    answer = build_report(tmp_path)
    said = words(answer)
    assert "0 of 7 runs finished; 6 failed, 1 not run" in said and answer.figures == ()
    assert said.count("killed") == 6


def test_runs_without_fits(tmp_path):
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), fits=False)
    (tmp_path / "samples.json").unlink()
    answer = build_report(tmp_path)
    said = words(answer)
    assert [Path(p).name for p in answer.figures] == [
        "loss.svg",
        "loss.png",
        "isoflop.svg",
        "isoflop.png",
        "training.svg",
        "training.png",
    ]
    assert "joined by budget; nothing was fitted" in said
    assert said.count("isodiff fit with --out writes one") == 1
    assert "no trusted minimum" in said


def test_a_single_run(tmp_path):
    records = write_study(
        tmp_path, families={"one": 1.0}, budgets=(1e11,), sizes=(9000,), fits=False
    )
    for record in records[1:]:  # diverged before its first measurement that is worth drawing
        record["curve"] = [{"step": 0, "flops": 0.0, "nats_per_token": 5.0}]
        write(tmp_path / "runs" / record["id"] / "record.json", record)
    answer = build_report(tmp_path)
    assert "one reaches" in answer.verdict and len(answer.figures) == 6


def test_fits_that_refused_everything_say_why(tmp_path):
    write_study(tmp_path, families={"autoregressive": 1.0}, budgets=(1e11,), sizes=(9000, 21000))
    study = read_study_folder(tmp_path)
    refused = "Refused, and dashed: autoregressive at 1.0e11 (fewer than three sizes)."
    assert refused in figure(isoflop_section(study)).caption
    assert "trusted minima at two budgets or more" in why_missing(law_tables(study))
    (row,) = verdict_section(study).blocks[2].rows
    assert (row[3].text, row[3].note) == ("–", "no trusted minimum")


def test_fits_that_could_not_be_made_give_their_warning(tmp_path):
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), fits=False)
    write(tmp_path / "fits.json", {"law": "isoflop", "families": {}, "warnings": ["too few"]})
    study = read_study_folder(tmp_path)
    assert why_missing(law_tables(study)) == "too few"


def test_nulls_stand_for_what_is_not_known(tmp_path):
    write_study(tmp_path, families={"one": 1.0, "two": 2.0}, budgets=(1e11,))
    fits = json.loads((tmp_path / "fits.json").read_text())
    for family in fits["families"].values():
        family.update(N_exponent=None, multiplier_vs_autoregressive=None, curves=[], bands={})
    write(tmp_path / "fits.json", fits)
    study = read_study_folder(tmp_path)
    assert "trusted minima at two budgets or more" in why_missing(law_tables(study))
    families = study_verdict(study).families
    assert all(one.multiplier_vs_autoregressive is None for one in families)


def test_more_families_than_colors(tmp_path):
    families = {f"family-{i}": 1 + 0.1 * i for i in range(9)}
    write_study(tmp_path, families=families, budgets=(1e11,), sizes=(9000, 21000, 50000))
    drawn = svg(specification(figure(isoflop_section(read_study_folder(tmp_path))).wide))
    assert all(f">family-{i}</text>" in drawn for i in range(9))
    looks = {(color(place), shape(place), tuple(dash(place))) for place in range(64)}
    assert len(looks) == 64


def test_several_studies_on_one_page(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name
        write_study(
            folder, families={"one": 1.0}, budgets=(1e11,), fits=False, name=f"study {name}"
        )
    answer = build_report([tmp_path / "a", tmp_path / "b"], tmp_path / "both.html")
    page = Page(Path(answer.report).read_text())
    assert [text for tag, text in page.texts if tag == "h1"] == ["study a", "study b"]
    identifiers = [a["id"] for _, a in page.elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {Path(path).parent for path in answer.figures} == {
        tmp_path / "figures" / "1",
        tmp_path / "figures" / "2",
    }
    assert [one.study for one in answer.studies] == ["study a", "study b"]


DAMAGE = [
    ("study.json", lambda text: text[:-9], "study.json is not valid JSON"),
    ("study.json", lambda text: "[]", "study.json: must be"),
    ("study.json", lambda text: "{}", "study.json: name is missing"),
    ("fits.json", lambda text: '{"families": {"one": {"budgets": 3}}}', "families.one.budgets"),
    ("samples.json", lambda text: "[1]", "samples.json: must be"),
    ("samples.json", lambda text: '{"one": {"texts": [1]}}', "samples.json: one.texts[0]"),
    ("record", lambda text: text.replace('"done"', '"gone"'), "record.json: status"),
    ("record", lambda text: text.replace('"spec"', '"spek"'), "record.json: spec is missing"),
    ("record", lambda text: text.replace('"epochs": ', '"epochs": NaN, "x": '), "finite number"),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGE)
def test_damaged_files_are_named(tmp_path, name, damage, message):
    records = write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,))
    file = tmp_path / name
    if name == "record":
        file = tmp_path / "runs" / records[0]["id"] / "record.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(InputError) as caught:
        read_study_folder(tmp_path)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_folder_that_is_no_study(tmp_path):
    with pytest.raises(
        InputError, match=r"holds no study\.json; give a folder made by isodiff study"
    ):
        build_report(tmp_path)
