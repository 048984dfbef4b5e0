"""`isodiff plan`: the runs of a study and what they will cost here; or a budget by known laws."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from isodiff.cli import Answer
from isodiff.errors import InputError


def run(
    study: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    budget: float | None = None,
    law: str | None = None,
    data_limit: float | None = None,
    out: Path | None = None,
    minutes: float | None = None,
    workers: int | None = None,
    threads: int = 1,
) -> Answer:
    """Plan a study, or a budget. Trains nothing.

    With a study's file: the table of its runs: parameters, tokens, epochs, steps, time, memory. Time comes
    from timing a few steps of each kind here; the corpus is prepared if it is not yet.
    With --budget and --law: per family the best size, tokens and expected loss, and which to train.

    Args:
        study: the study's YAML file.
        budget: training FLOPs, in the law's convention.
        law: a file that isodiff fit --out wrote, or published:ARXIV (2602.15014, 2510.03280, 2512.10858,
            2203.15556, 2305.16264).
        data_limit: tokens of text that there are; beyond them text repeats.
        out: the study's folder; runs/<name> by default.
        minutes: scale all budgets so that the whole study takes this long on this machine.
        workers: runs trained at the same time; by default as many as cores allow.
        threads: CPU threads of each worker.
    """
    if study is None:
        return by_law(budget, law, data_limit)
    if budget is not None or law is not None or data_limit is not None:
        raise InputError(
            "--budget, --law and --data-limit plan without a study; leave one of them out"
        )
    return of_study(study, out, minutes, workers, threads)


def by_law(budget: float | None, law: str | None, data_limit: float | None) -> Answer:
    """What laws say of a budget."""
    if budget is None or law is None:
        raise InputError(
            "plan what? give a study.yaml, or --budget FLOPs with --law laws.json (or published:2602.15014)"
        )
    from isodiff.report.plan_text import plan_text
    from isodiff.scaling.known_laws import known_laws
    from isodiff.scaling.planning import plan

    value = plan(known_laws(law), budget, data_limit)
    return Answer(value, plan_text(value))


def of_study(
    study: Path, out: Path | None, minutes: float | None, workers: int | None, threads: int
) -> Answer:
    """The runs of a study, timed here."""
    from isodiff.study.plan import corpus_folder, memory, plan, table
    from isodiff.study.runner import cores
    from isodiff.study.study import read_study
    from isodiff.study.workers import Workers

    wanted = read_study(study)
    place = out or Path("runs") / wanted.name
    count = workers or max(1, cores() // threads)
    with Workers(count, threads, place) as pool:
        scaled, runs = plan(wanted, corpus_folder(wanted, place), pool, minutes)
    rows = [{**dataclasses.asdict(run), "memory_bytes": memory(run)} for run in runs]
    return Answer({"study": scaled.to_json(), "runs": rows}, table(runs, count))
