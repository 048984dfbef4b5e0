"""Write one self-contained HTML page from a study's folder."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional

from isodiff.cli.options import File, Folder
from isodiff.cli.verb import Answer


def run(
    studies: Annotated[tuple[Folder, ...], Positional],
    *,
    out: File | None = None,
    figures: Folder | None = None,
) -> Answer:
    """Write the report of a study: verdict, figures, samples, runs, protocol.

    The page needs no network. Several studies stand one below the other; they are not pooled.

    Args:
        studies: Folders made by isodiff study.
        out: The page; report.html in the first folder by default.
        figures: Folder for the figures as SVG and PNG; figures beside the page by default.
    """
    from isodiff.report.page import build_report
    from isodiff.serialization import to_json

    found = build_report(studies, out, figures)
    return Answer(to_json(found), f"{found.verdict}\n\n{found.report}")
