"""`isodiff study STUDY.yaml`: from text to a verdict."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.study.runner import run_study
from isodiff.study.study import read_study
from isodiff.units import clock


def run(
    study: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    threads: int = 1,
    bootstrap: int = 1000,
) -> Answer:
    """Run a study: families x budgets x sizes at matched compute, then fit and report.

    Runs that are done are skipped; the same command goes on after an interruption.

    Args:
        study: the study's YAML file.
        out: its folder; runs/<name> by default.
        minutes: scale all budgets so that the whole study takes this long on this machine.
        workers: runs trained at the same time; by default as many as cores allow.
        threads: CPU threads of each worker.
        bootstrap: refits for the intervals.
    """
    began = time.monotonic()
    wanted = read_study(study)
    place = out or Path("runs") / wanted.name
    answer = run_study(
        wanted, place, minutes=minutes, workers=workers, threads=threads, bootstrap=bootstrap
    )
    print(f"study took {clock(time.monotonic() - began)}", file=sys.stderr)
    return Answer(answer, f"{answer['verdict']}\n{answer['report']}")
