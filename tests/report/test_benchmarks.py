"""The section on benchmarks: families side by side, with intervals; nothing where nothing was scored."""

import json
from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.report.blocks import Table
from isodiff.report.page import build_report
from isodiff.report.sections.benchmarks import benchmarks_section
from isodiff.report.study_folder import StudyFolder, read_study_folder
from tests.report.planted import write, write_study
from tests.report.reading import Page

CHOICE = {
    "task": "piqa",
    "kind": "bound",
    "accuracy": 0.512,
    "accuracy_interval": [0.443, 0.58],
    "accuracy_per_byte": 0.52,
    "chance": 0.5,
    "undecided": 3,
    "num_items": 200,
    "share_too_long": 0.123,
    "protocol": "bound, at most 128 draws per option, common noise",
    "items": [{"line": 1}],
}
WRITTEN = {"accuracy": 0.015, "accuracy_interval": [0.004, 0.05], "num_items": 128}
CLOZE = {
    "kind": "exact",
    "accuracy": 0.0,
    "accuracy_interval": [0.0, 0.019],
    "perplexity": 5310.4,
    "num_items": 200,
}
LOSS = {"kind": "bound", "bits_per_byte": 1.913, "bits_per_byte_se": 0.012}


def benchmarks_table(study: StudyFolder) -> Table:
    section = benchmarks_section(study)
    assert section is not None
    (table,) = section.blocks
    assert isinstance(table, Table)
    return table


@pytest.fixture
def study(tmp_path) -> Path:
    """Two families with results, the others without."""
    write_study(tmp_path, budgets=(1e11,))
    runs = {run.family: run.file.parent for run in read_study_folder(tmp_path).runs}
    write(runs["masked"] / "tasks" / "piqa.json", CHOICE)
    write(runs["masked"] / "tasks" / "gsm8k.json", WRITTEN)
    write(runs["autoregressive"] / "tasks" / "lambada.json", CLOZE)
    write(runs["autoregressive"] / "tasks" / "novels.json", LOSS)
    return tmp_path


def test_runs_and_tasks_side_by_side(study):
    table = benchmarks_table(read_study_folder(study))
    names = [column.name for column in table.columns]
    assert names == ["family", "budget", "size", "gsm8k", "lambada", "novels", "piqa"]
    assert table.columns[-1].unit == "chance 50.0%" and table.columns[3].unit == ""
    exact, bound = table.rows
    assert [row[0].text for row in table.rows] == ["autoregressive", "masked"]
    assert exact[4].text == "0.0% [0.0%, 1.9%]"
    assert exact[4].note == "perplexity = 5310, 200 items"
    assert exact[5].text == "≤ 1.913 ± 0.012 bits per byte"
    assert exact[3].text == exact[6].text == bound[4].text == "–"
    assert bound[6].text == "51.2% [44.3%, 58.0%]"
    assert bound[6].note == "per byte 52.0%, 200 items, 12.3% too long, 3 undecided"
    assert bound[3].text == "1.5% [0.4%, 5.0%]" and bound[3].key == 0.015


def test_fine_tuned_runs_stand_after_the_others(study):
    (record,) = [run.record.id for run in read_study_folder(study).runs if run.family == "masked"][
        :1
    ]
    one = json.loads((study / "runs" / record / "record.json").read_text()) | {"id": "0123456789ab"}
    write(study / "tuned" / "0123456789ab" / "record.json", one)
    write(study / "tuned" / "0123456789ab" / "tasks" / "gsm8k.json", WRITTEN)
    found = read_study_folder(study)
    table = benchmarks_table(found)
    assert len(table.rows) == 3
    assert (table.rows[-1][0].text, table.rows[-1][0].note) == ("masked", "fine-tuned")
    assert "0123456789ab" not in {run.record.id for run in found.runs}
    assert "fine-tuned" in Page(Path(build_report(study).report).read_text()).words


def test_the_section_stands_in_the_page(study):
    page = Page(Path(build_report(study).report).read_text())
    headings = [text for tag, text in page.texts if tag == "h2"]
    assert headings.index("Benchmarks") == headings.index("Samples") - 1
    assert "51.2% [44.3%, 58.0%]" in page.words
    assert "at most 128 draws per option, common noise" in page.words


def test_no_section_where_nothing_was_scored(tmp_path):
    write_study(tmp_path, budgets=(1e11,))
    assert "Benchmarks" not in Page(Path(build_report(tmp_path).report).read_text()).words
    assert benchmarks_section(read_study_folder(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps(CHOICE | {"accuracy": 51.2}), "accuracy must be at most"),
        ("{", "is not valid JSON"),
    ],
)
def test_a_damaged_result_is_named(study, content, message):
    (file,) = study.glob("runs/*/tasks/piqa.json")
    file.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        build_report(study)
    assert str(file) in str(error.value)


def test_which_class_was_taken_for_which(study):
    """A table below the others for every run that classified, none for the rest."""
    run = next(one for one in read_study_folder(study).runs if one.family == "masked")
    mistakes = {"classes": ["cat", "dog"], "confusion": [[7, 2], [0, 5]], "undecided": 1}
    write(run.file.parent / "tasks" / "pets.json", WRITTEN | mistakes)
    section = benchmarks_section(read_study_folder(study))
    assert section is not None
    _, table = section.blocks
    assert isinstance(table, Table) and table.fold == (
        "pets: which class masked at 1.0e11 FLOPs took for which"
    )
    assert [column.name for column in table.columns] == ["right", "→ cat", "→ dog"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["cat", "7", "2"],
        ["dog", "·", "5"],
    ]
    assert "1 of them undecided" in table.caption
    build_report(study)
    assert "took for which" in (study / "report.html").read_text("utf-8")
