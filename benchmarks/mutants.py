"""Deliberate bugs, one at a time, in a copy of the source: does a test notice?

    python benchmarks/mutants.py                  # all of them; writes benchmarks/results/mutants.md
    python benchmarks/mutants.py statistics strata # those whose description contains a word

A survivor is a gap in the tests. A mutant whose text is no longer in the source is stale: rewrite it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "results" / "mutants.md"


class Mutant(NamedTuple):
    """One bug: in `file`, `old` becomes `new`; `tests` should notice."""

    what: str
    file: str
    old: str
    new: str
    tests: str


def read_mutants() -> list[Mutant]:
    """The bugs of benchmarks/mutants/*.toml, a file for each part of the library."""
    files = sorted((ROOT / "benchmarks" / "mutants").glob("*.toml"))
    return [Mutant(**bug) for file in files for bug in tomllib.loads(file.read_text())["bug"]]


def run_tests(tests: list[str], source: Path, *options: str) -> int:
    """pytest's exit code with `source` in place of the checkout's."""
    paths = [f"tests/{name}" for name in tests]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *options, *paths],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        capture_output=True,
    ).returncode


def verdict(mutant: Mutant) -> str:
    """`killed`, `SURVIVED`, or `stale`, in a copy of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return noticed(mutant, copied(Path(folder)))


def copied(folder: Path) -> Path:
    """The source, in a folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(ROOT / "src", folder / "src", ignore=ignored))


def noticed(mutant: Mutant, source: Path) -> str:
    """What the tests say of the bug in a copy of the source."""
    file = source / "isodiff" / mutant.file
    text = file.read_text()
    if mutant.old not in text:
        return "stale"
    file.write_text(text.replace(mutant.old, mutant.new))
    code = run_tests(mutant.tests.split(), source)
    # 1: a test failed. 2: collection failed, which would also kill correct code.
    return {0: "SURVIVED", 1: "killed"}.get(code, f"error {code}")


def main(words: list[str]) -> int:
    """Run the mutants, print a line for each, store the table if all were run."""
    chosen = [m for m in read_mutants() if not words or any(word in m.what for word in words)]
    if not chosen:
        raise SystemExit(f"no mutant's description has any of: {', '.join(words)}")
    every = sorted({name for m in chosen for name in m.tests.split()})
    if run_tests(every, ROOT / "src", "-n", "auto"):
        raise SystemExit("the tests fail without any mutant; mend that first")
    rows = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, outcome in zip(chosen, pool.map(verdict, chosen), strict=True):
            sys.stdout.write(f"{outcome:9} {mutant.what}\n")
            sys.stdout.flush()
            rows.append(f"| {mutant.what} | `{mutant.file}` | `{mutant.tests}` | {outcome} |")
    killed = sum(row.endswith("| killed |") for row in rows)
    sys.stdout.write(f"{killed} of {len(rows)} killed\n")
    if not words:
        head = "| bug | in src/isodiff/ | noticed by tests/ | outcome |\n|---|---|---|---|\n"
        intro = (
            "# Deliberate bugs\n\n`python benchmarks/mutants.py`: each bug alone, in a copy.\n\n"
        )
        summary = f"\n{killed} of {len(rows)} killed.\n"
        REPORT.write_text(intro + head + "\n".join(rows) + "\n" + summary)
    return 0 if killed == len(rows) else 1


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("words", nargs="*", help="only mutants described with one of these")
    raise SystemExit(main(arguments.parse_args().words))
