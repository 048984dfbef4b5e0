"""How long a run takes here: a few steps of it, timed."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from isodiff.data.tokens import Corpus
from isodiff.runs.spec import RunSpec
from isodiff.train.run import TrainingRun

WARM_UP = 3
SECONDS = 0.6


def run_seconds(spec: RunSpec, corpus: Corpus) -> tuple[float, float]:
    """Median seconds of a step, and the seconds of all evaluations of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(spec, Path(folder), corpus, steps=10**6)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) < WARM_UP + 5 or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            run.update(len(times))
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
        run.validate(spec.validation.curve_windows, 1)
        curve = time.perf_counter() - start
    share = spec.validation.windows * (1 if run.family.kind == "exact" else spec.validation.draws)
    share /= spec.validation.curve_windows
    step = statistics.median(times[WARM_UP:])
    return step, curve * (spec.validation.curve_points - 1 + share)
