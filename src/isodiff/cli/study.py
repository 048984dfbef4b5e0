"""Run a study: families x budgets x sizes at matched compute, then fit and report."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from isodiff.cli.options import Folder, Minutes, Number, StudyFile, Workers, WorkerThreads
from isodiff.cli.verb import Answer, resumable
from isodiff.report.page import build_report
from isodiff.serialization import to_json
from isodiff.study.runner import run_study
from isodiff.study.study import read_study
from isodiff.units import clock


@resumable
def run(
    study: StudyFile,
    *,
    out: Folder | None = None,
    minutes: Minutes | None = None,
    workers: Workers | None = None,
    threads: WorkerThreads = 1,
    bootstrap: Number = 1000,
) -> Answer:
    """Run a study: families x budgets x sizes at matched compute, then fit and report.

    Runs that are done are skipped; the same command goes on after an interruption.

    Args:
        out: The study's folder; runs/<name> by default.
        minutes: Scale all budgets so that the whole study takes this long on this machine.
        bootstrap: Refits for the intervals.
    """
    began = time.monotonic()
    wanted = read_study(study)
    place = out or Path("runs") / wanted.name
    run_study(wanted, place, minutes=minutes, workers=workers, threads=threads, bootstrap=bootstrap)
    found = build_report(place)
    print(f"study took {clock(time.monotonic() - began)}", file=sys.stderr)
    return Answer(to_json(found), f"{found.verdict}\n{found.report}")
