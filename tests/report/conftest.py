"""One whole study and its report, shared by the tests that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from isodiff.report.page import BuiltReport, build_report
from tests.report.planted import write_study


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict], BuiltReport]:
    """A study's folder, its records, and what `build_report` answered."""
    folder = tmp_path_factory.mktemp("study")
    records = write_study(folder, frontier=True)
    return folder, records, build_report(folder)
