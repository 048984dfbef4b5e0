"""Running a study: what is not done is done, in parallel, and nothing done is done twice.

`out/plan.json` fixes the runs (with budgets already scaled to the clock), so a study that was killed goes on
with the same runs, and each run from its own checkpoint.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.files import exclusive, read_json, write_json
from isodiff.record import identity, provenance, read_records
from isodiff.study.board import Board
from isodiff.study.frontier import expected_seconds, measure_frontier
from isodiff.study.laws import fit_all
from isodiff.study.plan import Planned, corpus_folder, plan
from isodiff.study.study import Study
from isodiff.study.workers import Job, JobFailed, Workers
from isodiff.units import clock

RESERVE_SECONDS = 25.0  # for samples, fits and the report; the frontier's time is added


def run_study(
    study: Study,
    out: Path,
    *,
    minutes: float | None,
    workers: int | None = None,
    threads: int = 1,
    bootstrap: int = 1000,
) -> dict[str, Any]:
    """Everything from text to report; returns the verdict and the report's path.

    Raises:
        InputError: the study cannot run as written, or `out` holds another one.
    """
    began = time.monotonic()
    count = workers or max(1, cores() // threads)
    with exclusive(out), Workers(count, threads, out) as pool:
        corpus = corpus_folder(study, out)
        runs = settled(study, out, corpus, pool, minutes, began)
        train_all(runs, out, corpus, pool)
        sample_best(study, out, pool)
        measure_samplers(study, out, pool)
        write_study(study, out, corpus, runs, minutes, time.monotonic() - began)
    fit_all(out, bootstrap)
    from isodiff.report.page import build_report

    return build_report(out)


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settled(
    study: Study, out: Path, corpus: Path, pool: Workers, minutes: float | None, began: float
) -> list[Planned]:
    """The runs of `out/plan.json`, made now if this is the first start."""
    wanted = identity({"study": study.to_json(), "minutes": minutes})
    file = out / "plan.json"
    if file.exists():
        found = read_json(file)
        if found["id"] != wanted:
            raise InputError(
                f"{out} holds another study (or the same with other settings); choose another --out, "
                f"or delete {out} to start again"
            )
        return [Planned(**run) for run in found["runs"]]
    left = None
    if minutes is not None:
        # What has passed so far is part of what the user allowed.
        after = RESERVE_SECONDS + expected_seconds(study, pool)
        left = minutes - (time.monotonic() - began + after) / 60
        if left <= 0:
            raise InputError(
                f"--minutes {minutes:g} is too little: {clock(after)} of it go to samples, frontier and "
                "report; allow more, or fewer samplers (frontier.steps, frontier: null)"
            )
    scaled, runs = plan(study, corpus, pool, left)
    value = {"id": wanted, "study": scaled.to_json(), "minutes": minutes}
    write_json(file, {**value, "runs": [dataclasses.asdict(run) for run in runs]})
    return runs


def train_all(runs: Sequence[Planned], out: Path, corpus: Path, pool: Workers) -> None:
    """Train every run that has no record yet, longest first; a failed run is recorded and passed over."""
    waiting = sorted((r for r in runs if not done(out, r)), key=lambda r: -r.seconds)
    if not waiting:
        return
    jobs: list[Job] = [
        {
            "do": "train",
            "spec": r.spec,
            "folder": str(out / "runs" / r.id),
            "corpus": str(corpus),
            "branches": [branch.spec for branch in waiting if branch.trunk == r.id],
            "flops": r.trained_flops,
        }
        for r in waiting
    ]
    board = Board(runs, waiting)
    unfinished = {r.id for r in waiting}

    def finished(index: int, answer: Any) -> None:
        run = waiting[index]
        unfinished.discard(run.id)
        if isinstance(answer, Exception):
            write_json(out / "runs" / run.id / "record.json", failure(run, str(answer)))
            board.finish(index, "failed", str(answer))
        else:
            board.finish(index, answer["status"], answer["message"])

    def ready(index: int) -> bool:
        """A branch waits until its trunk has brought it as far as its cooldown, or has ended."""
        run = waiting[index]
        return run.trunk not in unfinished or begun(out, run)

    pool.share(jobs, finished, board.advance, ready)
    board.close()


def begun(out: Path, run: Planned) -> bool:
    """Whether the run has a checkpoint to go on from."""
    return any((out / "runs" / run.id / "checkpoint").glob("step_*"))


def done(out: Path, run: Planned) -> bool:
    """Whether the run has a record that is not a failure."""
    file = out / "runs" / run.id / "record.json"
    return file.exists() and read_json(file)["status"] != "failed"


def failure(run: Planned, message: str) -> dict[str, Any]:
    """The record of a run that ended without one."""
    return {
        "id": run.id,
        "status": "failed",
        "message": message,
        "spec": run.spec,
        "parameters": {"non_embedding": run.parameters},
        "flops": {"planned": run.spec["budget"]},
        "results": {},
        "curve": [],
        "provenance": provenance(),
    }


def sample_best(study: Study, out: Path, pool: Workers) -> None:
    """Texts from each family's best run at its largest budget, into samples.json."""
    best: dict[str, dict[str, Any]] = {}
    for record in read_records([out / "runs"]):
        if record["status"] != "done":
            continue
        name = record["spec"]["family"]["name"]
        rank = (-record["spec"]["budget"], nats(record))
        if name not in best or rank < (-best[name]["spec"]["budget"], nats(best[name])):
            best[name] = record
    found = {}
    for name, record in sorted(best.items()):
        job = {
            "do": "sample",
            "folder": str(out / "runs" / record["id"]),
            "texts": study.sampling.texts,
            "steps": study.sampling.steps,
        }
        try:
            answer = pool.ask(job)
        except (InputError, JobFailed) as error:
            print(f"no samples of {name}: {error}", file=sys.stderr)
            continue
        sampler = f"ancestral, {answer['nfe']} network evaluations"
        found[name] = {"run": record["id"], "sampler": sampler, **answer}
    write_json(out / "samples.json", found)


def measure_samplers(study: Study, out: Path, pool: Workers) -> None:
    """frontier.json; a study that cannot have one says why instead."""
    if study.frontier is None:
        return
    try:
        measure_frontier([out / "runs"], out, study.frontier, pool)
    except InputError as error:
        print(f"no frontier: {error}", file=sys.stderr)
        write_json(out / "frontier.json", {"reason": str(error)})


def nats(record: dict[str, Any]) -> float:
    """Validation nats per token."""
    return record["results"]["validation"]["nats_per_token"]["value"]


def write_study(
    study: Study,
    out: Path,
    corpus: Path,
    runs: Sequence[Planned],
    minutes: float | None,
    wall_seconds: float,
) -> None:
    """study.json: what the report says about the study as a whole."""
    from isodiff.data.manifest import read_manifest

    manifest = read_manifest(corpus)
    train = manifest.splits["train"]
    ended = [
        record["flops"] for record in read_records([out / "runs"]) if "exact" in record["flops"]
    ]
    value = {
        "name": study.name,
        "description": study.description,
        "id": read_json(out / "plan.json")["id"],
        "minutes": minutes,
        "study": read_json(out / "plan.json")["study"],
        "corpus": {
            "source": list(manifest.source),
            "hash": manifest.hash,
            "tokenizer": manifest.tokenizer.name,
            "vocab_size": manifest.vocab_size,
            "train_tokens": train.num_tokens,
            "train_bytes": train.num_bytes,
        },
        "planned_runs": len(runs),
        "flops": {
            "exact": sum(flops["exact"] for flops in ended),
            "trained": sum(flops.get("trained", flops["exact"]) for flops in ended),
        },
        "wall_seconds": wall_seconds,
        "provenance": provenance(),
    }
    write_json(out / "study.json", value)
