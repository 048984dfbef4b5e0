"""A run on the unigram plateau is marked in the page, and the fits say that they left it out."""

from pathlib import Path

from isodiff.record import Record
from isodiff.report.blocks import Figure, Table
from isodiff.report.page import build_report
from isodiff.report.sections.isoflop import isoflop_section
from isodiff.report.sections.runs import runs_section
from isodiff.report.study_folder import read_study_folder
from isodiff.scaling import fit_isoflop, record_points
from isodiff.serialization import read_result
from tests.report.planted import write, write_study
from tests.report.reading import Page


def test_runs_on_the_plateau_are_marked_and_not_fitted(tmp_path: Path) -> None:
    records = [one for one in write_study(tmp_path, fits=False) if one["status"] == "done"]
    losses = sorted(one["results"]["validation"]["nats_per_token"]["value"] for one in records)
    for one in records:  # the worst is just within 5 % of the entropy
        one["results"]["unigram_nats"] = losses[-1] / 0.96
        write(tmp_path / "runs" / one["id"] / "record.json", one)
    files = sorted(tmp_path.glob("runs/*/record.json"))
    points = record_points([read_result(Record, file) for file in files], "runs", flops="exact")
    write(tmp_path / "fits.json", fit_isoflop(points, bootstrap=0).to_json())

    study = read_study_folder(tmp_path)
    stuck = {run.record.id for run in study.runs if run.on_plateau}
    assert stuck and not stuck & {point.id for point in points.points}
    table = runs_section(study).blocks[0]
    assert isinstance(table, Table)
    marked = {
        anchor
        for anchor, row in zip(table.anchors, table.rows, strict=True)
        if any(cell.text == "on plateau" for cell in row)
    }
    assert marked == stuck
    curves = isoflop_section(study).blocks[0]
    assert isinstance(curves, Figure) and "Hollow: runs on the unigram plateau" in curves.caption
    words = Page(Path(build_report(tmp_path).report).read_text(encoding="utf-8")).words
    assert f"{len(stuck)} of {len(records)} runs are left out, as they have not left" in words
