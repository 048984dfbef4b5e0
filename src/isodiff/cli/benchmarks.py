"""`isodiff evaluate RUN FILE.jsonl`, `--task NAME`, `--harness TASK`: benchmarks of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from isodiff.cli import Answer
from isodiff.errors import InputError
from isodiff.evaluate.tasks import Protocol, run_task, task_named
from isodiff.runs.build import load
from isodiff.units import short


def asked_for(words: list[str]) -> bool:
    """Whether the words after `isodiff evaluate` ask for a benchmark: by option, or by a file of items."""
    named = {word.split("=", 1)[0] for word in words}
    if named & {"--task", "--harness"}:
        return True
    return "--text-field" not in named and any(
        word.endswith(".jsonl") and not holds_texts(Path(word)) for word in words
    )


def holds_texts(file: Path) -> bool:
    """Whether the first line of a file is a document, with its text under `text`."""
    try:
        with file.open("rb") as lines:
            first = json.loads(next(lines, b""))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "text" in first


def run(
    folder: Annotated[Path, tyro.conf.Positional],
    file: Annotated[Path | None, tyro.conf.Positional] = None,
    /,
    *,
    task: str | None = None,
    joiner: str | None = None,
    limit: int | None = None,
    draws: int | None = None,
    error: float = 0.05,
    pmi: bool = False,
    steps: int = 64,
    seed: int = 0,
    harness: str | None = None,
    include_path: Path | None = None,
    num_fewshot: int | None = None,
    batch_tokens: int = 2**14,
    corpus: Path | None = None,
    device: str = "cpu",
    threads: int = 0,
) -> Answer:
    """Score a run on a benchmark: the option that it finds likeliest, or the word that it would write.

    The result is written to tasks/NAME.json in the run's folder, where reports find it.

    Args:
        folder: the run's folder.
        file: JSON lines: query, choices, gold; context_options, continuation, gold; or context, continuation.
            Or the text of a task that is one.
        task: the benchmark that the file holds, which says how its parts are joined and names the result.
        joiner: what stands between context and continuation, for a file that is no named task.
        limit: items taken, from the first on; all by default.
        draws: most noise draws per option, where it is a bound: 128 by default, 32 in the harness.
            Of a text: most forwards per window.
        error: chance, per item, that the race drops the best option.
        pmi: score the difference to the option without its context as well (two forwards).
        steps: of the sampler, where something is written.
        seed: of the noise.
        harness: a task of lm-evaluation-harness instead of a file.
        include_path: folder of the harness's task files.
        num_fewshot: examples before each question, in the harness.
        batch_tokens: most tokens of a batch.
        corpus: the run's corpus, if it has moved.
        device: cpu, cuda, ...
        threads: CPU threads; 0 leaves the default.
    """
    if threads:
        torch.set_num_threads(threads)
    known = None if task is None else task_named(task)
    protocol = Protocol(
        error=error,
        draws=draws,
        steps=steps,
        pmi=pmi,
        seed=seed,
        limit=limit,
        batch_tokens=batch_tokens,
    )
    if harness is not None:
        if file is not None or task is not None or joiner is not None:
            raise InputError(
                "--harness brings its own data; leave out the file, --task and --joiner"
            )
        from isodiff.interop.lm_eval import run_harness

        trained = load(folder, corpus=corpus, device=device)
        value = run_harness(
            trained,
            harness,
            protocol,
            include_path=include_path,
            num_fewshot=num_fewshot,
            device=device,
        )
        return Answer(value, harness_text(value))
    if file is None:
        raise InputError(f"which file holds {task}? give its JSON lines after the run")
    if joiner is not None and task is not None:
        raise InputError(f"task {task} has a joiner of its own; leave out --joiner")
    trained = load(folder, corpus=corpus, device=device)
    value = run_task(trained, file, protocol, task=known, joiner=joiner, device=device)
    for one in value.get("malformed", ()):
        print(f"isodiff evaluate: {file} line {one['line']}: {one['reason']}", file=sys.stderr)
    return Answer(value, task_text(value))


def task_text(value: dict[str, Any]) -> str:
    """A result for people to read."""

    def share(name: str) -> str:
        low, high = value[f"{name}_interval"]
        return f"{value[name]:.1%} [{low:.1%}, {high:.1%}]"

    mark = "=" if value["kind"] == "exact" else "<="
    where = f"{value['family']} on {value['task']}"
    if "bits_per_byte" in value:
        means = [
            f"{mark} {value[name]:.4f} +- {value[name + '_se']:.4f} {name.replace('_', ' ')}"
            for name in ("nats_per_token", "bits_per_byte")
        ]
        perplexity = f"perplexity {mark} {value['perplexity']:.4g}"
        return f"{where}: {', '.join([*means, perplexity])} ({value['protocol']})"
    parts = [f"accuracy {share('accuracy')}"]
    if "perplexity" in value:
        parts.append(f"perplexity of a target {mark} {value['perplexity']:.4g}")
    else:
        parts.append(f"per byte {share('accuracy_per_byte')}")
        if "accuracy_pmi" in value:
            parts.append(f"PMI {share('accuracy_pmi')}")
        parts.append(f"chance {value['chance']:.1%}, {value['undecided']} undecided")
    parts.append(f"{value['num_items']} items, {short(value['num_forwards'])} forwards")
    if value["num_malformed"]:
        count = value["num_malformed"]
        parts.append(f"{count} malformed line{'s' * (count > 1)} skipped")
    return f"{where}: {'; '.join(parts)} ({value['protocol']})"


def harness_text(value: dict[str, Any]) -> str:
    """The metrics of a harness task, a line each."""
    lines = [
        f"{value['family']} on {value['task']} by lm-evaluation-harness {value['harness_version']}"
    ]
    lines += [f"  {name}: {number}" for name, number in value["metrics"].items()]
    return "\n".join(lines)
