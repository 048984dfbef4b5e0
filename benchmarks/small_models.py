"""How fast small networks train, by shape and batch, interleaved in one process.

    isodiff corpus prepare sotu --tokenizer bytes --out corpus
    python benchmarks/small_models.py corpus --out benchmarks/results/small_models_cpu.json

Steps of the demo's recipe on one thread. A round times one step of every variant; the figure is the median
over rounds. `ratio` is FLOP/s over those of the smallest batch: what several runs of one shape, trained as
one batched model, could gain at most.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from pathlib import Path

import torch
import yaml

from isodiff.allocator import keep_freed_memory
from isodiff.cli.options import STUDIES
from isodiff.data.tokens import Corpus
from isodiff.network.shape import Shape
from isodiff.provenance import provenance
from isodiff.runs.build import corpus_identity, describe, make_family
from isodiff.runs.spec import RunSpec
from isodiff.serialization import to_json
from isodiff.train.run import TrainingRun

SHAPES = ("2x16x4", "2x24x4", "2x40x4", "2x64x4")
BATCHES = (4, 8, 16)


def run_of(family: str, shape: str, batch: int, corpus: Corpus) -> TrainingRun:
    """A run that nobody ends, with the demo's recipe."""
    demo = yaml.safe_load((STUDIES / "demo.yaml").read_text())
    spec = RunSpec.from_json(
        {
            "family": describe(make_family(family, corpus.vocab_size)),
            "shape": dataclasses.asdict(Shape.parse(shape)),
            "budget": 1e12,
            "length": demo["length"],
            "corpus": to_json(corpus_identity(corpus)),
            "backbone": demo["backbone"],
            "recipe": demo["recipe"] | {"batch_size": batch},
        }
    )
    nowhere = Path(os.devnull)
    return TrainingRun(spec, nowhere, corpus, steps=10**6, precision="float32")


def main() -> None:
    """Time, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    corpus = Corpus.open(asked.corpus)
    rows = []
    for family in ("autoregressive", "masked"):
        for shape in SHAPES:
            runs = {batch: run_of(family, shape, batch, corpus) for batch in BATCHES}
            times: dict[int, list[float]] = {batch: [] for batch in BATCHES}
            for number in range(3 + asked.rounds):
                for batch, run in runs.items():
                    start = time.perf_counter()
                    run.update(number)
                    times[batch].append(time.perf_counter() - start)
            rates = {}
            for batch, run in runs.items():
                seconds = statistics.median(times[batch][3:])
                rates[batch] = run.size.step_flops / seconds
                row = {
                    "family": family,
                    "shape": shape,
                    "batch": batch,
                    "step_ms": round(1e3 * seconds, 2),
                    "gflops_per_second": round(rates[batch] / 1e9, 1),
                    "ratio": round(rates[batch] / rates[BATCHES[0]], 2),
                }
                rows.append(row)
                print(*row.values())
    load = os.getloadavg()[0]
    found = {"rows": rows, "load": load, "provenance": to_json(provenance())}
    asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
