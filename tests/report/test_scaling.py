"""The section on scaling: every law that was fitted, conventions, ten times the budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isodiff.errors import InputError
from isodiff.report.blocks import Table, Text
from isodiff.report.page import build_report
from isodiff.report.sections.extrapolation import study_setting
from isodiff.report.sections.scaling import scaling_section
from isodiff.report.study_folder import read_study_folder
from isodiff.study.laws import fit_all
from tests.report.planted import write, write_study
from tests.report.reading import Page

FAMILIES = {"autoregressive": 1.0, "masked": 2.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two families with every law that a study fits."""
    path = tmp_path_factory.mktemp("study")
    write_study(path, families=FAMILIES, fits=False)
    fit_all(path, bootstrap=40)
    return path


def read_parts(folder: Path) -> dict[str, Table | Text]:
    """The tables of the section by title, or what stands in their places; the list under the plan."""
    blocks = scaling_section(read_study_folder(folder)).blocks
    return {b.title or "lines": b for b in blocks if isinstance(b, Table | Text)}


@pytest.fixture(scope="module")
def parts(folder: Path) -> dict[str, Table | Text]:
    return read_parts(folder)


def cells(part: Table | Text, row: int) -> list[str]:
    assert isinstance(part, Table)
    return [cell.text for cell in part.rows[row]]


def why(part: Table | Text) -> str:
    assert isinstance(part, Text) and part.style == "missing"
    return " ".join(part.lines)


def law(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


def test_every_part_is_there_in_order(parts: dict[str, Table | Text]) -> None:
    assert list(parts) == [
        "lines",
        "Compute multipliers",
        "The parametric law E + A/N^α + B/D^β",
        "What the families have in common",
        "Repeated text",
        "Conventions",
        "At 10 times the largest budget",
    ]
    assert all(part.rows for part in parts.values() if isinstance(part, Table))
    assert sum(isinstance(part, Table) for part in parts.values()) == 6


def test_constants_are_those_of_the_fit(folder: Path, parts: dict[str, Table | Text]) -> None:
    found = law(folder, "parametric")["families"]
    part = parts["The parametric law E + A/N^α + B/D^β"]
    for row, name in enumerate(FAMILIES):
        family = found[name]
        low, high = family["intervals"]["E"]
        shown = cells(part, row)
        assert shown[:2] == [name, f"{family['E']:.3f} [{low:.3f}, {high:.3f}]"]
        assert shown[2].startswith(f"{family['alpha']:.3f} [")
        assert shown[3].startswith(f"{family['beta']:.3f} [")
        assert shown[4].startswith(f"{family['exponents']['N']:.3f} [")
        assert shown[6] == f"{family['validation']['rmse']:.2%}"
    # planted: 1.6 + 30 / N^.36 + 90 / D^.33
    assert found["autoregressive"]["E"] == pytest.approx(1.6, abs=0.1)


def test_models_conventions_and_repeats_are_those_of_the_fits(
    folder: Path, parts: dict[str, Table | Text]
) -> None:
    models = law(folder, "parametric")["comparison"]["models"]
    part = parts["What the families have in common"]
    for row, model in enumerate(models):
        assert cells(part, row)[1:3] == [str(model["parameters"]), f"{model['delta_aicc']:+.1f}"]
    rows = law(folder, "fits")["conventions"]["rows"]
    assert {(row["flops"], row["parameters"]) for row in rows} >= {
        ("exact", "non_embedding"),
        ("6ND", "total"),
    }
    for index, row in enumerate(rows):
        numbers = row["families"]["masked"]
        shown = cells(parts["Conventions"], index)
        assert shown[0] == row["flops"] and shown[3] == f"{numbers['N_exponent']:.3f}"
    worth = law(folder, "repeated")["families"]["masked"]
    assert cells(parts["Repeated text"], 1)[:2] == ["masked", f"{worth['max_epochs']:.3g}"]
    assert worth["max_epochs"] > 1


def test_the_plan_is_ten_times_the_largest_budget_as_fast_as_here(
    folder: Path, parts: dict[str, Table | Text]
) -> None:
    part, lines = parts["At 10 times the largest budget"], parts["lines"]
    assert isinstance(lines, Text)
    assert "1.0e14 FLOPs and the study's text of 2.1M tokens" in part.caption
    assert lines.lines[0] == "Recommended: autoregressive."
    assert any("as fast as its largest runs here" in line for line in lines.lines)
    assert not any("h100" in line for line in lines.lines)
    study = read_study_folder(folder)
    speed = study_setting(study).measured["masked"]
    own = [run.record for run in study.finished if run.family == "masked" and run.budget == 1e13]
    assert speed == pytest.approx(sum(r.flops.exact or 0 for r in own) / len(own) / 31.4, rel=0.01)
    assert (study_setting(study).length, study_setting(study).vocab_size) == (128, 1024)
    (time,) = {cells(part, 0)[5][:5]}
    assert time == "5 min"  # 314 seconds
    assert float(cells(part, 1)[3]) > 1  # epochs


def test_the_page_shows_it_all(
    folder: Path, tmp_path: Path, parts: dict[str, Table | Text]
) -> None:
    words = Page(Path(build_report(folder, tmp_path / "page.html").report).read_text()).words
    for part in parts.values():
        assert part.title in words
        if isinstance(part, Table):
            assert all(cell.text in words for row in part.rows for cell in row)
        else:
            assert all(line in words for line in part.lines)


def test_a_study_without_the_other_laws_says_how_to_have_them(tmp_path: Path) -> None:
    write_study(tmp_path, families=FAMILIES, budgets=(1e11, 1e12))
    found = read_parts(tmp_path)
    titles = {"The parametric law E + A/N^α + B/D^β", "At 10 times the largest budget"}
    titles.add("Compute multipliers")
    assert set(found) == titles | {"lines"}
    missing = why(found["The parametric law E + A/N^α + B/D^β"])
    assert "isodiff fit RUNS --law parametric --out" in missing
    # The IsoFLOP law alone knows nothing of repeats.
    assert isinstance(found["At 10 times the largest budget"], Table)


def test_laws_that_could_not_be_fitted_say_why(tmp_path: Path) -> None:
    write_study(tmp_path, families={"one": 1.0}, budgets=(1e11,), fits=False)
    fit_all(tmp_path, bootstrap=5)
    found = read_parts(tmp_path)
    first = why(found["The parametric law E + A/N^α + B/D^β"])
    assert "a law of 5 parameters needs 6" in first
    last = why(found["At 10 times the largest budget"])
    assert "it needs two accepted budgets" in last


def test_a_law_of_another_version_is_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    write_study(tmp_path, families=FAMILIES, budgets=(1e11, 1e12))
    found = law(folder, "parametric")
    del found["families"]["masked"]["intervals"], found["checksum"]
    write(tmp_path / "parametric.json", found)
    said = why(read_parts(tmp_path)["The parametric law E + A/N^α + B/D^β"])
    assert "parametric.json cannot be read" in said and "intervals is missing" in said
    assert "fit it again, or delete it" in said


def test_a_damaged_law_is_one_clear_line(tmp_path: Path) -> None:
    write_study(tmp_path, families=FAMILIES, budgets=(1e11, 1e12))
    write(tmp_path / "parametric.json", [1])
    with pytest.raises(
        InputError, match=r"parametric\.json is no parametric law; restore or delete"
    ):
        read_study_folder(tmp_path)
