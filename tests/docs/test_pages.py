"""What every page says of files is true: paths in code spans exist. `make docs` checks links and anchors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "reproductions/**/*.md", "benchmarks/results/*.md")
    for path in sorted(ROOT.glob(pattern))
    if path.name not in ("CHANGELOG.md", "mutants.md")  # they speak of files as they were
]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_paths_exist(page: Path) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w-]+\.(?:py|md|yaml|toml))`", text))
    named |= set(re.findall(r"`python ((?:[\w.-]+/)+[\w-]+\.py)", text))
    bases = (ROOT, ROOT / page.parent, ROOT / "src" / "isodiff", ROOT / "tests")
    missing = {path for path in named if not any((base / path).exists() for base in bases)}
    assert not missing, missing
