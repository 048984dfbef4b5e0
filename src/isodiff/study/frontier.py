"""Measuring a frontier: every chosen run with every sampler worth comparing, point by point, in the workers.

`OUT/frontier/<id>.json` holds one point each, so an interrupted measurement goes on where it stopped;
`OUT/frontier.json` holds all of them with the verdict. An id is the hash of all that decides a point.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from isodiff.errors import InputError
from isodiff.files import read_json, write_json
from isodiff.provenance import provenance
from isodiff.record import HeldOutLoss, Record, find_records, identity
from isodiff.scaling.pareto_summary import FLOOR, summary
from isodiff.scaling.points import family_labels
from isodiff.serialization import read_result, to_json
from isodiff.study.study import FrontierSettings, Study
from isodiff.study.workers import Job, Workers
from isodiff.units import clock

CALLS, JUDGED = 7, 0.6
"""Calls of full length that a point takes, and seconds to judge it: for planning only."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that takes part."""

    folder: Path
    record: Record
    label: str

    @property
    def loss(self) -> HeldOutLoss:
        """Its validation."""
        assert self.record.validation is not None
        return self.record.validation

    @property
    def nats(self) -> float:
        """Validation nats per token."""
        return self.loss.nats_per_token.value

    @property
    def budget(self) -> float:
        """Training FLOPs."""
        return self.record.spec.budget


def candidates(paths: Sequence[Path]) -> tuple[list[Candidate], Candidate | None]:
    """The runs to sample, and the strongest judge among all runs under `paths`.

    A run named by its own folder takes part; of a folder of runs the best of each family and budget (its
    compute-optimal model). The judge is the run of lowest loss with an exact likelihood.

    Raises:
        InputError: nothing under `paths` is a finished run.
    """
    records = {f: r for f, r in find_records(paths).items() if r.validation is not None}
    if not records:
        raise InputError(f"no finished run under {', '.join(map(str, paths))}; train some first")
    labels = family_labels([record.spec.family for record in records.values()])
    every = [
        Candidate(folder, record, label)
        for (folder, record), label in zip(records.items(), labels, strict=True)
    ]
    named = {path.parent if path.is_file() else path for path in paths}
    best: dict[tuple[str, float], Candidate] = {}
    for one in sorted(every, key=lambda one: one.nats):
        if one.folder not in named:
            best.setdefault((one.label, one.budget), one)
    chosen = [one for one in every if one.folder in named] + list(best.values())
    chosen.sort(key=lambda one: (one.label, one.budget, one.record.id))
    exact = [one for one in every if one.loss.kind == "exact"]
    return chosen, min(exact, key=lambda one: one.nats, default=None)


def measure_frontier(
    paths: Sequence[Path],
    out: Path,
    settings: FrontierSettings,
    pool: Workers,
    *,
    judge: str | None = None,
    floor: float = FLOOR,
    device: str = "cpu",
) -> dict[str, Any]:
    """Measure what is not measured yet, and write `out/frontier.json`.

    Args:
        paths: runs, or folders of runs.
        out: folder of the results.
        settings: samplers' steps, texts and time per point.
        pool: workers.
        judge: a run's folder or hf:NAME; the strongest exact run by default.
        floor: see `summary`.
        device: where to sample.

    Raises:
        InputError: no finished run, no judge, or a point that cannot be measured.
    """
    chosen, strongest = candidates(paths)
    if judge is None and strongest is None:
        raise InputError(
            "no run here has an exact likelihood to judge with; give --judge RUN or --judge hf:NAME"
        )
    name = judge or str(strongest.folder if strongest else "")
    jobs = point_jobs(chosen, name, settings, pool, device)
    files = [out / "frontier" / f"{identity(key(job))}.json" for job in jobs]
    waiting = [i for i, file in enumerate(files) if not file.exists()]
    measure_points([jobs[i] for i in waiting], [files[i] for i in waiting], pool)
    reference = {
        "do": "held_out",
        "folder": str(chosen[0].folder),
        "judge": name,
        "texts": settings.held_out,
        "device": device,
    }
    points = [
        {**read_json(file), "family": one.label, "budget": one.budget}
        for file, one in zip(files, (one for one in jobs_of(chosen, jobs)), strict=True)
    ]
    own = all(point["judge_reads_tokens"] for point in points)
    found = summary(
        points,
        held_out=pool.ask(reference),
        measure="generative_perplexity" if own else "bits_per_byte",
        floor=floor,
    )
    value = {**found, "settings": asdict(settings), "provenance": to_json(provenance())}
    write_json(out / "frontier.json", value)
    return value


def point_jobs(
    chosen: Sequence[Candidate],
    judge: str,
    settings: FrontierSettings,
    pool: Workers,
    device: str,
) -> list[Job]:
    """One job per run, sampler and number of steps."""
    found = [
        samplers_of([one.record.spec.family], length_of(one.record), settings, pool)[0]
        for one in chosen
    ]
    return [
        {
            "do": "frontier_point",
            "folder": str(one.folder),
            **sampler,
            "judge": judge,
            "texts": settings.texts,
            "held_out": settings.held_out,
            "call_seconds": settings.call_seconds,
            "device": device,
            "workers": len(pool.members),
        }
        for one, samplers in zip(chosen, found, strict=True)
        for sampler in samplers
    ]


def length_of(record: Record) -> int:
    """Tokens of a run's sequences."""
    assert record.spec.length is not None, f"run {record.id} was not trained here"
    return record.spec.length


def samplers_of(
    families: Sequence[str | dict[str, Any]], length: int, settings: FrontierSettings, pool: Workers
) -> list[list[dict[str, Any]]]:
    """The samplers that are compared, for each family as a study writes it."""
    names = [family if isinstance(family, str) else family["name"] for family in families]
    job = {"do": "samplers", "families": names, "length": length, "steps": settings.steps}
    return pool.ask(job)


def expected_seconds(study: Study, pool: Workers) -> float:
    """Roughly how long the frontier of a study will take: sweep and repeats, then the judge."""
    if study.frontier is None:
        return 0.0
    found = samplers_of(study.families, study.length, study.frontier, pool)
    points = len(study.budgets) * sum(map(len, found))
    return points * (CALLS * study.frontier.call_seconds + JUDGED) / len(pool.members)


def jobs_of(chosen: Sequence[Candidate], jobs: Sequence[Job]) -> list[Candidate]:
    """The run of each job."""
    by_folder = {str(one.folder): one for one in chosen}
    return [by_folder[job["folder"]] for job in jobs]


def key(job: Job) -> dict[str, Any]:
    """What decides a point: runs by their ids, not by where they lie."""
    runs = {
        name: read_result(Record, Path(job[name]) / "record.json").id
        for name in ("folder", "judge")
        if (Path(job[name]) / "record.json").exists()
    }
    return {**job, **runs}


def measure_points(jobs: Sequence[Job], files: Sequence[Path], pool: Workers) -> None:
    """Every job's answer into its file; the first error ends the measurement.

    Raises:
        InputError: a point cannot be measured.
    """
    errors: list[Exception] = []
    began = said = time.monotonic()
    done = 0

    def finished(index: int, answer: Any) -> None:
        nonlocal done, said
        if isinstance(answer, Exception):
            errors.append(answer)
            return
        write_json(files[index], answer)
        done += 1
        now = time.monotonic()
        if now - said > 10 or done == len(jobs):
            said = now
            left = (now - began) / done * (len(jobs) - done)
            print(f"{done}/{len(jobs)} points of the frontier, ETA {clock(left)}", file=sys.stderr)

    pool.share(list(jobs), finished, lambda index, share: None)
    if errors:
        raise InputError(f"the frontier could not be measured: {errors[0]}")
