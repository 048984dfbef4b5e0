"""Run a study: families x budgets x sizes at matched compute, then fit and report."""

from __future__ import annotations

import sys
import time

from isodiff.cli.options import NumReplicates, StudyFile, StudyPlace
from isodiff.cli.verb import Answer, resumable
from isodiff.errors import WorkFailed
from isodiff.report.page import build_report
from isodiff.serialization import to_json
from isodiff.study.runner import run_study
from isodiff.units import clock


@resumable
def run(study: StudyFile, place: StudyPlace, *, bootstrap: NumReplicates = 1000) -> Answer:
    """Run a study: families x budgets x sizes at matched compute, then fit and report.

    Runs that are done are skipped; the same command goes on after an interruption.

    Args:
        bootstrap: Refits for the intervals.
    """
    began = time.monotonic()
    wanted, folder = place.read(study)
    with place.workers_in(folder) as pool:
        failed = run_study(wanted, folder, minutes=place.minutes, pool=pool, bootstrap=bootstrap)
    found = build_report(folder)
    print(f"study took {clock(time.monotonic() - began)}", file=sys.stderr)
    answer = Answer(to_json(found), f"{found.verdict}\n{found.report}")
    if failed:
        others = f", and {len(failed) - 1} more failures" if failed[1:] else ""
        raise WorkFailed(f"{failed[0]}{others}; the same command tries again", *answer)
    return answer
