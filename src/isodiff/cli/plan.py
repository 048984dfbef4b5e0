"""`isodiff plan STUDY.yaml`: the runs of a study, and what they will cost here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.study.plan import corpus_folder, memory, plan, table
from isodiff.study.runner import cores
from isodiff.study.study import read_study
from isodiff.study.workers import Workers


def run(
    study: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    threads: int = 1,
) -> Answer:
    """Print the table of runs of a study: parameters, tokens, epochs, steps, time, memory. Trains nothing.

    Time comes from timing a few steps of each kind here. The corpus is prepared if it is not yet.

    Args:
        study: the study's YAML file.
        out: the study's folder; runs/<name> by default.
        minutes: scale all budgets so that the whole study takes this long on this machine.
        workers: runs trained at the same time; by default as many as cores allow.
        threads: CPU threads of each worker.
    """
    wanted = read_study(study)
    place = out or Path("runs") / wanted.name
    count = workers or max(1, cores() // threads)
    with Workers(count, threads, place) as pool:
        scaled, runs = plan(wanted, corpus_folder(wanted, place), pool, minutes)
    rows = [{**dataclasses.asdict(run), "memory_bytes": memory(run)} for run in runs]
    return Answer({"study": scaled.to_json(), "runs": rows}, table(runs, count))
