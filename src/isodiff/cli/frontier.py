"""Measure speed against quality of every sampler: who wins at each throughput."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from isodiff.bounds import Utf8
from isodiff.cli.options import (
    AtLeastTwo,
    Flops,
    Folder,
    NumDraws,
    NumWorkers,
    RunFolders,
    Seconds,
    Share,
    StudyDevice,
    TokensPerSecond,
    WorkerThreads,
)
from isodiff.cli.verb import Answer, resumable
from isodiff.errors import InputError
from isodiff.scaling.pareto_result import ENTROPY_FLOOR, FrontierResult
from isodiff.scaling.sampler_points import SamplerPoint
from isodiff.serialization import to_json
from isodiff.study.frontier import measure_frontier, stored_frontier, stored_settings
from isodiff.study.study import FrontierSettings
from isodiff.study.workers import Workers
from isodiff.units import clock


@resumable
def run(
    runs: Annotated[tuple[RunFolders, ...], Positional],
    *,
    steps: tuple[NumDraws, ...] = (),
    texts: AtLeastTwo | None = None,
    held_out: AtLeastTwo | None = None,
    call_seconds: Seconds | None = None,
    reference_model: Annotated[Utf8 | None, arg(metavar="RUN|hf:NAME")] = None,
    entropy_floor: Share = ENTROPY_FLOOR,
    throughput: TokensPerSecond | None = None,
    budget: Flops | None = None,
    alone: bool = False,
    out: Folder | None = None,
    workers: NumWorkers | None = None,
    threads: WorkerThreads | None = None,
    device: StudyDevice = "cpu",
) -> Answer:
    """Measure speed and quality of runs with every sampler worth comparing; draw the frontier, say who wins.

    Of a folder of runs (a study) the best run of each family and budget takes part; runs named by their own
    folders all do. What is measured already is not measured again, and what is not given is as it was then;
    the page of a study is written again.

    Args:
        runs: Run folders, or folders of runs.
        steps: T of every sampler that has steps; by default a 16th, a quarter and all of the length.
        texts: At least so many texts a point; 128 by default.
        held_out: Windows of held-out text to compare with; 256 by default.
        call_seconds: Longest call of the sweep over batch sizes; 1 by default.
        reference_model: Scores what is written: a run's folder, or hf:NAME for a causal model of Hugging
            Face; by default the strongest run with an exact likelihood.
        entropy_floor: Share of held-out text's entropy below which texts are degenerate and win nothing.
        throughput: Also recommend a run and its sampler for so many tokens per second.
        budget: Recommend from the runs trained within so many FLOPs.
        alone: Recommend for one text at a time rather than for the fastest batch.
        out: Folder of the results; by default the first of the runs, or the study that it belongs to.
        threads: CPU threads of each worker; 1 by default.
    """
    if not runs:
        raise InputError("which runs? give run folders, or a folder of runs")
    began = time.monotonic()
    place = out or _place(runs[0])
    stored = stored_frontier(place)
    asked = {
        "steps": list(steps),
        "texts": texts,
        "held_out": held_out,
        "call_seconds": call_seconds,
    }
    settings = _settings(stored, {name: value for name, value in asked.items() if value})
    before = stored.points[0] if stored else None
    threads = threads or (before.threads if before else 1)
    count = workers or (before.workers if before else None)
    with Workers.on(device, place, count=count, threads=threads) as pool:
        found = measure_frontier(
            runs,
            place,
            settings,
            pool,
            reference_model=reference_model,
            floor=entropy_floor,
            device=device,
        )
    from isodiff.report.frontier_chart import write_frontier
    from isodiff.report.sections.frontier import frontier_text

    value: dict[str, Any] = {**to_json(found), "frontier": str(place / "frontier.json")}
    value["figures"] = [str(path) for path in write_frontier(found, place / "figures")]
    _refresh(place)
    text = frontier_text(found)
    if throughput is not None:
        best = found.recommend(throughput, budget, alone=alone)
        value["recommendation"] = to_json(best)
        text += f"\n\n{_recommended(best, throughput, budget, alone)}"
    print(f"frontier took {clock(time.monotonic() - began)}", file=sys.stderr)
    return Answer(value, f"{text}\n{place / 'frontier.json'}")


def _place(first: Path) -> Path:
    """Where results go: `first`, or the study whose folder of runs it is."""
    study = first.parent / "study.json"
    return first.parent if first.name == "runs" and study.is_file() else first


def _settings(stored: FrontierResult | None, asked: dict[str, Any]) -> FrontierSettings:
    """What is asked for; for the rest what the points that are there were measured with."""
    names = {field.name for field in fields(FrontierSettings)}
    before = {name: value for name, value in stored_settings(stored).items() if name in names}
    return FrontierSettings(**{**before, **asked})


def _refresh(place: Path) -> None:
    """The page of a study, where it is older than its frontier."""
    page, frontier = place / "report.html", place / "frontier.json"
    if not (place / "study.json").is_file():
        return
    if not page.exists() or page.stat().st_mtime <= frontier.stat().st_mtime:
        from isodiff.report.page import build_report

        build_report(place)


def _recommended(best: SamplerPoint, throughput: float, budget: float | None, alone: bool) -> str:
    speed = best.length / best.latency_seconds if alone else best.tokens_per_second
    how = "one text at a time" if alone else f"in batches of {best.batch}"
    within = "" if budget is None else f" within {budget:.3g} training FLOPs"
    steps = "" if best.steps is None else f", {best.steps} steps"
    return (
        f"For {throughput:g} tokens/s{within}: {best.family}, {best.sampler}{steps} "
        f"(run {best.run}), {speed:.4g} tokens/s {how}, at generative perplexity "
        f"{best.generative_perplexity:.3g} +- {best.generative_perplexity_se:.2g}"
    )
