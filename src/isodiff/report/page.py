"""The report of studies: their sections as one HTML page by a template, its figures as SVG and PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from isodiff.errors import InputError
from isodiff.files import storing, write_text
from isodiff.report.blocks import Figure, Section
from isodiff.report.charts import inline, specification, svg, write_drawing
from isodiff.report.sections.benchmarks import benchmarks_section
from isodiff.report.sections.frontier import frontier_section
from isodiff.report.sections.isoflop import isoflop_section
from isodiff.report.sections.protocol import protocol_section, versions_section
from isodiff.report.sections.runs import runs_section
from isodiff.report.sections.samples import samples_section
from isodiff.report.sections.scaling import scaling_section
from isodiff.report.sections.training import training_section
from isodiff.report.sections.verdict import Verdict, study_verdict, verdict_section
from isodiff.report.study_folder import StudyFolder, read_study_folder
from isodiff.report.text import terminal
from isodiff.report.theme import PALETTE, document

SECTIONS: list[Callable[[StudyFolder], Section | None]] = [
    verdict_section,
    isoflop_section,
    scaling_section,
    frontier_section,
    training_section,
    benchmarks_section,
    samples_section,
    runs_section,
    protocol_section,
    versions_section,
]
"""Each says what it finds in a study's folder, or None where it has no place in this report."""


@dataclass(frozen=True, slots=True)
class _Article:
    """One study of the page; `key` sets its anchors apart from those of other studies.

    `families` are those that have a color, by their order; `drawings` the SVG of each figure by its name,
    for a page and for a telephone.
    """

    key: str
    title: str
    description: str
    families: Sequence[str]
    sections: Sequence[Section]
    drawings: Mapping[str, tuple[Markup, Markup]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltReport:
    """Where the page and its figures are, and what each study found: for people, and as a result."""

    report: str
    verdict: str
    figures: tuple[str, ...]
    studies: tuple[Verdict, ...]


def build_report(
    study_dir: Path | Sequence[Path], out: Path | None = None, figures: Path | None = None
) -> BuiltReport:
    """Write the report of a study, or of several one below the other.

    Args:
        study_dir: a study's folder, or several.
        out: the page; report.html in the first folder by default.
        figures: folder of the SVG and PNG files; `figures` beside the page by default. Of several
            studies each has a folder of its own in it.

    Raises:
        InputError: no study's folder, or a damaged file in it.
    """
    folders = [study_dir] if isinstance(study_dir, Path) else list(study_dir)
    if not folders:
        raise InputError("nothing to report; give the folder of a study")
    studies = [read_study_folder(folder) for folder in folders]
    page = out or folders[0] / "report.html"
    place = figures or page.parent / "figures"
    written: list[Path] = []
    articles = [
        _article(study, f"s{i}", place if len(studies) == 1 else place / f"{i}", written)
        for i, study in enumerate(studies, 1)
    ]
    with storing():
        write_text(page, _html(articles, page.parent))
    return BuiltReport(
        report=str(page),
        verdict="\n\n".join(map(verdict_text, studies)),
        figures=tuple(map(str, written)),
        studies=tuple(map(study_verdict, studies)),
    )


def report_sections(study: StudyFolder) -> list[Section]:
    """All that a report says of a study, in order."""
    return [section for make in SECTIONS if (section := make(study)) is not None]


def verdict_text(study: StudyFolder) -> str:
    """The verdict of a study for a terminal."""
    blocks = verdict_section(study).blocks
    return terminal(study.study.name, *(one for one in blocks if not isinstance(one, Figure)))


def _article(study: StudyFolder, key: str, place: Path, written: list[Path]) -> _Article:
    """Every section of a study; its figures are drawn, and the wide ones written under `place`."""
    sections = report_sections(study)
    drawings = {}
    for figure in (block for section in sections for block in section.blocks):
        if isinstance(figure, Figure):
            wide, narrow = svg(specification(figure.wide)), svg(specification(figure.narrow))
            written += write_drawing(wide, place / figure.name)
            drawings[figure.name] = (
                Markup(inline(wide, f"{key}-{figure.name}-wide")),
                Markup(inline(narrow, f"{key}-{figure.name}-narrow")),
            )
    about = study.study
    return _Article(key, about.name, about.description, study.families, sections, drawings)


def _html(articles: Sequence[_Article], base: Path) -> str:
    """The page; links to files lead from `base`, its folder."""

    def link(file: Path) -> str:
        return quote(Path(os.path.relpath(file, base)).as_posix())

    title = ", ".join(article.title for article in articles)
    about = {"title": title, "num_colors": len(PALETTE), "link": link}
    return document("page", "page", articles=articles, **about)
