"""`isodiff report`: one self-contained HTML page from a study's folder."""

from __future__ import annotations

from pathlib import Path

import tyro

from isodiff.cli import Answer


def run(
    studies: tyro.conf.Positional[tuple[Path, ...]],
    out: Path | None = None,
    figures: Path | None = None,
) -> Answer:
    """Write the report of a study: verdict, figures, samples, runs, protocol.

    The page needs no network. Several studies stand one below the other; they are not pooled.

    Args:
        studies: folders made by isodiff study.
        out: the page; report.html in the first folder by default.
        figures: folder for the figures as SVG and PNG; figures beside the page by default.
    """
    from isodiff.report.page import build_report

    value = build_report(studies, out, figures)
    return Answer(value, f"{value['verdict']}\n\n{value['report']}")
