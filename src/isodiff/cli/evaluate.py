"""`isodiff evaluate RUN`: likelihood of held-out text; `isodiff evaluate RUN FILES`: of any documents."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from isodiff.cli import Answer, benchmarks
from isodiff.data.documents import documents
from isodiff.evaluate.documents import Evaluation, evaluate_documents
from isodiff.runs.build import Trained, load
from isodiff.runs.resumable import Kept
from isodiff.runs.validation import evaluate
from isodiff.units import perplexity

SHOWN = 20  # documents in the table


def command(argv: list[str]) -> Answer:
    """A benchmark where one is asked for, else text."""
    if benchmarks.asked_for(argv):
        return tyro.cli(benchmarks.run, args=argv, prog="isodiff evaluate")
    return tyro.cli(run, args=argv, prog="isodiff evaluate")


def run(
    folder: Annotated[Path, tyro.conf.Positional],
    files: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    /,
    *,
    split: Literal["validation", "test", "train"] = "test",
    windows: int = 512,
    draws: int = 4,
    method: str = "auto",
    target_se: float | None = None,
    budget: int | None = None,
    stride: int | None = None,
    end: bool = True,
    separator: str | None = None,
    text_field: str = "text",
    seed: int = 0,
    batch_size: int = 64,
    corpus: Path | None = None,
    device: str = "cpu",
    threads: int = 0,
) -> Answer:
    """Nats per token and bits per byte of a run: of FILES, or without any of a split of its corpus.

    Benchmarks have options of their own: `isodiff evaluate RUN FILE.jsonl --help`.

    Args:
        folder: the run's folder.
        files: text, JSONL or Parquet files or folders, scored whole, document by document.
        split: without files: which part of the corpus.
        windows: without files: how many windows of the training length.
        draws: without files: noise draws per window, where the likelihood is a bound.
        method: of files: how their likelihood is estimated (docs/estimators.md).
        target_se: of files: go on until the standard error of nats per token is no larger.
        budget: of files: network evaluations per window at most; with neither limit, 4 rounds of 16 draws.
        stride: of files: tokens scored by a window, given those before them; the context by default.
        end: of files: score the end of each document too.
        separator: of files: what stands between the documents of a text file.
        text_field: of files: field of JSONL lines or Parquet columns with the text.
        seed: of files: of the draws.
        batch_size: of files: texts shown to the network at a time.
        corpus: the run's corpus, if it has moved.
        device: cpu, cuda, ...
        threads: CPU threads; 0 leaves the default.
    """
    if threads:
        torch.set_num_threads(threads)
    trained = load(folder, corpus=corpus, device=device)
    if not files:
        return held_out(trained, split, windows, draws, device)
    found = evaluate_documents(
        trained,
        documents(files, separator=separator, text_field=text_field),
        method=method,
        target_se=target_se,
        budget=budget,
        stride=stride,
        end=end,
        seed=seed,
        batch_size=batch_size,
        device=device,
    )
    return Answer({"run": trained.spec.id, **found.to_json()}, table(trained, found))


def held_out(trained: Trained, split: str, windows: int, draws: int, device: str) -> Answer:
    """The windows that every run of a corpus meets."""
    tokens, length = trained.corpus.split(split), trained.spec.length
    asked = {"split": split, "windows": windows, "draws": draws, "step": trained.step}
    total = min(windows, tokens.num_windows(length))
    with Kept(split, total, "windows", folder=trained.folder, asked=asked) as pieces:
        found = evaluate(
            trained.family,
            trained.network,
            tokens,
            length=length,
            windows=windows,
            draws=draws,
            device=device,
            pieces=pieces,
        )
    nats, bits = found.nats_per_token, found.bits_per_byte
    text = (
        f"{trained.family.name} on {split} {MARK[found.kind]} {nats.value:.4f} +- {nats.standard_error:.4f} "
        f"nats/token, {bits.value:.4f} +- {bits.standard_error:.4f} bits/byte, "
        f"perplexity {perplexity(nats.value):.3g} ({found.protocol})"
    )
    value = {"run": trained.spec.id, "split": split, **dataclasses.asdict(found)}
    return Answer({**value, "perplexity": perplexity(nats.value)}, text)


MARK = {"exact": "=", "bound": "<="}


def table(trained: Trained, found: Evaluation) -> str:
    """A line for each document, then all together."""
    whole = found.to_json()
    head = f"{'nats/token':>20} {'bits/byte':>20} {'perplexity':>11} {'tokens':>8} {'forwards':>9}"
    lines = [f"{head}  document"]
    each = whole["documents"]
    for row in [*each[:SHOWN], {**whole, "document": f"all {len(each)}"}]:
        nats, bits = (
            f"{row[name]:.4f} +- {row[name + '_se']:.4f}"
            for name in ("nats_per_token", "bits_per_byte")
        )
        size = f"{row['perplexity']:>11.4g} {row['num_tokens']:>8} {row['num_forwards']:>9}"
        lines.append(f"{nats:>20} {bits:>20} {size}  {row['document']}")
    if len(each) > SHOWN:
        lines.insert(-1, f"... and {len(each) - SHOWN} more; --json lists all")
    means = {"exact": "the likelihood itself", "bound": "an upper bound"}[found.kind]
    return "\n".join([*lines, f"{trained.family.name}, {means}: {found.protocol}"])
