"""Data-parallel efficiency: two ranks of one run beside two separate runs, on the same two cores.

    python benchmarks/ranks.py CORPUS --out benchmarks/results/ranks_cpu.json

4.7M parameters, one thread a process. Two processes take turns: so many steps as ranks of one run, then as
many each of a run of its own with a rank's share of the batch. Efficiency is the time of the second over the
time of the first; rounds alternate, the figure is the median over rounds, with the quartiles. Measure on a
quiet machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from isodiff.data.tokens import Corpus
from isodiff.network.shape import Shape
from isodiff.provenance import provenance
from isodiff.runs.build import corpus_identity, describe, make_family
from isodiff.runs.spec import Recipe, RunSpec
from isodiff.serialization import to_json
from isodiff.train.ranks import ALONE, Parallel, joined
from isodiff.train.run import TrainingRun

COUNT = 2


def spec_of(corpus: Corpus, family: str, batch: int, length: int) -> RunSpec:
    return RunSpec(
        family=describe(make_family({"name": family}, corpus.vocab_size)),
        shape=Shape.parse("4.7M"),
        budget=1e17,
        length=length,
        corpus=corpus_identity(corpus),
        recipe=Recipe(batch_size=batch, precision="float32"),
    )


def rank(number: int, options: argparse.Namespace, parallel: Parallel, out: Path) -> None:
    """One process: its seconds for each round, as a rank and alone."""
    torch.set_num_threads(1)
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": COUNT, "LOCAL_WORLD_SIZE": COUNT}
    os.environ.update({name: str(value) for name, value in place.items()})
    corpus = Corpus.open(options.corpus)
    spec = spec_of(corpus, options.family, COUNT * options.batch, options.length)
    own = dataclasses.replace(
        spec, recipe=dataclasses.replace(spec.recipe, batch_size=options.batch)
    )
    with tempfile.TemporaryDirectory() as folder, joined(parallel) as ranks:
        runs = [
            TrainingRun(one, Path(folder), corpus, steps=10**6, ranks=which)
            for one, which in ((spec, ranks), (own, ALONE))
        ]
        seconds: list[list[float]] = [[], []]
        for round_ in range(options.rounds + 1):
            for run, times in zip(runs, seconds, strict=True):
                ranks.total(0)  # both begin together
                start = time.perf_counter()
                for step in range(options.steps):
                    run.update(round_ * options.steps + step)
                ranks.total(0)  # and both have to end
                times.append(time.perf_counter() - start)
    if number == 0:
        out.write_text(json.dumps([times[1:] for times in seconds]))


def measured(options: argparse.Namespace, parallel: Parallel) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "seconds.json"
        torch.multiprocessing.spawn(rank, (options, parallel, out), nprocs=COUNT)
        shared, alone = json.loads(out.read_text())
    ratios = [one / both for both, one in zip(shared, alone, strict=True)]
    tokens = COUNT * options.batch * options.length * options.steps
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "parallel": parallel,
        "efficiency": middle,
        "quartiles": [low, high],
        "tokens_per_second": tokens / statistics.median(shared),
        "of_two_runs": tokens / statistics.median(alone),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--family", default="masked")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a rank")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=4, help="of a round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": os.environ.get("MASTER_PORT", "29571"),
    }
    load = os.getloadavg()[0]
    rows = [measured(options, parallel) for parallel in ("ddp", "fsdp")]
    for row in rows:
        low, high = row["quartiles"]
        print(
            f"{row['parallel']}: efficiency {row['efficiency']:.3f} ({low:.3f} to {high:.3f}), "
            f"{row['tokens_per_second']:.0f} tokens/s"
        )
    result = {
        "what": __doc__.splitlines()[0],
        "family": options.family,
        "batch_of_a_rank": options.batch,
        "length": options.length,
        "load_before": load,
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
