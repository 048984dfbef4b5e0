"""From a study to its runs: completed specs, sizes, time and memory, budgets scaled to the clock."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isodiff.cost.memory import activation_bytes
from isodiff.errors import InputError
from isodiff.record import canonical
from isodiff.runs.spec import MIN_STEPS
from isodiff.study.study import Study
from isodiff.study.workers import Job, Workers
from isodiff.units import clock, short

RUN_OVERHEAD = 0.3  # seconds to open, save and record a run
SLACK = 0.95  # of the time allowed; the rest absorbs what calibration does not see


@dataclass(frozen=True, slots=True)
class Planned:
    """A run before it is trained: what the workers said of it, and its expected wall time.

    `trunk` is the run that does the first `start` steps of this one, if any.
    """

    id: str
    spec: dict[str, Any]
    steps: float
    step_flops: float
    tokens: float
    epochs: float
    parameters: int
    weight_bytes: int
    step_positions: int
    seconds: float
    trunk: str | None = None
    start: int = 0

    def at(self, step_seconds: float, evaluation_seconds: float) -> float:
        """Wall seconds."""
        return (self.steps - self.start) * step_seconds + evaluation_seconds + RUN_OVERHEAD

    @property
    def flops(self) -> float:
        """FLOPs that the run stands for."""
        return self.steps * self.step_flops

    @property
    def trained_flops(self) -> float:
        """FLOPs that it spends itself."""
        return (self.steps - self.start) * self.step_flops


def corpus_folder(study: Study, out: Path) -> Path:
    """The study's corpus, prepared in `out` if it is not prepared already."""
    source = study.corpus
    if source.prepared is not None:
        return Path(source.prepared)
    from isodiff.data.corpora import prepare

    sources = [source.source] if isinstance(source.source, str) else list(source.source or [])
    folder = out / "corpus"
    if not folder.exists():
        print(f"preparing the corpus in {folder}", file=sys.stderr)
        prepare(sources, folder, tokenizer=source.tokenizer, separator=source.separator)
    return folder


def plan(
    study: Study, corpus: Path, workers: Workers, minutes: float | None
) -> tuple[Study, list[Planned]]:
    """The study, its budgets scaled so that calibration and all runs end within `minutes`, and its runs.

    Raises:
        InputError: a budget is too small for a shape, or the minutes are too few for the study.
    """
    loose = describe(study, corpus, workers, loose=minutes is not None)
    began = time.monotonic()
    seconds = calibrated(loose, corpus, workers)
    count = len(workers.members)
    if minutes is not None:
        spent = (time.monotonic() - began) / 60
        left = max(0.0, minutes - spent)
        factor = fit_to(loose, seconds, count, left * 60 * SLACK)
        short_of = min(loose, key=lambda run: run["steps"])
        if short_of["steps"] * factor < MIN_STEPS:
            need = math.ceil(spent + left * MIN_STEPS / short_of["steps"] / factor)
            raise InputError(
                f"{minutes:g} minutes, {spent:.1f} of them for calibration, give "
                f"{short_of['steps'] * factor:.0f} steps to the largest shapes; "
                f"runs need >= {MIN_STEPS}: allow {need} minutes or drop shapes"
            )
        study = study.scaled(factor)
    runs = []
    for run in describe(study, corpus, workers, loose=False):
        timed = seconds[key(run["spec"])]
        draft = Planned(**run, seconds=0.0)
        runs.append(Planned(**run, seconds=draft.at(timed["step"], timed["evaluation"])))
    return study, runs


def describe(study: Study, corpus: Path, workers: Workers, *, loose: bool) -> list[dict[str, Any]]:
    """Every run with its counts; `loose` lets budgets be too small."""
    job = {"do": "describe", "corpus": str(corpus), "drafts": study.drafts(), "loose": loose}
    return workers.ask(job)["runs"]


def key(spec: dict[str, Any]) -> str:
    """What decides the speed of a step: all of a spec but its budget, its seed and its warm-up."""
    kind = {name: value for name, value in spec.items() if name not in ("budget", "seed")}
    return canonical({**kind, "recipe": {**spec.get("recipe", {}), "warmup_steps": None}})


def calibrated(
    runs: Sequence[dict[str, Any]], corpus: Path, workers: Workers
) -> dict[str, dict[str, float]]:
    """Seconds per step of every kind of run, measured with all workers busy, as they will be."""
    kinds = {key(run["spec"]): run["spec"] for run in runs}
    jobs: list[Job] = [
        {"do": "calibrate", "corpus": str(corpus), "specs": [spec]} for spec in kinds.values()
    ]
    found: dict[str, dict[str, float]] = {}
    names = list(kinds)

    def done(index: int, answer: Any) -> None:
        if isinstance(answer, Exception):
            raise answer
        found[names[index]] = answer["seconds"][0]

    print(f"timing {len(jobs)} kinds of steps", file=sys.stderr)
    workers.share(jobs, done, lambda index, share: None)
    if len(found) < len(names):
        raise InputError("calibration failed; see the worker logs in the study's folder")
    return found


def fit_to(
    runs: Sequence[dict[str, Any]], seconds: dict[str, dict[str, float]], count: int, allowed: float
) -> float:
    """The factor on all budgets at which `count` workers need `allowed` seconds.

    Raises:
        InputError: even without training, evaluations take longer.
    """

    def span(factor: float) -> float:
        times = [
            factor * (run["steps"] - run["start"]) * seconds[key(run["spec"])]["step"]
            + seconds[key(run["spec"])]["evaluation"]
            + RUN_OVERHEAD
            for run in runs
        ]
        return makespan(times, count)

    if span(0) > 0.8 * allowed:
        raise InputError(
            f"evaluating {len(runs)} runs alone takes {clock(span(0))} of the {clock(allowed)} allowed; "
            "allow more minutes, fewer runs or fewer validation windows"
        )
    low, high = 0.0, 1.0
    while span(high) < allowed:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if span(middle) < allowed else (low, middle)
    return low


def makespan(times: Sequence[float], count: int) -> float:
    """Wall time of jobs taken longest first by whichever of `count` workers is free."""
    loads = [0.0] * count
    for seconds in sorted(times, reverse=True):
        loads[loads.index(min(loads))] += seconds
    return max(loads)


def table(runs: Sequence[Planned], count: int) -> str:
    """The plan, for people."""
    head = f"{'family':<15}{'budget':>9}{'shape':>10}{'seed':>5}{'params':>9}{'tokens':>9}{'epochs':>8}"
    branched = any(run.trunk for run in runs)
    trained = f"{'trained':>9}" if branched else ""
    lines = [f"{head}{'steps':>8}{trained}{'time':>12}{'memory':>9}"]
    for run in runs:
        spec = run.spec
        shape = "x".join(str(spec["shape"][part]) for part in ("depth", "width", "heads"))
        trained = f"{run.steps - run.start:>9.0f}" if branched else ""
        lines.append(
            f"{spec['family']['name']:<15}{spec['budget']:>9.2g}{shape:>10}{spec['seed']:>5}"
            f"{short(run.parameters):>9}{short(run.tokens):>9}{run.epochs:>8.2f}{run.steps:>8.0f}{trained}"
            f"{clock(run.seconds):>12}{short(memory(run), 'B'):>9}"
        )
    total = makespan([run.seconds for run in runs], count)
    flops = math.fsum(run.flops for run in runs)
    lines.append(
        f"{len(runs)} runs, {short(flops, 'FLOP')} in all, about {clock(total)} with {count} workers; "
        "params: non-embedding, budget: training FLOPs (exact), memory: weights, optimizer, activations"
    )
    if branched:
        lines.append(spared(flops, math.fsum(run.trained_flops for run in runs)))
    return "\n".join(lines)


def spared(flops: float, trained: float) -> str:
    """What trunks save, for people."""
    saved = flops - trained
    return (
        f"trunks: runs that differ in their budgets alone share their steps up to the cooldown; "
        f"{short(trained, 'FLOP')} to train, {short(saved, 'FLOP')} ({saved / flops:.0%}) saved"
    )


def memory(run: Planned) -> float:
    """Bytes of weights, gradients and moments, and roughly of a step's activations in float32."""
    spec, shape, recipe = run.spec, run.spec["shape"], run.spec["recipe"]
    share = (recipe["micro_batch_size"] or recipe["batch_size"]) / recipe["batch_size"]
    shown = run.step_positions / recipe["batch_size"]
    return run.weight_bytes + activation_bytes(
        depth=shape["depth"],
        width=shape["width"],
        positions=share * run.step_positions,
        scores=shape["heads"] * shown,
        logits=spec["corpus"]["vocab_size"] * spec["length"] / shown,
        number_bytes=4,
    )
