"""The library stays small enough to be read: lines per file, files per package."""

from __future__ import annotations

import statistics

from source_tree import ROOT, Package

LIBRARY = Package(ROOT / "src" / "isodiff")
LINES = {m: len(path.read_text("utf-8").splitlines()) for m, path in LIBRARY.files.items()}

# The aims, and what is still allowed above them (docs/roadmap.md); at the end both columns are equal.
LONGEST = 300
MEDIAN = range(60, 151)
LIBRARY_LINES, LIBRARY_LINES_ALLOWED = 24_362, 37_200
PACKAGES = {"scaling": (30, 5_300), "report": (24, 3_000)}
PACKAGES_ALLOWED = {"scaling": (44, 8_400), "report": (25, 3_400)}


def test_no_file_is_long() -> None:
    longest = {module: lines for module, lines in LINES.items() if lines > LONGEST}
    assert not longest, f"over {LONGEST} lines: {longest}"


def test_the_median_file_is_neither_a_fragment_nor_a_heap() -> None:
    files = [lines for module, lines in LINES.items() if lines > 1]
    assert statistics.median_low(files) in MEDIAN


def test_packages_and_library_keep_their_sizes() -> None:
    figures = {}
    for package in PACKAGES:
        inside = [LINES[module] for module in LIBRARY.under(package)]
        figures[package] = (len(inside), sum(inside))
    total = sum(LINES.values())
    for package, (files, lines) in PACKAGES_ALLOWED.items():
        counted = figures[package]
        assert counted[0] <= files and counted[1] <= lines, f"{figures}, aims {PACKAGES}"
    assert total <= LIBRARY_LINES_ALLOWED, f"{total} lines, aim {LIBRARY_LINES}"
