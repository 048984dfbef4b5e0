"""A section as somebody would add one: this file, and a line in SECTIONS."""

from __future__ import annotations

from isodiff.report.blocks import Cell, Column, Section, Table, Text
from isodiff.report.study_folder import StudyFolder


def toy_section(study: StudyFolder) -> Section:
    """How many runs each family has."""
    columns = (Column("family", numeric=False), Column("runs", "finished"))
    done = [run.family for run in study.finished]
    rows = tuple((Cell(name), Cell(f"{done.count(name)} ± 0")) for name in study.families)
    table = Table(columns, rows, title="By family", caption="Counted, <not> fitted.")
    return Section("Toy numbers", [Text(["Many runs.", "Few toys."]), table])
