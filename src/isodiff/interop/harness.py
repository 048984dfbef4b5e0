"""Tasks of lm-evaluation-harness from our command line: what it says of a run, task by task.

A name is that of a task, of a group, which may have scores of its own beside those of its tasks, or of a
tag, which stands for its tasks. Metrics have the harness's names, which end with the filter of the answers
unless that is `none`: `exact_match,strict-match`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import lm_eval
import numpy as np
from lm_eval import evaluator
from lm_eval.tasks import TaskManager
from lm_eval.tasks.manager import TaskDict

from isodiff.errors import InputError, nearest, reason
from isodiff.evaluate.tasks import TaskSettings
from isodiff.families.base import kind_and_law
from isodiff.files import storing
from isodiff.interop.lm_eval import DRAWS_PER_REQUEST, IsodiffModel
from isodiff.intervals import SuccessRate
from isodiff.provenance import provenance
from isodiff.runs.build import Trained
from isodiff.serialization import write_result
from isodiff.task_results import HarnessResult


def run_harness(
    run: Trained,
    task: str,
    settings: TaskSettings,
    *,
    include_path: Path | None = None,
    num_fewshot: int | None = None,
    device: str = "cpu",
) -> HarnessResult:
    """Score a run on a task, a group or a tag of the harness, and return what it says.

    What has scores of its own is written to `tasks/<name>.json` in the run's folder: a task, a group that
    sums up its tasks, or else each part of a group or tag.

    Raises:
        InputError: no such task, or it cannot be loaded.
    """
    manager, loaded = _loaded(task, include_path)
    model = IsodiffModel(
        run,
        draws=settings.draws or DRAWS_PER_REQUEST,
        steps=settings.steps,
        seed=settings.seed,
        batch_tokens=settings.batch_tokens,
        device=device,
    )
    groups = loaded.get("groups", {})
    asked: list[Any] = [groups[task]] if task in groups else [*loaded["tasks"].values()]
    found: Mapping[str, Any] | None = evaluator.simple_evaluate(
        model=model,
        tasks=asked,
        num_fewshot=num_fewshot,
        limit=settings.limit,
        task_manager=manager,
        log_samples=False,
        bootstrap_iters=0,
    )
    assert found is not None
    draws = "" if run.family.kind == "exact" else f", {model.draws} draws per request"
    whole = HarnessResult(
        task=task,
        run=run.spec.id,
        family=run.family.name,
        kind=run.family.kind,
        metrics={},
        num_forwards=model.num_forwards,
        harness_version=lm_eval.__version__,
        protocol=f"lm-evaluation-harness {lm_eval.__version__}, {kind_and_law(run.family)}{draws}",
    )
    result = _scored(whole, found, [*loaded["tasks"]])
    for one in _with_scores(result):
        stored = dataclasses.replace(one, provenance=provenance())
        with storing():
            write_result(run.folder / "tasks" / f"{one.task}.json", stored)
    return result


def _scored(whole: HarnessResult, found: Mapping[str, Any], tasks: list[str]) -> HarnessResult:
    """A result with its scores and those of its parts: of a group, or of a tag, which the harness forgets."""
    task, groups = whole.task, found.get("group_subtasks", {})
    scores, counts = found["results"].get(task, {}), found["n-samples"]
    if task in counts:
        parts, num_items = [], int(counts[task]["effective"])
    else:
        own = dataclasses.replace(whole, num_forwards=None)
        names = groups.get(task, tasks)
        parts = [_scored(dataclasses.replace(own, task=name), found, tasks) for name in names]
        num_items = sum(one.num_items or 0 for one in parts)
    metrics = {
        name.removesuffix(",none"): float(value)
        for name, value in scores.items()
        if "," in name and isinstance(value, int | float) and np.isfinite(value)
    }
    result = dataclasses.replace(
        whole, metrics=metrics, num_items=num_items, parts=tuple(parts) or None
    )
    if "acc" not in metrics or not num_items:
        return result
    right, interval = metrics["acc"] * num_items, None
    if abs(right - round(right)) < 1e-6 * num_items:  # not where a group averages over its tasks
        interval = SuccessRate.of(round(right), num_items).interval
    return dataclasses.replace(result, accuracy=metrics["acc"], accuracy_interval=interval)


def _with_scores(result: HarnessResult) -> Iterator[HarnessResult]:
    """The result if it has scores of its own, or those of its parts that have."""
    if result.metrics or not result.parts:
        yield result
        return
    for one in result.parts:
        yield from _with_scores(one)


def _loaded(task: str, include_path: Path | None) -> tuple[TaskManager, TaskDict]:
    """The task, and a manager that knows it: of the user's folder alone if that will do, which is faster."""
    if include_path is not None:
        if not include_path.is_dir():
            raise InputError(
                f"{include_path} is not a folder; --include-path takes that of task files"
            )
        own = TaskManager(include_path=str(include_path), include_defaults=False)
        if task in own.all_tasks and task not in own.all_tags:
            with suppress(InputError):  # groups may take tasks of the harness, tags have more there
                return own, _load(own, task)
    manager = TaskManager(include_path=None if include_path is None else str(include_path))
    if task not in manager.all_tasks:
        raise InputError(
            f"lm-evaluation-harness has no task {task!r}{nearest(task, manager.all_tasks)}; "
            "`lm-eval ls tasks` lists them, --include-path adds a folder of your own"
        )
    return manager, _load(manager, task)


def _load(manager: TaskManager, task: str) -> TaskDict:
    try:
        return manager.load([task])
    except Exception as error:  # of any library that a task or its data need
        raise InputError(
            f"lm-evaluation-harness cannot load {task!r}: {type(error).__name__}: {reason(error)}"
        ) from None
