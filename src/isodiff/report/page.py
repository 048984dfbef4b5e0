"""The report: one HTML page that needs no network and no script, and its figures as SVG and PNG.

Figures are inline SVG; what may enter the page and how is said in document.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from isodiff.errors import InputError
from isodiff.files import write_text
from isodiff.report import render
from isodiff.report.benchmarks import benchmarks_table, protocols, read_benchmarks
from isodiff.report.document import document
from isodiff.report.figures import FIGURES, Figure
from isodiff.report.folder import StudyFolder, read_study
from isodiff.report.frontier_tables import points_table, wins_table
from isodiff.report.laws_table import laws_table
from isodiff.report.panels import specification
from isodiff.report.protocol import protocol, provenance
from isodiff.report.scaling import scaling
from isodiff.report.schema import Samples
from isodiff.report.tables import Part, Table, runs_table
from isodiff.report.theme import PALETTE
from isodiff.report.verdict import Verdict, verdict
from isodiff.scaling.fitting.bootstrap import LEVEL


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as the page shows it: two inline drawings, or why there are none."""

    figure: Figure
    caption: str
    wide: Markup | None = None
    narrow: Markup | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """One study of the page; `key` sets its anchors apart from those of other studies."""

    key: str
    study: StudyFolder
    verdict: Verdict
    figures: tuple[Drawn, ...]
    laws: Table | None
    scaling: tuple[Part, ...]
    frontier: tuple[Table, Table] | None
    benchmarks: Table | None
    scored_by: list[str]
    runs: Table | None
    samples: tuple[tuple[str, int | None, Samples], ...]
    protocol: list[tuple[str, str]]
    provenance: list[tuple[str, str]]
    asked: str


def build_report(
    study_dir: Path | Sequence[Path], out: Path | None = None, figures: Path | None = None
) -> dict[str, Any]:
    """Write the report of a study, or of several one below the other.

    Args:
        study_dir: a study's folder, or several.
        out: the page; report.html in the first folder by default.
        figures: folder of the SVG and PNG files; `figures` beside the page by default. Of several
            studies each has a folder of its own in it.

    Returns:
        `report` (path), `verdict` (text), `figures` (paths), `studies` (verdicts as JSON).

    Raises:
        InputError: no study's folder, or a damaged file in it.
    """
    folders = [study_dir] if isinstance(study_dir, Path) else list(study_dir)
    if not folders:
        raise InputError("nothing to report; give the folder of a study")
    studies = [read_study(folder) for folder in folders]
    page = out or folders[0] / "report.html"
    place = figures or page.parent / "figures"
    written: list[Path] = []
    sections = []
    for i, study in enumerate(studies):
        stem = place if len(studies) == 1 else place / f"{i + 1}"
        drawn = tuple(draw(study, figure, stem, f"s{i + 1}", written) for figure in FIGURES)
        sections.append(section(study, f"s{i + 1}", drawn, page.parent))
    write_text(page, html(sections))
    return {
        "report": str(page),
        "verdict": "\n\n".join(one.verdict.text for one in sections),
        "figures": [str(path) for path in written],
        "studies": [one.verdict.to_json() for one in sections],
    }


def draw(study: StudyFolder, figure: Figure, place: Path, key: str, written: list[Path]) -> Drawn:
    """Draw a figure at both widths and write the wide one under `place`."""
    wide, narrow = figure.draw(study, False), figure.draw(study, True)
    if wide is None or narrow is None:
        return Drawn(figure, figure.missing(study))
    drawing, small = render.svg(specification(wide)), render.svg(specification(narrow))
    written += render.write(drawing, place / figure.name)
    return Drawn(
        figure,
        figure.caption(study),
        Markup(render.inline(drawing, f"{key}-{figure.name}-wide")),
        Markup(render.inline(small, f"{key}-{figure.name}-narrow")),
    )


def section(study: StudyFolder, key: str, figures: tuple[Drawn, ...], base: Path) -> Section:
    """Everything the page says of one study."""
    benchmarks = read_benchmarks(study)
    places = {family: i for i, family in enumerate(study.families)}
    samples = sorted(
        ((name, places.get(name), found) for name, found in study.samples.items()),
        key=lambda entry: (len(places) if entry[1] is None else entry[1], entry[0]),
    )
    return Section(
        key=key,
        study=study,
        verdict=verdict(study),
        figures=figures,
        laws=laws_table(study),
        scaling=scaling(study),
        frontier=frontier_tables(study),
        benchmarks=benchmarks_table(benchmarks),
        scored_by=protocols(benchmarks),
        runs=runs_table(study, base),
        samples=tuple(samples),
        protocol=protocol(study),
        provenance=provenance(study),
        asked=json.dumps(study.study.study, indent=2, ensure_ascii=False),
    )


def frontier_tables(study: StudyFolder) -> tuple[Table, Table] | None:
    """Who wins which throughputs, and every point; None where nothing was measured."""
    found = study.frontier
    return (wins_table(found), points_table(found)) if found and found.points else None


def html(sections: Sequence[Section]) -> str:
    """The page."""
    return document(
        "page",
        "page",
        sections=sections,
        title=", ".join(one.study.study.name for one in sections),
        num_colors=len(PALETTE),
        level=f"{LEVEL:.0%}",
    )
