"""`isodiff evaluate RUN`: likelihood of held-out text."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from isodiff.cli import Answer, benchmarks
from isodiff.evaluate.likelihood import evaluate
from isodiff.train.run import load
from isodiff.units import perplexity


def command(argv: list[str]) -> Answer:
    """A benchmark where one is asked for, else held-out text."""
    if benchmarks.asked_for(argv):
        return tyro.cli(benchmarks.run, args=argv, prog="isodiff evaluate")
    return tyro.cli(run, args=argv, prog="isodiff evaluate")


def run(
    folder: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    split: Literal["validation", "test", "train"] = "test",
    windows: int = 512,
    draws: int = 4,
    corpus: Path | None = None,
    device: str = "cpu",
    threads: int = 0,
) -> Answer:
    """Nats per token and bits per byte of a run on a split of its corpus.

    Benchmarks have options of their own: `isodiff evaluate RUN FILE.jsonl --help`.

    Args:
        folder: the run's folder.
        split: which part of the corpus.
        windows: how many windows of the training length.
        draws: noise draws per window, where the likelihood is a bound.
        corpus: the run's corpus, if it has moved.
        device: cpu, cuda, ...
        threads: CPU threads; 0 leaves the default.
    """
    if threads:
        torch.set_num_threads(threads)
    trained = load(folder, corpus=corpus, device=device)
    found = evaluate(
        trained.family,
        trained.network,
        trained.corpus.split(split),
        length=trained.spec.length,
        windows=windows,
        draws=draws,
        device=device,
    )
    nats, bits = found.nats_per_token, found.bits_per_byte
    mark = "=" if found.kind == "exact" else "<="
    text = (
        f"{trained.family.name} on {split} {mark} {nats.value:.4f} +- {nats.standard_error:.4f} nats/token, "
        f"{bits.value:.4f} +- {bits.standard_error:.4f} bits/byte, "
        f"perplexity {perplexity(nats.value):.3g} ({found.protocol})"
    )
    value = {"run": trained.spec.id, "split": split, **dataclasses.asdict(found)}
    return Answer({**value, "perplexity": perplexity(nats.value)}, text)
